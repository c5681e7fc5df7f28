"""One call over gRPC-Web, as the path of inference, streams and other handlers see it.

    WebCall     what it is answered with, in a queue until the loop writes it
    UnaryCall   one message in, one out
    StreamCall  any number of both
    WebContext  what handlers see of either

Every method that is not said to be the loop's may be called from any thread.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, NoReturn

import grpc

from zoo_server.protocols.grpc_web.frames import frame, status_lines, trailers_frame
from zoo_server.protocols.ports import peer_of
from zoo_server.protocols.response_sender import Call
from zoo_server.protocols.status import RETRY_KEY, status_of

Metadata = Sequence[tuple[str, str | bytes]]


class Piece(NamedTuple):
    """A part of an answer's body."""

    data: bytes
    #: Called once it is out or lost.
    then: Callable[[], None] | None = None
    #: Of the last one: headers of the answer if nothing precedes it (a status without a message).
    headers: list[tuple[str, str]] | None = None


class WebCall:
    """One call, made on the loop that writes its answer."""

    def __init__(self, metadata: Metadata, client: Sequence[object] | None) -> None:
        """`client` is the caller's address, where that is told."""
        self.metadata = metadata
        self.trailing: Metadata = ()
        self.caller = peer_of(client) if client else ""
        self._loop = asyncio.get_running_loop()
        #: What is to be written; None once nobody reads.
        self.outgoing: asyncio.Queue[Piece | None] = asyncio.Queue()
        self._deadline = math.inf
        #: Whoever pops it ends the call.
        self._end = [True]
        self._has_headers = False
        self._callbacks: list[Callable[[], None]] | None = []
        self.is_cancelled = False

    def expire_in(self, seconds: float) -> None:
        """End the call in so many seconds, unless it is over by then; on the loop."""
        self._deadline = time.monotonic() + seconds
        expire = (grpc.StatusCode.DEADLINE_EXCEEDED, b"Deadline Exceeded")
        timer = self._loop.call_later(seconds, self.finish, *expire)
        self.add_callback(timer.cancel)

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Have something called once the call is over; False if it is."""
        callbacks = self._callbacks
        if callbacks is None:
            return False
        callbacks.append(callback)
        return True

    def over(self) -> None:
        """Note that nobody reads any more; on the loop."""
        self.is_cancelled = True
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback()
        self.outgoing.put_nowait(None)

    def is_gone(self) -> bool:
        """Tell whether the caller no longer waits for the answer."""
        return self.is_cancelled or self.time_remaining() <= 0

    def time_remaining(self) -> float:
        """Return the seconds to the call's deadline; infinite without one."""
        return self._deadline - time.monotonic()

    def send(self, message: bytes, then: Callable[[], None] | None = None) -> None:
        """Send a message after those before it; `then` is called once it is out or lost."""
        if self._end and not self.is_cancelled:
            self._has_headers = True
            self._put(Piece(frame(message), then))
        elif then is not None:
            then()

    def finish(self, code: grpc.StatusCode | None, details: bytes = b"") -> None:
        """End the call once all that was sent is out, None for OK; the first call counts."""
        try:
            self._end.pop()
        except IndexError:
            return
        lines = status_lines(code or grpc.StatusCode.OK, details.decode(errors="replace"))
        lines += [(name, str(value)) for name, value in self.trailing]
        alone = code is not None and not self._has_headers
        self._put(Piece(b"" if alone else trailers_frame(lines), None, lines if alone else []))

    def fail(self, error: Exception) -> None:
        """End the call with the status of what was raised."""
        code, text = status_of(error, "gRPC-Web")
        self.finish(code, text.encode())

    def _put(self, piece: Piece) -> None:
        with suppress(RuntimeError):  # if the loop has ended, and with it the connection
            self._loop.call_soon_threadsafe(self.outgoing.put_nowait, piece)


class UnaryCall(WebCall):
    """One message in, one out (zoo_server.protocols.unary.Call)."""

    message = b""

    def peer(self) -> str:
        """Return whose call it is."""
        return self.caller

    def reply(self, answer: bytes) -> None:
        """Send the answer and status OK."""
        self.send(answer)
        self.finish(None)

    def abort(
        self, code: grpc.StatusCode, details: str, retry_ms: int = 0, *, waiting: int = 0
    ) -> None:
        """End the call with another status; who is gone because of its deadline hears that."""
        if retry_ms:
            self.trailing = ((RETRY_KEY, str(retry_ms)),)
        if code is grpc.StatusCode.CANCELLED and self.time_remaining() <= 0:
            code, details = grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"
        self.finish(code, details.encode())


class StreamCall(WebCall):
    """Any number of messages in and out (zoo_server.protocols.grpc.stream.Port)."""

    messages: Iterator[bytes]
    #: Takes the messages that there are at once (zoo_server.protocols.behaviour.Behaviour.burst).
    burst: Callable[..., None]
    #: Has a function called by a worker.
    submit: Callable[..., object]

    @property
    def peer(self) -> str:
        """Whose stream it is."""
        return self.caller

    def read(self, then: Callable[[bytes | None], None]) -> None:
        """Ask for the next message: a worker gives it, so that no number of them makes a deep stack."""
        self.submit(self._read, then)

    def _read(self, then: Callable[[bytes | None], None]) -> None:
        try:
            then(next(self.messages, None))
        except Exception as error:
            self.fail(error)

    def gather(self, call: Call) -> None:
        """Answer one of its requests; the run is another's, for this thread has the next to read."""
        self.burst([call], 0)


class Aborted(Exception):
    """Raised by WebContext.abort: the call has its status."""


class WebContext:
    """What a handler sees of a call (zoo_server.protocols.interceptor.Context)."""

    def __init__(self, call: WebCall) -> None:
        self._call = call
        self.add_callback = call.add_callback

    def peer(self) -> str:
        return self._call.caller

    def is_active(self) -> bool:
        return not self._call.is_gone()

    def invocation_metadata(self) -> Metadata:
        return self._call.metadata

    def time_remaining(self) -> float:
        return max(self._call.time_remaining(), 0.0)

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        self._call.trailing = trailing_metadata

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        self._call.finish(code, details.encode())
        raise Aborted
