"""Prometheus metrics, by the names of docs/protocol.md 1b, read from the statistics at each scrape.

Nothing here touches a request: a scrape folds and formats what has changed.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from zoo_server.telemetry.model_metrics import ModelText, head_of, number
from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.server_counts import Counts, text_of

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def _itself() -> list[int]:
    return [os.getpid()]


class Metrics:
    """The page; `read` returns every served version, `processes` the ids of the server's own.

    `restarts` returns how many workers have taken the place of one that had ended, `is_reachable`
    whether the model repository could be read at the last look, `counts` what the server counts as a whole.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[ModelReading]],
        processes: Callable[[], Iterable[int]] = _itself,
        restarts: Callable[[], int] = int,
        is_reachable: Callable[[], bool] = lambda: True,
        counts: Callable[[], Counts] = dict,
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._models = ModelText(read)
        self._registry.register(_Machine())
        self._registry.register(_Processes(processes))
        self._restarts = restarts
        self._is_reachable = is_reachable
        self._counts = counts

    def page(self) -> bytes:
        """Return what a scrape gets, in the format of CONTENT_TYPE."""
        server = (
            f"{_RESTARTS_HEAD}nv_worker_restarts {number(self._restarts())}\n"
            f"{_REACHABLE_HEAD}nv_model_repository_reachable {int(self._is_reachable())}\n"
        )
        models = self._models.text()
        server += text_of(self._counts(), head_of, number)
        return (models + server).encode() + generate_latest(self._registry)


#: Of a server of one process it is 0.
_RESTARTS_HEAD = head_of(
    "nv_worker_restarts",
    "How often a worker process was started in the place of one that had ended",
    "counter",
)

_REACHABLE_HEAD = head_of(
    "nv_model_repository_reachable",
    "Whether the model repository could be read when it was last looked at",
    "gauge",
)


#: Of these the least counts: when the first process started, and what is left to each.
_LEAST = frozenset({"process_start_time_seconds", "process_max_fds"})


class _Processes(Collector):
    """What prometheus_client says of a process, of all of a server's together."""

    def __init__(self, processes: Callable[[], Iterable[int]]) -> None:
        self._processes = processes

    def collect(self) -> Iterator[Metric]:
        """Yield the sums; a process that has ended meanwhile has none."""
        metrics: dict[str, list[Metric]] = {}
        for process in self._processes():
            # A collector of its own: the library's knows one process.
            for metric in ProcessCollector(pid=partial(int, process), registry=None).collect():
                metrics.setdefault(metric.name, []).append(metric)
        for same in metrics.values():
            values = [sample.value for metric in same for sample in metric.samples]
            first = same[0].samples[0]
            metric = Metric(same[0].name, same[0].documentation, same[0].type)
            value = min(values) if first.name in _LEAST else sum(values)
            metric.add_sample(first.name, first.labels, value)
            yield metric


class _Machine(Collector):
    """The CPU's and the memory's use, of the whole machine, as Triton shows them."""

    def __init__(self) -> None:
        self._busy, self._all = _cpu_times()
        self._utilization = 0.0

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; a machine without /proc has none."""
        busy, whole = _cpu_times()
        if whole > self._all:
            self._utilization = (busy - self._busy) / (whole - self._all)
            self._busy, self._all = busy, whole
        gauges: dict[str, tuple[str, float]] = {}
        if whole:
            gauges["nv_cpu_utilization"] = (
                "CPU utilization since the last scrape [0.0 - 1.0]",
                self._utilization,
            )
        memory = _memory()
        if memory is not None:
            total, used = memory
            gauges["nv_cpu_memory_total_bytes"] = ("CPU total memory (RAM), in bytes", total)
            gauges["nv_cpu_memory_used_bytes"] = ("CPU used memory (RAM), in bytes", used)
        for name, (text, value) in gauges.items():
            metric = Metric(name, text, "gauge")
            metric.add_sample(name, {}, value)
            yield metric


def _cpu_times() -> tuple[int, int]:
    """Return the busy and all ticks of the machine's CPUs since it started; zeros if unknown."""
    line = _first_line("/proc/stat")
    ticks = [int(field) for field in line.split()[1:9]]
    if len(ticks) < 5:
        return 0, 0
    idle = ticks[3] + ticks[4]  # and waiting for disks
    return sum(ticks) - idle, sum(ticks)


def _memory() -> tuple[int, int] | None:
    """Return the machine's memory and how much is used, in bytes."""
    sizes: dict[str, int] = {}
    for line in _text("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name in ("MemTotal", "MemAvailable"):
            sizes[name] = int(rest.split()[0]) * 1024
    if len(sizes) < 2:
        return None
    return sizes["MemTotal"], sizes["MemTotal"] - sizes["MemAvailable"]


def _first_line(path: str) -> str:
    return next(iter(_text(path).splitlines()), "")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""
