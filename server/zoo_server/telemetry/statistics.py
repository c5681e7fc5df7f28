"""Counts and durations of one model version, for ModelStatistics and Prometheus.

Recording is one append to a deque, which needs no lock; readers fold what has gathered, histograms
too, so that a request pays for none of it (counting in place would need a lock: `counts[i] += 1` is
three steps, between which another thread may come). Clients rely on these rules (docs/protocol.md
2.1, ModelStatistics): queue.count rises with each success, the three compute counts are equal,
inference_count counts rows and execution_count runs.
"""

import copy
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from zoo_server import errors

#: Fold on the path once this much has gathered, so that a server without scrapes stays small, and few
#: enough that the request which does it is not held up for long.
_FOLD_AT = 64

#: Upper bounds of the histograms, in ns: 10 µs to 10 s, three a decade. Small models answer in tens
#: of microseconds; what takes longer than the last one counts in `+Inf`.
BOUNDS_NS: tuple[int, ...] = (
    *(step * 10**power for power in range(4, 10) for step in (1, 2, 5)),
    10**10,
)


class Reason(StrEnum):
    """Why a request failed, in the words of nv_inference_request_failure."""

    REJECTED = "REJECTED"
    CANCELED = "CANCELED"
    BACKEND = "BACKEND"
    OTHER = "OTHER"


_REASONS: dict[type[Exception], Reason] = {
    errors.QueueFull: Reason.REJECTED,
    errors.QueueTimeout: Reason.REJECTED,
    errors.Overloaded: Reason.REJECTED,
    errors.Cancelled: Reason.CANCELED,
    errors.DeadlineExpired: Reason.CANCELED,
    errors.ExecutionError: Reason.BACKEND,
    errors.MemoryExhausted: Reason.BACKEND,
}


@dataclass(slots=True)
class Duration:
    """How often something happened and how long it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, times: int = 1) -> None:
        self.count += times
        self.ns += ns


@dataclass(slots=True)
class Histogram:
    """How many durations lay within each bound, and what they come to."""

    #: One a bound, and one for what is beyond the last; each counts its own interval only.
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_NS) + 1))
    ns: int = 0

    def add(self, ns: int) -> None:
        self.counts[bisect_left(BOUNDS_NS, ns)] += 1
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
    #: Requests that the response cache answered, with the time of their lookup; and those that it did
    #: not, with the times of lookup and insertion.
    cache_hit: Duration = field(default_factory=Duration)
    cache_miss: Duration = field(default_factory=Duration)
    batches: dict[int, BatchStatistics] = field(default_factory=dict)
    #: Failures by their reason; they add up to fail.count.
    failures: dict[Reason, int] = field(default_factory=lambda: dict.fromkeys(Reason, 0))
    #: Of requests, from their arrival to the end of their run; of their wait; and of runs.
    request_times: Histogram = field(default_factory=Histogram)
    queue_times: Histogram = field(default_factory=Histogram)
    run_times: Histogram = field(default_factory=Histogram)


@dataclass(slots=True)
class Execution:
    """One run of the graph, for one or more requests; moments in ns of time.perf_counter_ns."""

    requests: int
    #: In all; 1 a request where the model has no batch dimension.
    rows: int
    #: When each of the requests arrived, and when it was queued.
    arrived_ns: Sequence[int]
    queued_ns: Sequence[int]
    started_ns: int
    ready_ns: int
    inferred_ns: int
    finished_ns: int


@dataclass(slots=True)
class CacheHit:
    """A request that the response cache answered; moments in ns of time.perf_counter_ns."""

    arrived_ns: int
    looked_up_ns: int
    finished_ns: int


@dataclass(slots=True)
class CacheMiss:
    """A request that had to be run, and what it took to look it up and to keep its answer."""

    ns: int


class ModelStatistics:
    """Counts of one version; `record` from any thread, `snapshot` from any other."""

    def __init__(self) -> None:
        # a tuple is a failure: its ns and its reason
        self._gathered: deque[Execution | CacheHit | CacheMiss | tuple[int, Reason]] = deque()
        self._lock = threading.Lock()
        self._sums = Snapshot()
        #: Of the sums, until they change.
        self._copy: Snapshot | None = None
        self._last_inference_ms = 0

    @property
    def last_inference_ms(self) -> int:
        """When a request was last run, in ms since the epoch; 0 if none was."""
        return self._last_inference_ms

    def record_run(self, execution: Execution) -> None:
        """Count one run and the requests that it answered."""
        self._last_inference_ms = time.time_ns() // 1_000_000
        self._gathered.append(execution)
        if len(self._gathered) >= _FOLD_AT:
            self._fold()

    def record_hit(self, arrived_ns: int, looked_up_ns: int, finished_ns: int) -> None:
        """Count one request that the response cache answers."""
        self._last_inference_ms = time.time_ns() // 1_000_000
        self._gathered.append(CacheHit(arrived_ns, looked_up_ns, finished_ns))
        if len(self._gathered) >= _FOLD_AT:
            self._fold()

    def record_miss(self, ns: int) -> None:
        """Count one request that was run, and what looking it up and keeping its answer took."""
        self._gathered.append(CacheMiss(ns))
        if len(self._gathered) >= _FOLD_AT:
            self._fold()

    def record_failure(self, ns: int, error: Exception) -> None:
        """Count one request that was accepted and then failed."""
        self._gathered.append((ns, _REASONS.get(type(error), Reason.OTHER)))
        if len(self._gathered) >= _FOLD_AT:
            self._fold()

    def snapshot(self) -> Snapshot:
        """Return the sums of one moment: a copy, or counts that must be equal could differ.

        It is the same one, not to be changed, for as long as nothing is counted.
        """
        if self._copy is None or self._gathered:
            self._fold()
        with self._lock:
            if self._copy is None:
                self._copy = copy.deepcopy(self._sums)
            return self._copy

    def _fold(self) -> None:
        with self._lock:
            sums = self._sums
            runs: list[Execution] = []
            while self._gathered:
                self._copy = None
                item = self._gathered.popleft()
                if isinstance(item, Execution):
                    runs.append(item)
                elif isinstance(item, tuple):
                    ns, reason = item
                    sums.fail.add(ns)
                    sums.failures[reason] += 1
                elif isinstance(item, CacheHit):
                    _add_hit(sums, item)
                else:
                    sums.cache_miss.add(item.ns)
            if runs:
                _add_runs(sums, runs)
            sums.last_inference_ms = self._last_inference_ms


def _add_hit(sums: Snapshot, hit: CacheHit) -> None:
    """Triton's arithmetic: it is a success that waited for its lookup, and no inference."""
    duration, wait = hit.finished_ns - hit.arrived_ns, hit.looked_up_ns - hit.arrived_ns
    sums.success.add(duration)
    sums.queue.add(wait)
    sums.cache_hit.add(hit.finished_ns - hit.looked_up_ns)
    sums.request_times.add(duration)
    sums.queue_times.add(wait)


def _add_runs(sums: Snapshot, runs: Sequence[Execution]) -> None:
    """Triton's arithmetic: every request of a run counts, with the whole run's times.

    Written out, without a call for each sum: this is a part of what every request costs.
    """
    requests = rows = success_ns = queue_ns = run_ns = 0
    input_ns = infer_ns = output_ns = 0
    request_counts, queue_counts = sums.request_times.counts, sums.queue_times.counts
    run_counts = sums.run_times.counts
    for run in runs:
        count, started, finished = run.requests, run.started_ns, run.finished_ns
        requests += count
        rows += run.rows
        for arrived, queued in zip(run.arrived_ns, run.queued_ns, strict=True):
            duration, wait = finished - arrived, started - queued
            success_ns += duration
            queue_ns += wait
            request_counts[bisect_left(BOUNDS_NS, duration)] += 1
            queue_counts[bisect_left(BOUNDS_NS, wait)] += 1
        before, within, after = (
            run.ready_ns - started,
            run.inferred_ns - run.ready_ns,
            finished - run.inferred_ns,
        )
        run_ns += within
        run_counts[bisect_left(BOUNDS_NS, within)] += 1
        input_ns += count * before
        infer_ns += count * within
        output_ns += count * after
        batch = sums.batches.get(run.rows)
        if batch is None:
            batch = sums.batches[run.rows] = BatchStatistics()
        for own, ns in (
            (batch.compute_input, before),
            (batch.compute_infer, within),
            (batch.compute_output, after),
        ):
            own.count += 1
            own.ns += ns
    sums.inference_count += rows
    sums.execution_count += len(runs)
    sums.success.add(success_ns, requests)
    sums.queue.add(queue_ns, requests)
    sums.request_times.ns += success_ns
    sums.queue_times.ns += queue_ns
    sums.run_times.ns += run_ns
    sums.compute_input.add(input_ns, requests)
    sums.compute_infer.add(infer_ns, requests)
    sums.compute_output.add(output_ns, requests)
