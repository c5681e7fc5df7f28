"""One loaded version: from a request to its answer.

    check ──> queue ──> gather ──> run the graph ──> answer each

The scheduler (server/zoo_server/schedulers) decides who runs together and on which thread; here is what a run
is. A batch that fails is run again one by one, so that one bad request cannot fail its neighbours.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol

import numpy as np

from zoo_server.datatypes import VARIABLE
from zoo_server.errors import ExecutionError
from zoo_server.inference.execution import Rows, Run, gather
from zoo_server.inference.queued_request import Pending, Reply
from zoo_server.inference.request import InferRequest, InferResponse
from zoo_server.inference.validation import CheckedRequest, RequestChecker
from zoo_server.repository.settings import ModelSettings
from zoo_server.schedulers.dynamic_batcher import UNBOUNDED, Scheduler
from zoo_server.schedulers.latency_model import Cost
from zoo_server.schedulers.sequence_batcher import SequenceGate
from zoo_server.schedulers.timer import Timer
from zoo_server.telemetry.statistics import Execution, ModelStatistics


class Graph(Protocol):
    """What runs: zoo_server.backends.onnxruntime.session.Session, or a fake in a test."""

    provider: str

    def run(
        self, outputs: Sequence[str], feeds: Mapping[str, np.ndarray[Any, Any]]
    ) -> list[np.ndarray[Any, Any]]:
        """Return the named outputs, in order; ExecutionError if the graph fails."""


#: What a run comes to for each of its members.
Outcome = Rows | Exception


class LoadedModel:
    """A version that can be asked, from any number of threads at once."""

    def __init__(
        self,
        settings: ModelSettings,
        graph: Graph,
        workers: Executor,
        timer: Timer,
        waiting: threading.Semaphore,
    ) -> None:
        """`waiting`: see zoo_server.schedulers.sequence_batcher.SequenceGate."""
        self.settings = settings
        self.statistics = ModelStatistics()
        self.checker = RequestChecker(settings)
        #: How long it took to load, set by who loads it.
        self.load_seconds = 0.0
        #: When it was made: its counts begin here.
        self.loaded_ns = time.time_ns()
        states = settings.sequences.states if settings.sequences is not None else ()
        self._runs = _Runs(
            graph,
            self.statistics,
            Cost(comparable=all(VARIABLE not in tensor.dims for tensor in settings.inputs)),
            always=tuple(state.output for state in states),
        )
        self._scheduler: Scheduler[Pending, Outcome] = Scheduler(
            settings.batching, self._runs, workers, timer
        )
        self._gate = self._sequence_gate(settings, timer, waiting)

    def _sequence_gate(
        self, settings: ModelSettings, timer: Timer, waiting: threading.Semaphore
    ) -> SequenceGate | None:
        if settings.sequences is None:
            return None
        return SequenceGate(
            settings.name,
            settings.sequences,
            batched=settings.max_batch_size > 0,
            let_in=self._scheduler.follow,
            timer=timer,
            waiting=waiting,
        )

    @property
    def provider(self) -> str:
        """The execution provider its session runs on, by our short name."""
        return self._runs.graph.provider

    @property
    def cost(self) -> Cost:
        """How long its runs take."""
        return self._runs.cost

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return self._scheduler.waiting

    def infer(self, request: InferRequest) -> InferResponse:
        """Answer one request, waiting for its turn.

        InvalidRequest if it does not fit the model, Unavailable if its queue is full or its time
        in it runs out, ExecutionError if the graph fails.
        """
        arrived = time.perf_counter_ns()
        checked = self.checker.check(request)
        reply = _Waiting()
        self.submit(self.pending(checked, reply, arrived, request.parameters))
        rows = reply.wait()
        return InferResponse(
            model_name=self.settings.name,
            model_version=str(self.settings.version),
            id=request.id,
            outputs=tuple(
                rows.tensor(settings, asked.classes, checked.plan.batch_size, asked.destination)
                for settings, asked in checked.plan.outputs
            ),
        )

    def pending(
        self,
        checked: CheckedRequest,
        reply: Reply,
        arrived_ns: int,
        parameters: Mapping[str, Any],
    ) -> list[Pending]:
        """Return a request as it can be submitted; none if it waits for others of its sequence.

        Its `priority`, its `timeout` in microseconds and its sequence are read from the parameters
        (docs/protocol.md 2.4). InvalidRequest if the sequence is not as it must be.
        """
        member = Pending(checked, reply, arrived_ns)
        if parameters:
            member.level = int(parameters.get("priority", 0))
            member.timeout_ns = int(parameters.get("timeout", 0)) * 1000
        return [member] if self._gate is None else self._gate.enter(member, parameters)

    def submit(
        self, members: Sequence[Pending], bears_ns: int = UNBOUNDED, *, stays: bool = False
    ) -> None:
        """Hand over checked requests that arrived together; see Scheduler.submit."""
        self._scheduler.submit(members, bears_ns, stays=stays)


class _Runs:
    """The runs of one version: what its scheduler drives.

    It does not know the version it belongs to, so that nothing here keeps an unloaded one alive.
    """

    def __init__(
        self, graph: Graph, statistics: ModelStatistics, cost: Cost, *, always: Sequence[str]
    ) -> None:
        """`always`: outputs that every run must give, asked for or not."""
        self.graph = graph
        self.cost = cost
        self._statistics = statistics
        self._always = always

    def expected_ns(self, rows: int) -> int:
        """Return how long a run of so many rows will take, as far as is known."""
        return self.cost.expected_ns(rows)

    def most_rows(self) -> int:
        """Return how many rows are worth running together."""
        return self.cost.most_rows

    def execute(self, batch: list[Pending]) -> Sequence[Outcome]:
        """Run a batch; a failed one again singly, so that its neighbours survive."""
        try:
            return self._run(batch)
        except Exception as error:
            if len(batch) == 1:
                return [error]
        return [outcome for member in batch for outcome in self.execute([member])]

    def answer(self, batch: list[Pending], outcomes: Sequence[Outcome]) -> None:
        """Give each member its outcome."""
        for member, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Rows):
                member.reply.answer(outcome)
            else:
                self.refuse(member, outcome)

    def refuse(self, member: Pending, error: Exception) -> None:
        """Answer one member with an error."""
        self._statistics.record_failure(time.perf_counter_ns() - member.arrived_ns, error)
        member.reply.fail(error)

    def _alike(self, requests: Sequence[CheckedRequest]) -> bool:
        """Tell whether all want the same outputs, and no others are needed."""
        if self._always:
            return False
        names = requests[0].plan.names
        return len(requests) == 1 or all(request.plan.names == names for request in requests)

    def _run(self, batch: list[Pending]) -> list[Rows]:
        started = time.perf_counter_ns()
        requests = [member.checked for member in batch]
        names = requests[0].plan.names if self._alike(requests) else _asked(requests, self._always)
        feeds = gather(requests)
        ready = time.perf_counter_ns()
        arrays = self.graph.run(names, feeds)
        inferred = time.perf_counter_ns()
        batched = requests[0].plan.batch_size > 0
        rows = sum([member.rows for member in batch])
        run = Run(names, arrays, rows if batched else 0)
        parts: list[Rows] = []
        end = 0
        for member in batch:
            begin, end = end, end + member.rows
            parts.append(Rows(run, begin, end))
        self.cost.learn(rows, inferred - ready)
        self._statistics.record_run(
            Execution(
                requests=len(batch),
                rows=rows,
                arrived_ns=[member.arrived_ns for member in batch],
                queued_ns=[member.queued_ns for member in batch],
                started_ns=started,
                ready_ns=ready,
                inferred_ns=inferred,
                finished_ns=time.perf_counter_ns(),
            )
        )
        return parts


def _asked(requests: Sequence[CheckedRequest], always: Sequence[str]) -> tuple[str, ...]:
    """Return the outputs that any of the requests wants, in order of their first mention."""
    names = [name for request in requests for name in request.plan.names]
    return tuple(dict.fromkeys([*names, *always]))


class _Waiting:
    """The reply of a thread that waits for its answer."""

    __slots__ = ("_done", "_outcome")

    def __init__(self) -> None:
        self._done = threading.Lock()
        self._done.acquire()
        self._outcome: Outcome = ExecutionError("never answered")

    def is_gone(self) -> bool:
        return False

    def answer(self, rows: Rows) -> None:
        self._outcome = rows
        self._done.release()

    def fail(self, error: Exception) -> None:
        self._outcome = error
        self._done.release()

    def wait(self) -> Rows:
        self._done.acquire()
        if isinstance(self._outcome, Rows):
            return self._outcome
        raise self._outcome
