"""The performance targets of the server: each is a bound on a ratio of two medians of one run, or on a median."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.scenarios import (
    CPU,
    EIGHT,
    LARGEST,
    MOBILE_FLIGHT,
    NEIGHBOURS,
    ONE,
    ONE_BY_64,
    P50,
    P99,
    PER_SECOND,
    ROWS,
)
from bench.servers import (
    BARE,
    BARE_ECHO,
    FAST,
    FAST_ECHO,
    KSERVE_PYTHON,
    MLSERVER_PYTHON,
    PUBLIC,
    TRITON_PYTHON,
    in_process_name,
)

#: Scenarios that bench/run.py measures without driving.
START, START_ZOO = "start, the benchmark's three models", "start, the published models"
START_SECONDS, MEMORY, RESIDENT = "start s", "memory MB", "RSS MB"

#: scenario -> server -> figure -> median
Medians = Mapping[str, Mapping[str, Mapping[str, float]]]

_LESS_IS_BETTER = frozenset({P50, P99, CPU, START_SECONDS, MEMORY, RESIDENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One target: a bound on a figure of ours, or on its ratio to the best of the servers in `against`."""

    text: str
    scenario: str
    figure: str
    bound: float
    server: str = FAST
    against: Sequence[str] = ()

    @property
    def at_most(self) -> bool:
        """Whether the bound is from above: of times and of memory, of which less is better."""
        return self.figure in _LESS_IS_BETTER

    def value(self, by_scenario: Medians) -> float | None:
        """Return the ratio, or the figure where it stands alone; None if something is missing."""
        rows = by_scenario.get(self.scenario, {})
        ours = rows.get(self.server, {}).get(self.figure)
        if ours is None or not self.against:
            return ours
        theirs = _best(rows, self.against, self.figure)
        return ours / theirs if theirs else None

    def by_cpu(self, by_scenario: Medians) -> float | None:
        """Return the same ratio of requests a second of CPU time, None where there is none.

        On a core of its own a server under full load has the same ratio by the clock; where other
        work runs beside it, this one is less disturbed.
        """
        rows = by_scenario.get(self.scenario, {})
        ours = rows.get(self.server, {}).get(CPU)
        theirs = _best(rows, self.against, CPU)
        return theirs / ours if self.figure == PER_SECOND and ours and theirs else None

    def met(self, value: float) -> bool:
        """Tell whether a value is within the bound."""
        return value <= self.bound if self.at_most else value >= self.bound


BARS = (
    Bar(
        text="tiny, 8 x 8: Triton's Python backend, times",
        scenario=EIGHT.name, figure=PER_SECOND, bound=1.6, against=(TRITON_PYTHON,),
    ),
    Bar(
        text="tiny, 1 x 64: Triton's Python backend, times",
        scenario=ONE_BY_64.name, figure=PER_SECOND, bound=1.6, against=(TRITON_PYTHON,),
    ),
    Bar(
        text="tiny, 8 x 8: the faster of MLServer and KServe, times",
        scenario=EIGHT.name, figure=PER_SECOND, bound=10,
        against=(MLSERVER_PYTHON, KSERVE_PYTHON),
    ),
    Bar(
        text="tiny, 8 x 8: grpcio and session.run, times",
        scenario=EIGHT.name, figure=PER_SECOND, bound=4, against=(BARE,),
    ),
    Bar(
        text="tiny, 8 x 8, public: grpcio and session.run, times",
        scenario=EIGHT.name, figure=PER_SECOND, bound=1, server=PUBLIC, against=(BARE,),
    ),
    Bar(
        text="tiny, 1 in flight, p50: Triton's Python backend, times",
        scenario=ONE.name, figure=P50, bound=1, against=(TRITON_PYTHON,),
    ),
    Bar(
        text="tiny, 1 in flight, p50: fast echo, times",
        scenario=ONE.name, figure=P50, bound=1.6, against=(FAST_ECHO,),
    ),
    Bar(
        text="tiny, 64 rows a request: Triton's Python backend, times",
        scenario=ROWS.name, figure=PER_SECOND, bound=2, against=(TRITON_PYTHON,),
    ),
    Bar(
        text="tiny, 64 rows a request: session.run in process, part",
        scenario=ROWS.name, figure=PER_SECOND, bound=0.3, against=(in_process_name(64),),
    ),
    Bar(
        text="MobileNetV2-sized: session.run in process, part",
        scenario=MOBILE_FLIGHT.name, figure=PER_SECOND, bound=0.95,
        against=(in_process_name(1), in_process_name(8)),
    ),
    Bar(
        text="tiny beside MobileNetV2-sized at full load, p99 ms",
        scenario=NEIGHBOURS.name, figure=P99, bound=10,
    ),
    Bar(
        text="identity, 64 MB in and out: grpcio echo, times",
        scenario=LARGEST.name, figure=P50, bound=1.5, against=(BARE_ECHO,),
    ),
    Bar(
        text="start to first answer, the published models, s",
        scenario=START_ZOO, figure=START_SECONDS, bound=0.6,
    ),
    Bar(
        text="memory, the published models, MB",
        scenario=START_ZOO, figure=MEMORY, bound=100,
    ),
)  # fmt: skip


def _best(
    rows: Mapping[str, Mapping[str, float]], names: Sequence[str], figure: str
) -> float | None:
    values = [rows[name][figure] for name in names if figure in rows.get(name, {})]
    if not values:
        return None
    return min(values) if figure in _LESS_IS_BETTER else max(values)


def better(figure: str, ours: float, theirs: float) -> float | None:
    """Return how many times better ours is; None if that means nothing."""
    if not ours or not theirs:
        return None
    return theirs / ours if figure in _LESS_IS_BETTER else ours / theirs
