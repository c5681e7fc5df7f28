"""A snapshot of a model's counters, and the sum of snapshots of several processes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zoo_server.telemetry.statistics import BatchStatistics, Snapshot

#: The fields of a Snapshot by their kind; `test_every_field_adds_up` holds this against it.
_DURATIONS = (
    "success", "fail", "queue", "compute_input", "compute_infer", "compute_output",
    "cache_hit", "cache_miss",
)  # fmt: skip
_COUNTS = ("inference_count", "execution_count")
_HISTOGRAMS = ("request_times", "queue_times", "run_times")
_OF_A_BATCH = ("compute_input", "compute_infer", "compute_output")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReading:
    """One version of one model at the moment of a scrape."""

    name: str
    version: int
    sums: Snapshot
    pending: int
    load_seconds: float
    #: What the version takes in memory, about; of several processes, in all of them.
    memory_bytes: int
    #: When it was loaded: in one process, another moment is another load, whose counts began anew.
    loaded_ns: int
    #: How often a process of its own was started again after it had ended.
    restarts: int = 0
    #: How many nodes of its graph each execution provider took; empty where all are the CPU's.
    nodes: tuple[tuple[str, int], ...] = ()
    #: Whether its answers are kept in the response cache.
    caches: bool = False


def total(readings: Iterable[ModelReading]) -> list[ModelReading]:
    """Add the readings of each version, by name and then version; a load took as long as the longest."""
    versions: dict[tuple[str, int], list[ModelReading]] = {}
    for reading in readings:
        versions.setdefault((reading.name, reading.version), []).append(reading)
    return [
        ModelReading(
            name=name,
            version=version,
            sums=add([reading.sums for reading in same]),
            pending=sum(reading.pending for reading in same),
            memory_bytes=sum(reading.memory_bytes for reading in same),
            load_seconds=max(reading.load_seconds for reading in same),
            loaded_ns=max(reading.loaded_ns for reading in same),
            restarts=sum(reading.restarts for reading in same),
            nodes=max(reading.nodes for reading in same),
            caches=any(reading.caches for reading in same),
        )
        for (name, version), same in sorted(versions.items())
    ]


def add(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Add what several processes counted of one version."""
    sums = Snapshot()
    for part in snapshots:
        sums.last_inference_ms = max(sums.last_inference_ms, part.last_inference_ms)
        for name in _COUNTS:
            setattr(sums, name, getattr(sums, name) + getattr(part, name))
        _add_durations(sums, part, _DURATIONS)
        for size, batch in part.batches.items():
            _add_durations(sums.batches.setdefault(size, BatchStatistics()), batch, _OF_A_BATCH)
        for reason, count in part.failures.items():
            sums.failures[reason] += count
        for name in _HISTOGRAMS:
            times, more = getattr(sums, name), getattr(part, name)
            times.ns += more.ns
            times.counts = [
                ours + theirs for ours, theirs in zip(times.counts, more.counts, strict=True)
            ]
    return sums


def _add_durations(sums: object, part: object, names: Sequence[str]) -> None:
    for name in names:
        more = getattr(part, name)
        getattr(sums, name).add(more.ns, more.count)
