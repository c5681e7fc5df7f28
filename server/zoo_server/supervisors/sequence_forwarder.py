"""Sequences live in one worker, the keeper; the others hand requests for such models on to it.

    caller ──> worker 2 ── frames ──> supervisor ── frames ──> keeper: the way of its own callers
       <── answer, or code and text ──     <──     as the keeper gave them ──┘

Every worker has every model, so that metadata, readiness and loading are the same everywhere; only
requests for models with sequences leave theirs. Each step of the way keeps their order, and so a
stream's is kept. Over HTTP nothing is handed on: the keeper is the worker that owns those ports.

If the keeper dies its sequences are lost. Until another has taken its place such requests end as
UNAVAILABLE; afterwards they must START again, as in a server of one process that was restarted.
"""

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

import grpc

from zoo_server.protocols.grpc.infer import HandOn, InferPath, InferSender
from zoo_server.supervisors.supervisor_channel import Deferred, Seat

#: The place of the worker that keeps sequences.
KEEPER = 1

#: What requests are handed on under.
HANDED_ON = "handed on"

#: The longest run that the thread which reads the pipe takes on itself, as HTTP's loop does.
_INLINE_BUDGET_NS = 500_000

_CODES = {code.value[0]: code for code in grpc.StatusCode}


def handing_on(seat: Seat) -> HandOn | None:
    """Return what hands a request on; None for the keeper."""
    if seat.place.number == KEEPER:
        return None

    def hand_on(raw: bytes, reply: InferSender) -> None:
        seat.ask(HANDED_ON, raw).add_done_callback(partial(_answered, reply))

    return hand_on


def taking_in(path: InferPath) -> Deferred:
    """Return what the keeper does with a request that was handed on."""

    def take_in(raw: bytes, then: Callable[[bytes], None]) -> None:
        path.answer([_HandedOn(raw, then)], _INLINE_BUDGET_NS)

    return take_in


class _HandedOn:
    """A call of another worker (zoo_server.protocols.unary.Call): the code, and the answer or the text."""

    __slots__ = ("_then", "message")

    def __init__(self, message: bytes, then: Callable[[bytes], None]) -> None:
        self.message = message
        self._then = then

    @property
    def metadata(self) -> tuple[()]:
        """Whatever came with the call was looked at where it came."""
        return ()

    def is_gone(self) -> bool:
        """Whether the caller hung up is not told: the state moves on, as if the answer were lost."""
        return False

    def reply(self, answer: bytes) -> None:
        self._then(bytes((grpc.StatusCode.OK.value[0],)) + answer)

    def abort(self, code: Any, details: str) -> None:
        self._then(bytes((code.value[0],)) + details.encode())


def _answered(reply: InferSender, answer: Future[bytes]) -> None:
    error = answer.exception()
    if isinstance(error, Exception):
        reply.fail(error)
        return
    came = answer.result()
    code, rest = _CODES[came[0]], came[1:]
    reply.relay(rest, None if code is grpc.StatusCode.OK else (code, rest.decode()))
