"""One call on the C core: its operations and its end.

    RawCall      ends a call with a status, once
    UnaryCall    one message in, one message and a status out, from any thread

A call is over when its last operation, the sending of its status, is done; until then the transport
keeps it. Whether the caller still waits is learnt from the core's close operation. A call that is
answered in the burst in which it came needs no such watch of its own: the operation rides along with
the answer, which saves an event.
"""

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

import grpc

from zoo_server.protocols.grpc.transport import core
from zoo_server.protocols.grpc.transport.throttle import Hold, Throttle
from zoo_server.protocols.ports import peer_of_call
from zoo_server.protocols.status import RETRY_KEY

_LOG = logging.getLogger(__name__)

Ended = Callable[["RawCall"], None]


class OverloadWatch(NamedTuple):
    """Who learns what becomes of a method's calls, and how to tell which model a message is for."""

    throttle: Throttle
    model_of: Callable[[bytes], bytes]


class RawCall:
    """A call that can be ended; each public method from any thread."""

    __slots__ = (
        "_call", "_cancelled", "_close", "_end", "_ended", "_initial_sent", "initial_metadata", "on_over",
        "trailing_metadata",
    )  # fmt: skip

    def __init__(self, call: core.Call, ended: Ended) -> None:
        self._call = call
        self._ended = ended
        #: Whoever pops it starts the one close operation.
        self._close = [True]
        #: Whoever pops it ends the call.
        self._end = [True]
        self._cancelled = False
        #: Called once the caller is gone or the call is over, whichever comes first.
        self.on_over: Callable[[], None] | None = None
        self.initial_metadata: core.Metadata | None = None
        self.trailing_metadata: core.Metadata | None = None
        self._initial_sent = False

    def watch(self) -> None:
        """Begin to learn whether the caller hangs up."""
        if self._close:
            try:
                self._close.pop()
            except IndexError:
                return
            self._call.start_server_batch((core.ReceiveClose(core.NO_FLAGS),), self._closed)

    def _closed(self, event: core.Event) -> None:
        if event.batch_operations[0].cancelled():
            self._cancelled = True
            self._tell()

    @property
    def is_cancelled(self) -> bool:
        """Whether the caller hung up or its deadline passed."""
        return self._cancelled

    def reject(self, code: grpc.StatusCode, details: str) -> None:
        """End the call with a status; does nothing if it has ended."""
        self.end(code, details.encode())

    def end(self, code: grpc.StatusCode | None, details: bytes, *before: object) -> bool:
        """Send `before` and a status, OK for None; return False if the call had ended before."""
        try:
            self._end.pop()
        except IndexError:
            return False
        status = core.OK if code is None else core.status_code(code)
        operations = [
            *before,
            core.SendStatus(self.trailing_metadata, status, details, core.NO_FLAGS),
        ]
        if not self._initial_sent:
            self._initial_sent = True
            operations.insert(0, core.SendInitialMetadata(self.initial_metadata, core.NO_FLAGS))
        if self._close:
            try:
                self._close.pop()
                operations.append(core.ReceiveClose(core.NO_FLAGS))
            except IndexError:
                pass
        self._call.start_server_batch(operations, self._finished)
        return True

    def send_initial_metadata(self, metadata: core.Metadata | None) -> None:
        """Send them before the first message; ValueError if it is too late."""
        if self._initial_sent:
            raise ValueError("Initial metadata no longer allowed!")
        self._initial_sent = True
        joined = (*(self.initial_metadata or ()), *(metadata or ()))
        operation = core.SendInitialMetadata(joined, core.NO_FLAGS)
        self._call.start_server_batch((operation,), _nothing)

    @property
    def has_ended(self) -> bool:
        """Whether its status has been sent."""
        return not self._end

    def _finished(self, _: object) -> None:
        if self.on_over is not None:
            self._tell()
        self._ended(self)

    def _tell(self) -> None:
        """On the loop: call `on_over`, and let go of it, for its owner keeps the call."""
        on_over, self.on_over = self.on_over, None
        if on_over is not None:
            on_over()


def _nothing(_: object) -> None:
    """The tag of an operation whose end means nothing."""


class UnaryCall(RawCall):
    """One message in, one out (zoo_server.protocols.unary.Call)."""

    __slots__ = (
        "_answered", "_came", "_had_room", "_hold", "_received", "_watch", "deadline", "event",
        "has_message", "message",
    )  # fmt: skip

    def __init__(
        self,
        event: core.Event,
        ended: Ended,
        received: Callable[["UnaryCall"], None],
        watch: OverloadWatch | None = None,
        hold: Hold | None = None,
    ) -> None:
        """`watch` learns whether the call is answered or refused; `hold` has let it in."""
        super().__init__(event.call, ended)
        self.message = b""
        self.has_message = False
        self.event = event
        self._watch = watch
        self._hold = hold
        self._answered = False
        #: Whether it was not refused for want of room.
        self._had_room = True
        self._came = 0.0
        self.deadline: float = event.call_details.deadline
        self._received = received

    def receive(self) -> None:
        """Ask for the message; the handler is called with it, on the loop."""
        self._came = time.time()
        if self._watch is not None:
            self._watch.throttle.under_way += 1
        self._call.start_server_batch((core.ReceiveMessage(core.NO_FLAGS),), self._message_came)

    def _message_came(self, event: core.Event) -> None:
        message = event.batch_operations[0].message()
        if message is None:
            self._lost()
            method = self.event.call_details.method.decode("utf-8", "replace")
            self.reject(
                grpc.StatusCode.UNIMPLEMENTED, f'"{method}" requires exactly one request message.'
            )
            return
        self.message = message
        self.has_message = True
        self._received(self)

    def _lost(self) -> None:
        """Tell the watch of a call that was not answered in time."""
        watch, patience = self._watch, self.deadline - self._came
        if watch is not None and time.time() - self._came > patience / 2:
            watch.throttle.lost(self._call.peer(), patience)

    def _leave_hold(self) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.left(answered=self._answered)

    def _finished(self, event: object) -> None:
        watch, hold = self._watch, self._hold
        if hold is not None:
            self._leave_hold()
        if watch is not None:
            throttle = watch.throttle
            throttle.under_way -= 1
            if throttle.active and self._had_room:
                model = watch.model_of(self.message)
                throttle.over(self._call.peer(), model, was_held=hold is not None)
        super()._finished(event)

    @property
    def metadata(self) -> core.Metadata:
        """What came with the call besides the message."""
        return self.event.invocation_metadata or ()

    def peer(self) -> str:
        """Return whose call it is."""
        return peer_of_call(self._call.peer().decode())

    def is_gone(self) -> bool:
        """Tell whether the caller no longer waits for the answer."""
        return self._cancelled or self.deadline < time.time()

    def reply(self, answer: bytes) -> None:
        """Send the answer and status OK."""
        try:
            self._end.pop()
        except IndexError:
            return
        core.prepare_copy(answer)
        operations = [
            core.SendInitialMetadata(None, core.NO_FLAGS),
            core.SendMessage(answer, core.NO_FLAGS),
            core.SendStatus(None, core.OK, b"", core.NO_FLAGS),
        ]
        if self._close:
            try:
                self._close.pop()
                operations.append(core.ReceiveClose(core.NO_FLAGS))
            except IndexError:
                pass
        self._call.start_server_batch(operations, self._finished)
        self._answered = True

    def time_remaining(self) -> float:
        """Return the seconds to the call's deadline; infinite without one."""
        return self.deadline - time.time()

    def abort(
        self, code: grpc.StatusCode, details: str, retry_ms: int = 0, *, waiting: int = 0
    ) -> None:
        """End the call with another status; who is gone because of its deadline hears that."""
        if retry_ms:
            self.trailing_metadata = ((RETRY_KEY, str(retry_ms)),)
        watch = self._watch
        if waiting and watch is not None:
            self._had_room = False
            self._leave_hold()
            model, patience = watch.model_of(self.message), self.deadline - self._came
            watch.throttle.refused(self._call.peer(), model, waiting, patience, retry_ms)
        elif code in (grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED):
            self._lost()
        if code is grpc.StatusCode.CANCELLED and self.deadline < time.time():
            code, details = grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"
        self.reject(code, details)
