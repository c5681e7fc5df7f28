"""Answers in time under overload: the dynamic batcher on a clock of the test's own, against its peak."""

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_server.model_config import Batching
from zoo_server.schedulers.dynamic_batcher import DynamicBatcher
from zoo_server.schedulers.latency_model import LatencyModel

MS = 1_000_000
SECONDS = 4
WARM_UP = 1


class Request:
    rows = size = 1
    key = "shape"
    level = timeout_ns = nbytes = queued_ns = expires_ns = 0

    def __init__(self, arrived, deadline_ns):
        self.arrived = arrived
        self.deadline_ns = arrived + deadline_ns

    def is_gone(self):
        return False


class Simulation:
    """A model whose run takes `base` and `row` milliseconds a row, more or less, and its callers.

    The one thread: requests arrive while `execute` lets the time pass.
    """

    def __init__(self, base, row, deadline, joins, seed=1):
        self.now = 1
        self.random = random.Random(seed)
        self.base, self.row, self.deadline_ns = base, row, deadline * MS
        self.arrivals = []
        self.in_time, self.late, self.refused, self.waited = [], [], [], []
        self.latency = LatencyModel()
        self.latency.begin(1, int((base + row) * MS))
        self.batcher = DynamicBatcher(
            Batching(max_rows=64, joins=joins),
            self,
            self.latency,
            None,
            None,
            4096,
            lambda: self.now,
        )

    def run(self, per_second, bursts=1):
        """Let requests come for some seconds, `bursts` at a time; return how many a second are in time."""
        at = self.now
        while at < SECONDS * 10**9:
            at += int(self.random.expovariate(per_second / bursts) * 1e9)
            for _ in range(bursts):
                heapq.heappush(self.arrivals, at)
        while self.arrivals:
            self.now = max(self.now, self.arrivals[0])
            self.admit()
        counted = [each for each in self.in_time if each.arrived > WARM_UP * 10**9]
        return len(counted) / (SECONDS - WARM_UP)

    def admit(self):
        at = heapq.heappop(self.arrivals)
        self.batcher.submit([Request(at, self.deadline_ns)], stays=True)

    def execute(self, batch, *, waits):
        took = int((self.base + self.row * len(batch)) * MS * self.random.uniform(0.9, 1.2))
        end = self.now + took
        while self.arrivals and self.arrivals[0] <= end:
            self.now = max(self.now, self.arrivals[0])
            self.admit()
        self.now = end
        self.latency.learn(len(batch), took)
        return batch

    def is_short_to_answer(self, batch, outcomes):
        return True

    def answer(self, member, outcome):
        (self.in_time if self.now <= member.deadline_ns else self.late).append(member)

    def refuse(self, member, error):
        self.refused.append(member)
        self.waited.append(self.now - member.arrived)


@pytest.mark.parametrize("load", [0.8, 1, 1.1, 3, 10])
@pytest.mark.parametrize(
    ("base", "row", "joins", "rows"),
    [(10, 0.5, False, 1), (8, 5, True, 8), (9, 1, True, 38), (2, 8, True, 5)],
    ids=["alone", "joined", "nearly free rows", "dear rows"],
)
def test_goodput(base, row, joins, rows, load):
    """Nine tenths of the peak, that is of runs of `rows` that take half the deadline.

    At the peak itself less: now and then nobody waits.
    """
    peak = 1000 * rows / (base + row * rows) / 1.05
    simulation = Simulation(base, row, 100, joins)
    in_time = simulation.run(load * peak)

    assert in_time > (0.8 if load == 1 else 0.88) * min(load, 1) * peak
    assert len(simulation.late) < 0.02 * len(simulation.in_time)


@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.parametrize("load", [0.8, 3])
def test_goodput_of_bursts(joins, load):
    """Eight at once, which half a second is long enough for."""
    peak = 1000 / 15 if not joins else 8000 / (8 + 5 * 8)
    simulation = Simulation(10 if not joins else 8, 5, 500, joins)
    in_time = simulation.run(load * peak / 1.05, bursts=8)

    assert in_time > 0.85 * min(load, 1) * peak / 1.05
    assert len(simulation.late) < 0.02 * len(simulation.in_time)


def test_a_new_model_refuses_none_that_have_time():
    """What was not run together yet is no reason to refuse it: hundreds at once, with a long deadline."""
    simulation = Simulation(1, 0.1, 30_000, joins=True)
    for _ in range(250):
        heapq.heappush(simulation.arrivals, 1)
    while simulation.arrivals:
        simulation.admit()

    assert (len(simulation.in_time), simulation.refused) == (250, [])


class Burst(Simulation):
    """While one request runs, others come: together or one after the other."""

    def __init__(self, base, row, joins, waiting, deadlines, together):
        super().__init__(base, row, 100, joins)
        self.burst, self.let_in = [], None
        for count in (1, 2, 4, 8):  # what its rows take is learnt
            self.batcher.submit([Request(self.now, 10**10) for _ in range(count)], stays=True)
        self.early = [Request(self.now, 500 * MS) for _ in range(waiting)]
        self.burst = [Request(self.now, int(deadline * MS)) for deadline in deadlines]
        self.together = together
        self.batcher.submit([Request(self.now, 10**10)], stays=True)

    def execute(self, batch, *, waits):
        if self.let_in is None and self.burst:
            self.let_in = []
            for member in self.early:
                self.batcher.submit([member], stays=True)
            for members in [self.burst] if self.together else [[each] for each in self.burst]:
                self.batcher.submit(members, stays=True)
            self.let_in = [each not in self.refused for each in self.burst]
        return super().execute(batch, waits=waits)


@given(
    base=st.floats(0.1, 20),
    row=st.floats(0, 10),
    joins=st.booleans(),
    waiting=st.integers(0, 12),
    deadline=st.integers(0, 200),
    apart=st.sampled_from([0, 0, 1, -1, 30]),
)
def test_requests_that_come_together_are_judged_as_if_they_did_not(
    base, row, joins, waiting, deadline, apart
):
    """One look at all of them lets in whom a look at each does."""
    deadlines = [deadline + apart * index for index in range(10)]
    together, alone = (
        Burst(base, row, joins, waiting, deadlines, at_once) for at_once in (True, False)
    )

    assert together.let_in == alone.let_in
