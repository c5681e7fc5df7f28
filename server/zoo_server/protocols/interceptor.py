"""The interceptor around every handler: admits the call, parses, answers, maps errors to statuses.

    bytes ──> alive? ──> let in? ──> parse ──> handler ──> bytes
                 └──────────┴───────────┴──────────┴──> status table

Handlers are plain functions from message to message and know nothing of gRPC's context. ModelInfer
has a path of its own (server/zoo_server/protocols/grpc/infer.py), which answers calls and not messages.
"""

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NoReturn, Protocol, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from zoo_server.errors import Cancelled, DeadlineExpired, InvalidRequest
from zoo_server.protocols.ports import peer_of_call
from zoo_server.protocols.status import RETRY_KEY, status_of


class Context(Protocol):
    """The little of grpc.ServicerContext that is used here; every transport offers it."""

    def is_active(self) -> bool:
        """Tell whether the caller still waits."""

    def peer(self) -> str:
        """Return the caller's address, as grpcio writes it."""

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]] | None:
        """Return what came with the call besides the message."""

    def time_remaining(self) -> float | None:
        """Return the seconds to the caller's deadline, None without one."""

    def set_trailing_metadata(self, trailing_metadata: Sequence[tuple[str, str | bytes]]) -> None:
        """Set what the caller gets besides the status."""

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the call with a status, by raising."""


class Answer(Protocol):
    """What a handler returns: a message, or one that is written already."""

    def SerializeToString(self) -> bytes:
        """Return the answer's bytes."""


class WrittenAnswer:
    """An answer's bytes."""

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def SerializeToString(self) -> bytes:
        return self._raw


M = TypeVar("M", bound=Message)


def guarded_unary(
    method: str,
    handler: Callable[[M], Answer],
    in_flight: AbstractContextManager[None],
    request_type: type[M],
) -> Callable[[bytes, Context], bytes]:
    """Wrap a unary handler, which changes nothing in the message it is given."""
    # Probes come for ever, and each block that protobuf frees counts (server/zoo_server/malloc.py).
    empty = request_type()

    def behaviour(raw: bytes, context: Context) -> bytes:
        try:
            _check_alive(context)
            with in_flight:
                return handler(parse(request_type, raw) if raw else empty).SerializeToString()
        except Exception as error:
            code, text = status_of(error, method)
        # Not in the handler above: abort raises, and that is no error of ours.
        return context.abort(code, text)

    return behaviour


class BlockingCall:
    """A call whose thread waits for the answer (zoo_server.protocols.unary.Call)."""

    def __init__(self, message: bytes, context: Context) -> None:
        self.message = message
        self._context = context
        self._done = threading.Lock()
        self._done.acquire()
        self._answer = b""
        self._status: tuple[grpc.StatusCode, str] | None = None
        self._retry_ms = 0

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """What came with the call besides the message."""
        return tuple(self._context.invocation_metadata() or ())

    def peer(self) -> str:
        """Return whose call it is."""
        return peer_of_call(self._context.peer())

    def is_gone(self) -> bool:
        """Tell whether the caller no longer waits for the answer."""
        return not self._context.is_active()

    def time_remaining(self) -> float:
        """Return the seconds to the call's deadline; infinite without one."""
        remaining = self._context.time_remaining()
        return math.inf if remaining is None else remaining

    def reply(self, answer: bytes) -> None:
        """Hand the answer to the thread that waits."""
        self._answer = answer
        self._done.release()

    def abort(
        self, code: grpc.StatusCode, details: str, retry_ms: int = 0, *, waiting: int = 0
    ) -> None:
        """Hand it a status instead."""
        self._status = (code, details)
        self._retry_ms = retry_ms
        self._done.release()

    def outcome(self) -> tuple[bytes, tuple[grpc.StatusCode, str] | None]:
        """Wait for the answer and return it, or the status instead."""
        self._done.acquire()
        return self._answer, self._status

    def wait(self) -> bytes:
        """Return the answer, or end the call."""
        answer, status = self.outcome()
        if status is not None:
            if self._retry_ms:
                self._context.set_trailing_metadata(((RETRY_KEY, str(self._retry_ms)),))
            self._context.abort(*status)
        return answer


def parse(request_type: type[M], raw: bytes) -> M:
    """Parse a message; InvalidRequest if the bytes are none."""
    try:
        return request_type.FromString(raw)
    except DecodeError:
        raise InvalidRequest(
            f"the request cannot be parsed as {request_type.DESCRIPTOR.full_name}"
        ) from None


def _check_alive(context: Context) -> None:
    """The call has ended, so its answer need not be computed."""
    remaining = context.time_remaining()
    if remaining is not None and remaining <= 0:
        raise DeadlineExpired("the deadline passed before the request was run")
    if not context.is_active():
        raise Cancelled("the caller cancelled before the request was run")
