"""Threads that poll while those before them are busy in the core.

    the loop ──busy in the core for 4 ms──> the first deputy polls ──busy──> the next …

A thread that waits in the core needs nobody in its place: it takes the next event itself. From outside it
looks like one that reads without end, for neither comes back. Its processor time tells.

While nothing comes the deputies sleep, for every look costs a tenth of a millisecond, and the next event wakes
the first. A flood of frames that are no call brings no event: the first deputy sees it at its next look, within
a quarter of a second.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

#: How many connections that send without end may be served beside all others; how long a thread may be busy in
#: the core before the next one polls, and how long that one waits for an event. A message of 16 MB keeps the core
#: reading for 10 ms and more; beside one of 64 MB the longest wait was 25 ms with 10 here and 18 with 4, and a
#: small call's processor time the same (bench/results/stall.md).
DEPUTIES, _BUSY_SECONDS, _POLL_SECONDS = 3, 0.004, 0.05

#: What a busy thread has worked since it last came back, at least: others may want its processor, too.
_WORKED_NS = 500_000

#: How long nothing must have come before the first deputy sleeps, and how long it sleeps at most.
_QUIET_SECONDS, _SLEEP_SECONDS = 0.1, 0.25

#: How long the end of a deputy may take.
_END_SECONDS = 1.0


class _Look(NamedTuple):
    """What is seen of the threads before a deputy: how often each came back, and how long it has worked."""

    turns: list[int]
    worked_ns: list[int]


class Deputies:
    """The deputies of one loop. Places count from 1; the loop's own is 0."""

    def __init__(
        self, count: int, turn: Callable[[int, float], None], handling: threading.Lock
    ) -> None:
        """`turn` polls in the name of a place, for so many seconds, and handles what comes, `handling` held."""
        self._turn = turn
        self._handling = handling
        #: How often each place has come back from the core; counted by `turn`.
        self.turns = [0] * (1 + count)
        self._clocks = [_Clock() for _ in self.turns]
        #: Whether the first deputy sleeps: then the next event has to `wake` it.
        self.asleep = False
        #: Whether each deputy is to look after the threads before it. Nobody waits for the loop's.
        self._follows = [threading.Event() for _ in self.turns]
        self._threads = [
            threading.Thread(target=self._serve, args=(place,), daemon=True, name="grpc-deputy")
            for place in range(1, 1 + count)
        ]
        #: To be set when there is nothing more to wait for.
        self.over = threading.Event()
        #: What ended a deputy, and with it everything.
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begin, on the loop's thread."""
        self._clocks[0].start()
        self.wake()
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Have the first deputy look after the loop."""
        self.asleep = False
        for follows in self._follows[1:2]:
            follows.set()

    def stop(self) -> None:
        """End all, the loop too."""
        self.over.set()
        for follows in self._follows:
            follows.set()
        for thread in self._threads:
            thread.join(_END_SECONDS)

    def _serve(self, place: int) -> None:
        self._clocks[place].start()
        follows, sleep = self._follows[place], _SLEEP_SECONDS if place == 1 else None
        before = seen = self._look(place)
        changed = time.monotonic()
        while not self.over.is_set():
            follows.wait(sleep)
            time.sleep(_BUSY_SECONDS)
            now = self._look(place)
            if now != seen:
                seen, changed = now, time.monotonic()
            elif place == 1 and time.monotonic() - changed > _QUIET_SECONDS:
                follows.clear()
                self.asleep = True
                if self._look(place) != now:  # an event came before it was to wake anybody
                    self.wake()
            if now.turns != before.turns:
                before = now
            elif self._are_busy(before):
                try:
                    self._stand_in(place)
                except BaseException as error:  # what would end the loop ends it from here as well
                    self.error = error
                    self.over.set()
                before = self._look(place)

    def _stand_in(self, place: int) -> None:
        """Poll for as long as the threads before are busy in the core."""
        following = (*self._follows, threading.Event())[place + 1]  # the last one's is nobody's
        following.set()
        while True:
            before, end = self._look(place), time.monotonic() + _BUSY_SECONDS
            while time.monotonic() < end and self._stay(before):
                self._turn(place, _POLL_SECONDS)
            if not self._are_busy(before):
                break
        following.clear()
        if self.over.is_set():
            following.set()

    def _look(self, place: int) -> _Look:
        return _Look(self.turns[:place], [clock.ns() for clock in self._clocks[:place]])

    def _stay(self, before: _Look) -> bool:
        """Tell whether no thread has come back; one that handles events wants no help."""
        return (
            self.turns[: len(before.turns)] == before.turns
            and not self._handling.locked()
            and not self.over.is_set()
        )

    def _are_busy(self, before: _Look) -> bool:
        """Tell whether each thread stays in the core, and has worked there since."""
        return self._stay(before) and all(
            now - then >= _WORKED_NS
            for now, then in zip(
                self._look(len(before.turns)).worked_ns, before.worked_ns, strict=True
            )
        )


class _Clock:
    """The processor time of a thread."""

    def __init__(self) -> None:
        self._id: int | None = None

    def start(self) -> None:
        """Begin with the thread that calls this."""
        # Where the system cannot tell, all threads count as busy.
        clock_of = getattr(time, "pthread_getcpuclockid", None)
        self._id = time.CLOCK_MONOTONIC if clock_of is None else clock_of(threading.get_ident())

    def ns(self) -> int:
        """Return what the thread has worked, 0 before it is known, and once it has ended."""
        try:
            return 0 if self._id is None else time.clock_gettime_ns(self._id)
        except OSError:
            return 0
