"""What ModelStatistics answers: counts and durations of one version of one model.

Recording is one append to a deque, which needs no lock; readers fold what has gathered. The rules
that clients rely on (protocol.md 2.1, ModelStatistics): queue.count rises with each success, the
three compute counts are equal, inference_count counts rows and execution_count runs.
"""

import copy
import threading
import time
from collections import deque
from dataclasses import dataclass, field

#: Fold on the path once this much has gathered, so that a server nobody asks stays small.
_FOLD_AT = 4096


@dataclass(slots=True)
class Duration:
    """How often something happened and how long it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, times: int = 1) -> None:
        self.count += times
        self.ns += ns


@dataclass(slots=True)
class BatchStatistics:
    """Runs of one batch size."""

    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


@dataclass(slots=True)
class Snapshot:
    """The sums at one moment."""

    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    batches: dict[int, BatchStatistics] = field(default_factory=dict)


@dataclass(slots=True)
class Execution:
    """One run of the graph, for one or more requests; moments in ns of time.perf_counter_ns."""

    requests: int
    #: In all; 1 a request where the model has no batch dimension.
    rows: int
    #: The sums, over the requests, of when they arrived and of when they were queued.
    arrived_ns: int
    queued_ns: int
    started_ns: int
    ready_ns: int
    inferred_ns: int
    finished_ns: int


class ModelStatistics:
    """Counts of one version; `record` from any thread, `snapshot` from any other."""

    def __init__(self) -> None:
        # executions, or the ns of a failure
        self._gathered: deque[Execution | int] = deque()
        self._lock = threading.Lock()
        self._sums = Snapshot()
        self._last_inference_ms = 0

    def record_run(self, execution: Execution) -> None:
        """Count one run and the requests that it answered."""
        self._last_inference_ms = time.time_ns() // 1_000_000
        self._gathered.append(execution)
        if len(self._gathered) >= _FOLD_AT:
            self._fold()

    def record_failure(self, ns: int) -> None:
        """Count one request that was accepted and then failed."""
        self._gathered.append(ns)

    def snapshot(self) -> Snapshot:
        """Return the sums of one moment: a copy, or counts that must be equal could differ."""
        self._fold()
        with self._lock:
            return copy.deepcopy(self._sums)

    def _fold(self) -> None:
        with self._lock:
            sums = self._sums
            while self._gathered:
                item = self._gathered.popleft()
                if isinstance(item, int):
                    sums.fail.add(item)
                else:
                    _add(sums, item)
            sums.last_inference_ms = self._last_inference_ms


def _add(sums: Snapshot, run: Execution) -> None:
    """Triton's arithmetic: every request of a run counts, with the whole run's times."""
    count = run.requests
    sums.inference_count += run.rows
    sums.execution_count += 1
    sums.success.add(count * run.finished_ns - run.arrived_ns, count)
    sums.queue.add(count * run.started_ns - run.queued_ns, count)
    batch = sums.batches.setdefault(run.rows, BatchStatistics())
    for target, times in ((sums, count), (batch, 1)):
        target.compute_input.add(times * (run.ready_ns - run.started_ns), times)
        target.compute_infer.add(times * (run.inferred_ns - run.ready_ns), times)
        target.compute_output.add(times * (run.finished_ns - run.inferred_ns), times)
