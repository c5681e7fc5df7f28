"""How fast a model's work goes, and so when a request that comes now would be answered.

    begin ──> a run is under way ──> end ──> what a run takes, by its units, learnt while work waits
    wait_ns, check_deadline ──> too late for the caller: refused before it is queued
    units_in_time           ──> how much may run together and still be in time

The unit is a request's size (latency_model.py). What counts is the time between the ends of two runs as
long as there is work: so instances that run side by side, models that share the machine, and what a run
costs besides the graph are all in it. Pure: no threads, no clock. Its user holds a lock.
"""

from collections import deque

from zoo_server.errors import DeadlineExpired, Overloaded

#: Work that waits is taken to last so much longer than predicted: a request that is let in and then
#: answered too late has taken its time from another.
_MARGIN = 1.25

#: One sample counts for no more than so many times what is known: a stall is not the rule.
_OUTLIER = 4

#: The weight of a new sample.
_WEIGHT = 1 / 8

#: Runs that are kept until somebody asks: all older ones together would weigh a hundredth.
_MOST_NEW = 32

#: Sizes must vary by so much, as a part of their mean square, to tell what a unit costs.
_SPREAD = 0.05

#: Of so many more units than the largest run had, nothing is known.
_GROWTH = 2

#: More units than any run has.
_ANY = 2**63

_MS = 1_000_000
_A_QUARTER = 4


class Backlog:
    """The work of one model that runs, and the pace of all."""

    def __init__(self) -> None:
        self._cost = _RunCost()
        self._runs = self._units = 0
        #: When the newest run began; and when the last one ended, 0 if no work was left then.
        self._began = self._ended = 0

    def begin(self, units: int, now: int) -> None:
        """Note that a run begins."""
        self._runs += 1
        self._units += units
        self._began = now

    def end(self, units: int | None, now: int, *, waiting: bool) -> None:
        """Note that a run has ended, None for the only one, and whether other requests wait."""
        if units is None:
            units, self._runs = self._units, 1
        self._runs -= 1
        self._units -= units
        self._cost.add(units, now - (self._ended or self._began))
        self._ended = now if waiting or self._units else 0

    def wait_ns(self, units: int, runs: int, now: int) -> int:
        """Return how long it takes until so many units that wait, in so many runs, are done.

        What runs is waited for as well.
        """
        base_ns, unit_ns = self._cost.known()
        return int(runs * base_ns + units * unit_ns + self._left_ns(now))

    def units_in_time(self, ns: int, now: int) -> int:
        """Return how many units the next run may have to be over in time, at least one."""
        base_ns, unit_ns = self._cost.known()
        free = (ns - self._left_ns(now)) / _MARGIN - base_ns
        return max(1, int(free / unit_ns)) if unit_ns else _ANY

    @property
    def most_known(self) -> int:
        """The most units to run next: twice as many as the largest run had, for of more nothing is known.

        That is no reason to refuse more than these: they run later.
        """
        return _GROWTH * self._cost.largest or _ANY

    def _left_ns(self, now: int) -> float:
        """Return how long what runs still takes."""
        if not self._runs:
            return 0.0
        base_ns, unit_ns = self._cost.known()
        return max(0.0, self._runs * base_ns + self._units * unit_ns - (now - self._began))


class _RunCost:
    """What a run takes: a part of its own, and one for each unit; least squares, newest runs first.

    While all runs are of one size, units are free: so more are tried together, twice as many each time.
    Nobody asks where no caller has a deadline, so that all but the first are only noted until then.
    """

    def __init__(self) -> None:
        self._base_ns = self._unit_ns = 0.0
        #: The most units of a run so far.
        self.largest = 0
        self._new: deque[tuple[int, int]] = deque(maxlen=_MOST_NEW)
        self._has_any = False
        self._units = self._ns = self._squares = self._products = 0.0

    def add(self, units: int, ns: int) -> None:
        """Take note of a run."""
        if units > self.largest:
            self.largest = units
        if self._has_any:
            self._new.append((units, ns))
        else:
            self._learn(units, ns)

    def known(self) -> tuple[float, float]:
        """Return the part of its own and that of a unit, in ns; both 0 if there was no run."""
        while self._new:
            self._learn(*self._new.popleft())
        return self._base_ns, self._unit_ns

    def _learn(self, units: int, ns: float) -> None:
        weight = 1.0
        if self._has_any:
            weight, ns = _WEIGHT, min(ns, _OUTLIER * (self._base_ns + units * self._unit_ns))
        self._has_any = True
        self._units += weight * (units - self._units)
        self._ns += weight * (ns - self._ns)
        self._squares += weight * (units * units - self._squares)
        self._products += weight * (units * ns - self._products)
        variance = self._squares - self._units**2
        if variance > _SPREAD * self._squares:
            self._unit_ns = (self._products - self._units * self._ns) / variance
        self._unit_ns = min(max(0.0, self._unit_ns), self._ns / self._units)
        self._base_ns = self._ns - self._unit_ns * self._units


def check_deadline(left_ns: int, wait_ns: int, run_ns: int) -> None:
    """Refuse a request whose answer would come too late; DeadlineExpired if that is so already.

    `left_ns` to its deadline, `wait_ns` until its turn, `run_ns` for its own run. What finds the model
    idle is let in: it may be what shows that runs have become shorter.
    """
    if left_ns <= 0:
        raise DeadlineExpired("the deadline passed before the request was run")
    over = int(_MARGIN * wait_ns) + run_ns - left_ns
    if wait_ns and over > 0:
        raise Overloaded(
            f"the answer would be late: it is expected in {(wait_ns + run_ns) // _MS} ms, and the "
            f"deadline is in {left_ns // _MS} ms",
            retry_ms=max(-(-over // _MS), hint_ms(wait_ns)),
        )


def hint_ms(wait_ns: int) -> int:
    """Return when another try is worth it: once a quarter of what waits is done, or it is one too many."""
    return -(-wait_ns // (_A_QUARTER * _MS))
