"""The fast transport's loop: takes every event that is ready, and answers calls that came together as one.

poll ──> event ──> its tag ──> … gathered for a burst handler
  └────── nothing more ready ──────> each handler gets its burst
"""

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

import grpc

from zoo_server.protocols.grpc.transport import core

_LOG = logging.getLogger(__name__)

#: The most events taken before what was gathered is answered: a longer burst would delay its first
#: answer for the sake of its last.
_MOST_EVENTS = 1024

#: Looks in vain before a burst is answered, where others are likely to come.
_PATIENCE = 5

#: Bursts of one after which nobody else is likely to come, and after which that is tried again.
_ALONE, _TRY_AGAIN = 4, 32

#: The longest run that the loop takes on itself; meanwhile everybody else waits. A full batch of a
#: tiny model takes about a millisecond.
_INLINE_BUDGET_NS = 2_000_000


class EventQueue(Protocol):
    """Where events come from: the core's completion queue."""

    def poll(self, deadline: float | None = None) -> Any:
        """Return the next event, with its `completion_type` and its `tag`, which takes the event.

        Waits until the deadline, and without one for as long as it takes; core.TIMED_OUT if there
        is none.
        """


class BurstLoop:
    """Takes events until `over` is set; all of it but `over` belongs to the thread that runs it."""

    def __init__(self, queue: EventQueue, replenish: Callable[[int], None]) -> None:
        """`replenish` asks the core for so many arrivals more, in place of those that were taken."""
        self._queue = queue
        self._replenish = replenish
        #: What has been gathered for each burst handler.
        self._bursts: dict[Callable[..., None], list[Any]] = {}
        #: Arrivals taken that the core has not been asked to make up for.
        self.owed = 0
        #: To be set when there is nothing more to wait for.
        self.over = threading.Event()

    def gatherer(self, handler: Callable[..., None]) -> Callable[[Any], None]:
        """Return what adds a call to the handler's next burst."""
        return self._bursts.setdefault(handler, []).append

    def run(self) -> None:
        """Take events and answer them until `over` is set."""
        poll, timed_out, bursts = self._queue.poll, core.TIMED_OUT, self._bursts
        alone = 0
        while not self.over.is_set():
            event = poll()
            taken = looks = 0
            while True:
                if event.completion_type == timed_out:
                    # One look takes one socket's events: where several calls came together lately,
                    # others are likely to be ready on other connections. Answered one by one they
                    # keep coming one by one, at twice the time each.
                    looks += 1
                    likely = alone < _ALONE or not alone % _TRY_AGAIN
                    if looks > _PATIENCE or not (likely and self._has_gathered()):
                        break
                    event = poll(0)
                    continue
                try:
                    event.tag(event)
                except Exception:  # one call's fault must not end all others
                    _LOG.exception("a call could not be handled")
                taken += 1
                if taken >= _MOST_EVENTS:
                    break
                # Drop the event first: it may hold the last reference to a call.
                event = None
                event = poll(0)
            event = None
            gathered = 0
            for handler, calls in bursts.items():
                if calls:
                    gathered += len(calls)
                    _answer_burst(handler, calls)
            if gathered:
                alone = alone + 1 if gathered == 1 else 0
            if self.owed:
                # After the answers, which do not wait for it.
                owed, self.owed = self.owed, 0
                self._replenish(owed)

    def _has_gathered(self) -> bool:
        """Tell whether a burst has begun, or will with the message of a call that has arrived."""
        return self.owed > 0 or any(self._bursts.values())


def _answer_burst(handler: Callable[..., None], gathered: list[Any]) -> None:
    calls = list(gathered)
    gathered.clear()
    try:
        handler(calls, _INLINE_BUDGET_NS, stays=True)
    except Exception as error:
        _LOG.exception("a burst could not be handled")
        for call in calls:
            call.abort(grpc.StatusCode.INTERNAL, f"unexpected {type(error).__name__}")
    for call in calls:
        call.watch()
