"""How fast a model's work goes, and so when a request that comes now would be answered.

    begin ──> a run is under way ──> end ──> the time that a unit of work takes, learnt while work waits
    check_deadline ──> too late for the caller: refused before it is queued

The unit is a request's size (latency_model.py). What counts is the time between the ends of two runs as
long as there is work: so instances that run side by side, models that share the machine, and what a run
costs besides the graph are all in it. Pure: no threads, no clock. Its user holds a lock.
"""

from zoo_server.errors import DeadlineExpired, Overloaded

#: Work that waits is taken to last so much longer than predicted: a request that is let in and then
#: answered too late has taken its time from another.
_MARGIN = 1.25

#: One sample counts for no more than so many times what is known: a stall is not the rule.
_OUTLIER = 4

_MS = 1_000_000


class Backlog:
    """The work of one model that runs, and the pace of all."""

    def __init__(self) -> None:
        self._ns_per_unit = 0.0
        self._running = 0
        #: When the newest run began; and when the last one ended, 0 if no work was left then.
        self._began = self._ended = 0

    def begin(self, units: int, now: int) -> None:
        """Note that a run begins."""
        self._running += units
        self._began = now

    def end(self, units: int | None, now: int, *, waiting: bool) -> None:
        """Note that a run has ended, None for the only one, and whether other requests wait."""
        if units is None:
            units = self._running
        self._running -= units
        sample = (now - (self._ended or self._began)) / units
        known = self._ns_per_unit
        self._ns_per_unit += (min(sample, _OUTLIER * known) - known) / 8 if known else sample
        self._ended = now if waiting or self._running else 0

    def wait_ns(self, waiting: int, now: int) -> int:
        """Return how long it takes until so many units that wait, and those that run, are done."""
        running = max(0.0, self._running * self._ns_per_unit - (now - self._began))
        return int(waiting * self._ns_per_unit + running)


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
            retry_ms=-(-over // _MS),
        )
