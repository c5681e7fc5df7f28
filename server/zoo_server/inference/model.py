"""One loaded version: its settings, its counts, and the runs that its scheduler drives.

    check ──> scheduler ──> gather ──> run the graph ──> answer each

The scheduler (zoo_server.schedulers) decides who runs together and on which thread; here is what a run
is. A batch that fails is run again one by one, so that one bad request cannot fail its neighbours.
"""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Protocol

import numpy as np

from zoo_server.errors import Cancelled, ServerExiting
from zoo_server.inference.answers import CountedAnswers, Outcome
from zoo_server.inference.cancellation import Cancellation
from zoo_server.inference.execution import Rows, Run, gather
from zoo_server.inference.queued_request import QueuedRequest
from zoo_server.inference.ragged import gather_ragged, split_ragged
from zoo_server.inference.run_watch import RunWatch
from zoo_server.inference.validation import RequestChecker
from zoo_server.model_config import ModelSettings, RaggedBatching
from zoo_server.schedulers.scheduler import UNBOUNDED, Scheduler, WouldWait
from zoo_server.telemetry.requests import RunObserver
from zoo_server.telemetry.statistics import Execution, ModelStatistics


class Graph(Protocol):
    """What runs: zoo_server.backends.onnxruntime.session.Session, or a fake in a test."""

    provider: str

    def run(
        self,
        outputs: Sequence[str],
        feeds: Mapping[str, np.ndarray],
        *,
        waits: bool = True,
        cancellation: Cancellation | None = None,
    ) -> list[np.ndarray]:
        """Return the named outputs, in order; ExecutionError if the graph fails or is cancelled.

        Without `waits`, WouldWait if the run could not begin at once.
        """


class ModelRunner(Protocol):
    """What a loaded version runs: a graph (GraphRunner), or other models."""

    @property
    def statistics(self) -> ModelStatistics:
        """The version's counts."""

    @property
    def provider(self) -> str:
        """What it runs on, by our short name."""

    @property
    def restarts(self) -> int:
        """How often a process of its own was started again."""

    @property
    def nodes(self) -> tuple[tuple[str, int], ...]:
        """How many nodes of its graph each execution provider took; empty where all are the CPU's."""


class LoadedModel:
    """A version that serves requests, from any number of threads at once."""

    def __init__(
        self,
        settings: ModelSettings,
        runner: ModelRunner,
        scheduler: Scheduler[QueuedRequest],
        checker: RequestChecker,
    ) -> None:
        """`scheduler` drives `runner`."""
        self.settings = settings
        self.checker = checker
        self.statistics = runner.statistics
        self.runner = runner
        self.scheduler = scheduler
        #: How long it took to load, set by who loads it.
        self.load_seconds = 0.0
        #: What it takes in memory, about, set by who loads it.
        self.memory_bytes = 0
        #: Whether it stays in memory whatever else is needed there.
        self.pinned = False
        #: What keeps its files on this machine: a process of its own reads them again.
        self.files_lease: object = None
        #: When it was made: its counts begin here.
        self.loaded_ns = time.time_ns()

    @property
    def provider(self) -> str:
        """The execution provider its session runs on, by our short name."""
        return self.runner.provider

    @property
    def restarts(self) -> int:
        """How often its process was started again, where it has one of its own."""
        return self.runner.restarts

    @property
    def nodes(self) -> tuple[tuple[str, int], ...]:
        """How many nodes each execution provider took; empty where all are the CPU's."""
        return self.runner.nodes

    @property
    def used_ns(self) -> int:
        """When it last ran, or was loaded; in ns since the epoch."""
        return max(self.loaded_ns, self.statistics.last_inference_ms * 1_000_000)

    @property
    def in_use(self) -> bool:
        """Whether a request runs or waits, or a sequence is alive."""
        scheduler = self.scheduler
        return bool(scheduler.waiting or scheduler.running or getattr(scheduler, "live", 0))

    @property
    def caches(self) -> bool:
        """Whether its answers are kept in the response cache."""
        return bool(getattr(self.scheduler, "caches", False))

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return self.scheduler.waiting

    def submit(
        self,
        members: Sequence[QueuedRequest],
        inline_budget_ns: int = UNBOUNDED,
        *,
        stays: bool = False,
    ) -> None:
        """Hand over checked requests that arrived together; see Scheduler.submit."""
        self.scheduler.submit(members, inline_budget_ns, stays=stays)


class GraphRunner(CountedAnswers):
    """The runs of one version: what its scheduler drives (zoo_server.schedulers.scheduler.Runner).

    It does not know the version it belongs to, so that nothing here keeps an unloaded one alive.
    """

    def __init__(
        self,
        graph: Graph,
        statistics: ModelStatistics,
        learn: Callable[[int, int, Hashable], None],
        watch: RunWatch,
        *,
        always: Sequence[str] = (),
        ragged: RaggedBatching | None = None,
        observer: RunObserver | None = None,
    ) -> None:
        """`learn` receives the size of each run, its time in ns, and its key (Plan).

        `watch` ends runs that nobody waits for. `always`: outputs that every run must give, requested or not.
        `ragged`: how requests of different sizes are joined. `observer` hears of every request.
        """
        super().__init__(statistics, observer)
        self.graph = graph
        self._learn = learn
        self._watch = watch
        self._always = always
        self._ragged = ragged

    @property
    def provider(self) -> str:
        """The execution provider of the graph's session."""
        return self.graph.provider

    @property
    def restarts(self) -> int:
        """How often the graph's own process was started again; 0 where it has none."""
        return int(getattr(self.graph, "restarts", 0))

    @property
    def nodes(self) -> tuple[tuple[str, int], ...]:
        """How many nodes each execution provider took; empty where all are the CPU's."""
        nodes: tuple[tuple[str, int], ...] = getattr(self.graph, "nodes", ())
        return nodes

    def execute(self, batch: list[QueuedRequest], *, waits: bool = True) -> Sequence[Outcome]:
        """Run a batch; a failed one again singly, so that its neighbours survive."""
        try:
            return self._run(batch, waits)
        except WouldWait:
            raise
        except (Cancelled, ServerExiting) as error:
            return [error] * len(batch)
        except Exception as error:
            if len(batch) == 1:
                return [error]
        if not waits:
            raise WouldWait  # one after the other: that is a worker's
        return [outcome for member in batch for outcome in self.execute([member])]

    def _alike(self, batch: Sequence[QueuedRequest]) -> bool:
        """Tell whether all want the same outputs, and no others are needed."""
        if self._always:
            return False
        names = batch[0].plan.names
        return len(batch) == 1 or all(member.plan.names == names for member in batch)

    def _run(self, batch: list[QueuedRequest], waits: bool) -> list[Rows]:
        started = time.perf_counter_ns()
        first = batch[0]
        names = first.plan.names if self._alike(batch) else _outputs_of(batch, self._always)
        ragged = self._ragged
        feeds = gather(batch) if ragged is None else gather_ragged(ragged, batch)
        ready = time.perf_counter_ns()
        if waits:
            with self._watch.watching(batch) as cancellation:
                arrays = self.graph.run(names, feeds, cancellation=cancellation)
        else:
            arrays = self.graph.run(names, feeds, waits=False)
        inferred = time.perf_counter_ns()
        if len(batch) == 1:
            rows, size = first.rows, first.size
            arrived, queued = [first.arrived_ns], [first.queued_ns]
        else:
            rows = sum([member.rows for member in batch])
            size = sum([member.size for member in batch])
            arrived = [member.arrived_ns for member in batch]
            queued = [member.queued_ns for member in batch]
        if ragged is None:
            parts = _parts(Run(names, arrays, rows if first.plan.batch_size else 0), batch)
        else:
            parts = split_ragged(ragged, batch, names, arrays)
        self._learn(size, inferred - ready, first.key)
        execution = Execution(
            requests=len(batch),
            rows=rows,
            arrived_ns=arrived,
            queued_ns=queued,
            started_ns=started,
            ready_ns=ready,
            inferred_ns=inferred,
            finished_ns=time.perf_counter_ns(),
        )
        self.statistics.record_run(execution)
        if self.observer is not None:
            self.observer.ran(batch, execution)
        return parts


def _parts(run: Run, batch: Sequence[QueuedRequest]) -> list[Rows]:
    """Return each request's rows of a run."""
    parts: list[Rows] = []
    end = 0
    for member in batch:
        begin, end = end, end + member.rows
        parts.append(Rows(run, begin, end))
    return parts


def _outputs_of(batch: Sequence[QueuedRequest], always: Sequence[str]) -> tuple[str, ...]:
    """Return the outputs that any of the requests wants, in order of their first mention."""
    names = [name for member in batch for name in member.plan.names]
    return tuple(dict.fromkeys([*names, *always]))
