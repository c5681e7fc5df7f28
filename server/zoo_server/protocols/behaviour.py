"""Behaviour: a method's handler, with the ways in which a transport may call it.

grpcio's own server calls it like any function. The fast transport
(server/zoo_server/protocols/grpc/transport/fast.py) hands it bursts and streams, or runs it on its loop.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zoo_server.protocols.interceptor import BlockingCall, Context
from zoo_server.protocols.unary import UnaryPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """A function of a request, or an iterator of them, and its context."""

    function: Callable[..., object]
    #: Takes the messages that are ready at once: burst(calls, inline_budget_ns, stays=).
    burst: Callable[..., None] | None = None
    #: Of a burst's message, the name of the model that it is for.
    model_of: Callable[[bytes], bytes] = lambda message: b""
    #: Opened with a stream and fed by callbacks: it holds no thread.
    on_stream: Callable[..., None] | None = None
    #: So short that a transport's loop may run it itself.
    in_place: bool = False

    def __call__(self, request: object, context: Context) -> object:
        """Answer, as a transport without any of these asks."""
        return self.function(request, context)


def burst_behaviour(path: UnaryPath[Any]) -> Behaviour:
    """A hot call, for a transport that calls once a request and for one that hands over bursts."""

    def blocking(raw: bytes, context: Context) -> bytes:
        call = BlockingCall(raw, context)
        path.answer([call])
        return call.wait()

    return Behaviour(function=blocking, burst=path.answer, model_of=path.model_name)
