"""The fast transport's loop: takes every event that is ready, and answers calls that came together as one.

poll ──> event ──> its tag ──> … gathered for a burst handler
  └────── nothing more ready ──────> each handler gets its burst

The core reads sockets on the thread that polls, and reads one for as long as something comes: a
connection that sends without end, frames that are no call, would keep the thread from all others.
Deputies (deputies.py) serve the others meanwhile.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import grpc

from zoo_server.protocols.grpc.transport import core
from zoo_server.protocols.grpc.transport.deputies import DEPUTIES, Deputies

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

#: How long the loop waits for an event before it looks whether all is over.
_POLL_SECONDS = 1.0


class EventQueue(Protocol):
    """Where events come from: the core's completion queue."""

    def poll(self, deadline: float | None = None) -> core.Event:
        """Return the next event, with its `completion_type` and its `tag`, which takes the event.

        Waits until the deadline, and without one for as long as it takes; core.TIMED_OUT if there
        is none.
        """


class BurstLoop:
    """Takes events until `over` is set; what it calls is called by one thread at a time."""

    def __init__(
        self,
        queue: EventQueue,
        replenish: Callable[[int], None],
        deputies: int = DEPUTIES,
    ) -> None:
        """`replenish` asks the core for so many arrivals more, in place of those that were taken."""
        self._queue = queue
        self._replenish = replenish
        #: What has been gathered for each burst handler.
        self._bursts: dict[Callable[..., None], list[Any]] = {}
        #: Arrivals taken that the core has not been asked to make up for.
        self.owed = 0
        #: Whether a call has arrived whose message is to join a burst.
        self.expects = False
        #: When the loop first left events for its next round, 0.0 if it took all that were ready.
        self.behind_since = 0.0
        #: Held by the thread that handles events; polling needs it not.
        self._handling = threading.Lock()
        self._deputies = Deputies(deputies, self._turn, self._handling)
        self._turns = self._deputies.turns
        #: To be set when there is nothing more to wait for.
        self.over = self._deputies.over
        self._alone = 0

    def gatherer(self, handler: Callable[..., None]) -> Callable[[object], None]:
        """Return what adds a call to the handler's next burst."""
        return self._bursts.setdefault(handler, []).append

    def run(self) -> None:
        """Take events and answer them until `over` is set; raises what a handler must not raise."""
        self._deputies.start()
        try:
            while not self.over.is_set():
                self._turn(0, _POLL_SECONDS)
        finally:
            self._deputies.stop()
        if self._deputies.error is not None:
            raise self._deputies.error

    def _turn(self, place: int, seconds: float) -> None:
        """Wait for events, at most so long; handle all that are ready, and then their bursts."""
        poll, timed_out, handling = self._queue.poll, core.TIMED_OUT, self._handling
        event = poll(time.time() + seconds)
        events = looks = 0
        with handling:
            self._turns[place] += 1
            if self._deputies.asleep and event.completion_type != timed_out:
                self._deputies.wake()
            while True:
                if event.completion_type == timed_out:
                    # One look takes one socket's events: where several calls came together lately,
                    # others are likely to be ready on other connections. Answered one by one they
                    # keep coming one by one, at twice the time each.
                    looks += 1
                    likely = self._alone < _ALONE or not self._alone % _TRY_AGAIN
                    if looks > _PATIENCE or not (likely and self._has_gathered()):
                        self.behind_since = 0.0
                        break
                else:
                    try:
                        event.tag(event)
                    except Exception:  # one call's fault must not end all others
                        _LOG.exception("a call could not be handled")
                    events += 1
                    if events >= _MOST_EVENTS:
                        self.behind_since = self.behind_since or time.time()
                        break
                    # Drop the event first: it may hold the last reference to a call.
                    del event
                handling.release()
                try:
                    event = poll(0)
                finally:
                    handling.acquire()
            del event
            self._answer()

    def _answer(self) -> None:
        gathered = 0
        self.expects = False
        for handler, calls in self._bursts.items():
            if calls:
                gathered += len(calls)
                _answer_burst(handler, calls)
        if gathered:
            self._alone = self._alone + 1 if gathered == 1 else 0
        if self.owed:
            # After the answers, which do not wait for it.
            owed, self.owed = self.owed, 0
            self._replenish(owed)

    def _has_gathered(self) -> bool:
        """Tell whether a burst has begun, or will with the message of a call that has arrived."""
        return self.expects or any(self._bursts.values())


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
