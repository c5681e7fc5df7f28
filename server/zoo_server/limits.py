"""The server's limits: the calls in flight, and the memory that their requests take.

InFlight       counts the calls in flight, and refuses new ones once the server shuts down
MemoryBudget   the memory that all decoded requests may take together
Reservation    one request's part of it
"""

import threading

from zoo_server.errors import InvalidRequest, QueueFull, ServerExiting

#: Requests that take less are not accounted for: of as many as there may be calls, it is a gigabyte.
_FREE = 1 << 16


class InFlight:
    """The calls under way: a context manager around a call, or a pair of enter and leave."""

    def __init__(self) -> None:
        # A plain lock: the condition's own is entered in Python, and this is once or twice a call.
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._count = 0
        #: How many calls have been let in so far.
        self.entered = 0
        self._open = True

    @property
    def count(self) -> int:
        """How many calls are under way."""
        return self._count

    def enter(self, calls: int = 1) -> None:
        """Let calls in; ServerExiting after `close` (docs/protocol.md 1c)."""
        with self._lock:
            if not self._open:
                raise ServerExiting("Server exiting")
            self._count += calls
            self.entered += calls

    def leave(self) -> None:
        """Note that one call is over."""
        with self._lock:
            self._count -= 1
            if not self._count:
                self._idle.notify_all()

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, *_: object) -> None:
        self.leave()

    def close(self) -> None:
        """Refuse new calls from now on."""
        with self._lock:
            self._open = False

    def wait_until_idle(self, seconds: float) -> int:
        """Wait for the calls under way, at most so long; return how many are left."""
        with self._lock:
            self._idle.wait_for(lambda: not self._count, timeout=seconds)
            return self._count


class MemoryBudget:
    """The bytes that requests take which are being decoded or were, and are not answered yet."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._reserved = 0

    @property
    def reserved(self) -> int:
        """The bytes accounted for at present."""
        return self._reserved

    def add(self, size: int) -> None:
        """Account for so many bytes more; QueueFull if all together would be too many."""
        with self._lock:
            if self._reserved + size > self.limit:
                raise QueueFull(
                    f"requests being decoded would take more than {self.limit} bytes of memory: try "
                    "again later, or raise --max-decoded-bytes"
                )
            self._reserved += size

    def drop(self, size: int) -> None:
        """Account for so many bytes less."""
        with self._lock:
            self._reserved -= size


class Reservation:
    """One request's part of a budget; used by one thread, and released once."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._size = 0

    @property
    def limit(self) -> int:
        """The most that all requests together may take."""
        return self._budget.limit

    def take(self, size: int) -> None:
        """Account for what is about to be decoded.

        QueueFull if there is no room at present, InvalidRequest if there never is.
        """
        if size < _FREE:
            return
        if self._size + size > self.limit:
            raise InvalidRequest(
                f"the request would take more than {self.limit} bytes of memory once it is decoded: "
                "send less at once, numbers as raw contents, or raise --max-decoded-bytes"
            )
        self._budget.add(size)
        self._size += size

    def release(self) -> None:
        """Note that the request is answered."""
        size, self._size = self._size, 0
        if size:
            self._budget.drop(size)
