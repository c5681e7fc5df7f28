"""The life of a server, as a table.

    STARTING ──loaded──> READY ──leave──> DRAINING ──drained──> STOPPED
        └──────────────leave──────────────────┘ (there is nothing to drain)

`leave` is the first SIGTERM or SIGINT. The second one ends the process at once, whatever the state.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from types import FrameType

_LOG = logging.getLogger(__name__)

#: The exit status of a process that was told twice.
FORCED_EXIT = 1


class State(Enum):
    """Where a server is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"


class Event(Enum):
    """What moves it on."""

    LOADED = "loaded"
    LEAVE = "leave"
    DRAINED = "drained"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.STARTING, Event.LOADED): State.READY,
    (State.STARTING, Event.LEAVE): State.DRAINING,
    (State.READY, Event.LEAVE): State.DRAINING,
    (State.DRAINING, Event.DRAINED): State.STOPPED,
    # Asked again, or asked too late: nothing changes.
    (State.DRAINING, Event.LEAVE): State.DRAINING,
    (State.STOPPED, Event.LEAVE): State.STOPPED,
}


class Lifecycle:
    """The state of one server; moved from any thread, by events of the table only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.state = State.STARTING

    def on(self, event: Event) -> bool:
        """Move on; return whether the state changed. ValueError for what the table lacks."""
        with self._lock:
            before = self.state
            try:
                self.state = TRANSITIONS[before, event]
            except KeyError:
                raise ValueError(
                    f"a server that is {before.value} cannot be {event.value}"
                ) from None
            return self.state is not before


class LeaveRequest:
    """Set by the first signal; waited for by the main thread.

    It waits on a pipe into which the interpreter's own C handler writes. Waiting on a lock would
    miss a signal that another thread takes, or that comes while the lock is being entered: Python
    runs its handlers between the main thread's bytecodes, and there would be none.
    """

    def __init__(self) -> None:
        self._asked = False
        self._woken, self.wakeup = os.pipe()
        os.set_blocking(self.wakeup, False)  # as signal.set_wakeup_fd demands

    def wait(self) -> None:
        """Return once asked to leave."""
        while not self._asked:
            os.read(self._woken, 1)

    def ask(self) -> None:
        """Ask, from any thread and as often as one likes."""
        self._asked = True
        with suppress(OSError):  # full: it wakes anyway; closed: it has left
            os.write(self.wakeup, b"\0")

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self._woken)
        os.close(self.wakeup)

    def signalled(self, number: int, _: FrameType | None = None) -> None:
        """Take a signal: the first asks, the second ends the process."""
        if self._asked:
            os._exit(FORCED_EXIT)  # no cleaning up: whoever asks twice does not want to wait
        self._asked = True


@contextmanager
def leaving_on_signals(*numbers: signal.Signals) -> Iterator[LeaveRequest]:
    """Turn signals into a LeaveRequest for as long as the block runs (main thread).

    They are SIGTERM and SIGINT unless named.
    """
    request = LeaveRequest()
    before: dict[int, Callable[..., object] | int | None] = {
        number: signal.signal(number, request.signalled)
        for number in numbers or (signal.SIGTERM, signal.SIGINT)
    }
    wakeup = signal.set_wakeup_fd(request.wakeup, warn_on_full_buffer=False)
    try:
        yield request
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        request.close()
