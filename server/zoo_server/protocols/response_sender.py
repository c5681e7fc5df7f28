"""One unary call on its way: what a transport gives, and what answers it, once."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

import grpc

from zoo_server.errors import Unavailable
from zoo_server.inference.execution import Rows
from zoo_server.inference.model import LoadedModel
from zoo_server.inference.queued_request import QueuedRequest
from zoo_server.limits import Reservation
from zoo_server.protocols.callers import CallerLimits
from zoo_server.protocols.status import retry_ms_of, status_of

#: A deadline that is further away than a year is none.
_LONGEST_SECONDS = 365 * 86_400.0


class Call(Protocol):
    """One unary call of any transport; answered once, by `reply` or `abort`, from any thread."""

    message: bytes

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """What came with the call besides the message."""

    def peer(self) -> str:
        """Return whose call it is: an IPv4 address, an IPv6 /64 network, or "" if that is not told."""

    def is_gone(self) -> bool:
        """Tell whether the caller no longer waits: cancelled, or the deadline has passed."""

    def time_remaining(self) -> float:
        """Return the seconds to the call's deadline; infinite without one."""

    def reply(self, answer: bytes) -> None:
        """Send the answer and status OK."""

    def abort(
        self, code: grpc.StatusCode, details: str, retry_ms: int = 0, *, waiting: int = 0
    ) -> None:
        """End the call with another status; `retry_ms` says when it is worth another try.

        `waiting`: how many wait for the model where any other request for it would be refused as well,
        unless its caller is more patient.
        """


class ResponseSender(QueuedRequest):
    """One call on its way through the queue: writes its answer and sends it."""

    __slots__ = ("_call", "_leave", "id", "model", "reservation")

    #: The method's name, for the log.
    method: ClassVar[str]

    model: LoadedModel
    id: bytes

    def __init__(self, call: Call, leave: Callable[[], None], arrived_ns: int) -> None:
        """`leave` is called once, when the call is over."""
        remaining = call.time_remaining()
        deadline_ns = arrived_ns + int(remaining * 1e9) if remaining < _LONGEST_SECONDS else 0
        super().__init__(arrived_ns, deadline_ns, len(call.message))
        self._call = call
        self._leave: Callable[[], None] | None = leave
        #: What its request takes in memory, where that is known to be more than its bytes.
        self.reservation: Reservation | None = None

    @abstractmethod
    def encode(self, rows: Rows) -> bytes:
        """Return the answer's bytes."""

    def enter(self, callers: CallerLimits) -> None:
        """Count the call as its caller's; QuotaExceeded if that has too many."""
        left, leave = callers.enter(self._call.metadata, self._call.peer), self._leave

        def leave_both() -> None:
            left()
            if leave is not None:
                leave()

        self._leave = leave_both

    def request_id(self) -> str:
        return self.id.decode(errors="replace")

    def header(self, name: str) -> str:
        for key, value in self._call.metadata:
            if key == name:
                return value if isinstance(value, str) else value.decode(errors="replace")
        return ""

    def is_gone(self) -> bool:
        return self._call.is_gone()

    def answer(self, rows: Rows) -> None:
        try:
            answer = self.encode(rows)
        except Exception as error:
            self.fail(error)
            return
        self._reply(answer)

    def fail(self, error: Exception) -> None:
        self._release()
        try:
            self.refuse(error)
        finally:
            self._end()

    def relay(self, answer: bytes, status: tuple[grpc.StatusCode, str] | None) -> None:
        """Take what came of the call in another process: the answer, or a status instead of one."""
        if status is None:
            self._reply(answer)
            return
        self._release()
        try:
            self._call.abort(*status)
        finally:
            self._end()

    def refuse(self, error: Exception) -> None:
        """Fail a call that was not let in."""
        code, text = status_of(error, self.method)
        waiting = error.waiting if isinstance(error, Unavailable) else 0
        self._call.abort(code, text, retry_ms_of(error), waiting=waiting)

    def _reply(self, answer: bytes) -> None:
        self._release()
        try:
            self._call.reply(answer)
        finally:
            self._end()

    def _release(self) -> None:
        """Give the memory back before the caller hears anything, and may send the next request."""
        if self.reservation is not None:
            self.reservation.release()

    def _end(self) -> None:
        """Once: an answer that could not be sent is refused as well."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
