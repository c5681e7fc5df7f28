"""Prometheus metrics, by the names of docs/protocol.md 1b, read from the statistics at each scrape.

Names are Triton's, and so are their meanings; the histograms are ours, with bounds for microseconds
(Triton's only one starts at 100 ms). Nothing here touches a request: a scrape folds and formats what has
changed. The models' lines are written here, since the library takes milliseconds a model, and names
counters by OpenMetrics's rule, with _total, which dashboards do not ask for.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.statistics import BOUNDS_NS, Histogram, Reason, Snapshot

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def _itself() -> list[int]:
    return [os.getpid()]


class Metrics:
    """The page; `read` returns every served version, `processes` the ids of the server's own.

    `restarts` returns how many workers have taken the place of one that had ended, `is_reachable`
    whether the model repository could be read at the last look.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[ModelReading]],
        processes: Callable[[], Iterable[int]] = _itself,
        restarts: Callable[[], int] = int,
        is_reachable: Callable[[], bool] = lambda: True,
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._models = _ModelText(read)
        self._registry.register(_Machine())
        self._registry.register(_Processes(processes))
        self._restarts = restarts
        self._is_reachable = is_reachable

    def page(self) -> bytes:
        """Return what a scrape gets, in the format of CONTENT_TYPE."""
        server = (
            f"{_RESTARTS_HEAD}nv_worker_restarts {_number(self._restarts())}\n"
            f"{_REACHABLE_HEAD}nv_model_repository_reachable {int(self._is_reachable())}\n"
        )
        return (self._models.text() + server).encode() + generate_latest(self._registry)


@dataclass(frozen=True, slots=True)
class _Row:
    """One metric with a value a model."""

    name: str
    kind: str
    text: str
    value: Callable[[ModelReading], float]


_ROWS = (
    _Row("nv_inference_request_success", "counter", "Number of successful inference requests",
         lambda model: model.sums.success.count),
    _Row("nv_inference_count", "counter", "Number of inferences performed: rows",
         lambda model: model.sums.inference_count),
    _Row("nv_inference_exec_count", "counter", "Number of model executions: batches",
         lambda model: model.sums.execution_count),
    _Row("nv_inference_request_duration_us", "counter", "Cumulative request time, in us",
         lambda model: model.sums.success.ns // 1000),
    _Row("nv_inference_queue_duration_us", "counter", "Cumulative time in the queue, in us",
         lambda model: model.sums.queue.ns // 1000),
    _Row("nv_inference_compute_input_duration_us", "counter",
         "Cumulative time to gather inputs, in us",
         lambda model: model.sums.compute_input.ns // 1000),
    _Row("nv_inference_compute_infer_duration_us", "counter",
         "Cumulative time of the model's runs, in us",
         lambda model: model.sums.compute_infer.ns // 1000),
    _Row("nv_inference_compute_output_duration_us", "counter",
         "Cumulative time to hand out outputs, in us",
         lambda model: model.sums.compute_output.ns // 1000),
    _Row("nv_inference_pending_request_count", "gauge", "Number of requests awaiting execution",
         lambda model: model.pending),
    _Row("nv_model_load_duration_secs", "gauge", "Time it took to load the model, in seconds",
         lambda model: model.load_seconds),
    _Row("nv_model_memory_bytes", "gauge", "Memory that the loaded model takes, about, in bytes",
         lambda model: model.memory_bytes),
    _Row("nv_model_process_restarts", "counter",
         "How often the model's own process was started again after it had ended",
         lambda model: model.restarts),
)  # fmt: skip

#: Name, text, unit in ns, and which times.
_HISTOGRAMS: tuple[tuple[str, str, int, Callable[[Snapshot], Histogram]], ...] = (
    (
        "nv_inference_first_response_histogram_ms",
        "Time from a request's arrival to its response, in ms",
        10**6,
        lambda sums: sums.request_times,
    ),
    (
        "nv_inference_request_histogram_us",
        "Time from a request's arrival to its response, in us",
        10**3,
        lambda sums: sums.request_times,
    ),
    (
        "nv_inference_queue_histogram_us",
        "Time a request waited in the queue, in us",
        10**3,
        lambda sums: sums.queue_times,
    ),
    (
        "nv_inference_compute_infer_histogram_us",
        "Time of a run of the model, in us",
        10**3,
        lambda sums: sums.run_times,
    ),
)


class _ModelText:
    """The models' part of the page; a version about which nothing has changed is not written again."""

    def __init__(self, read: Callable[[], Iterable[ModelReading]]) -> None:
        self._read = read
        self._heads = [_head(row.name, row.text, row.kind) for row in _ROWS]
        self._heads.append(
            _head("nv_inference_request_failure", "Number of failed requests", "counter")
        )
        text = "Number of the graph's nodes that an execution provider took"
        self._heads.append(_head("nv_model_provider_nodes", text, "gauge"))
        self._heads += [_head(name, text, "histogram") for name, text, _, _ in _HISTOGRAMS]
        #: By name and version: the reading, and what was written of it, a text a metric.
        self._written: dict[tuple[str, int], tuple[ModelReading, list[str]]] = {}

    def text(self) -> str:
        """Return every model's metrics, all of one reading."""
        written: dict[tuple[str, int], tuple[ModelReading, list[str]]] = {}
        for reading in self._read():
            key = reading.name, reading.version
            known = self._written.get(key)
            if known is None or known[0] != reading:
                known = reading, _samples(reading)
            written[key] = known
        self._written = written
        columns = zip(*(texts for _, texts in written.values()), strict=True)
        parts = list(columns) or [()] * len(self._heads)
        return "".join(
            piece
            for head, texts in zip(self._heads, parts, strict=True)
            for piece in (head, *texts)
        )


def _number(value: float) -> str:
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]  # without types there
    return text


def _head(name: str, text: str, kind: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


#: Of a server of one process it is 0.
_RESTARTS_HEAD = _head(
    "nv_worker_restarts",
    "How often a worker process was started in the place of one that had ended",
    "counter",
)

_REACHABLE_HEAD = _head(
    "nv_model_repository_reachable",
    "Whether the model repository could be read when it was last looked at",
    "gauge",
)


def _samples(model: ModelReading) -> list[str]:
    """Return the lines of one version, a text a metric."""
    name = model.name.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    labels = f'model="{name}",version="{model.version}"'
    texts = [f"{row.name}{{{labels}}} {_number(row.value(model))}\n" for row in _ROWS]
    failures = model.sums.failures
    texts.append(
        "".join(
            f'nv_inference_request_failure{{{labels},reason="{reason}"}} '
            f"{_number(failures[reason])}\n"
            for reason in Reason
        )
    )
    texts.append(
        "".join(
            f'nv_model_provider_nodes{{{labels},provider="{provider}"}} {_number(count)}\n'
            for provider, count in model.nodes
        )
    )
    texts += [
        _histogram(name, labels, times(model.sums), unit) for name, _, unit, times in _HISTOGRAMS
    ]
    return texts


def _histogram(name: str, labels: str, times: Histogram, unit: int) -> str:
    totals = list(accumulate(times.counts))
    bounds = [*(f"{bound / unit:.10g}" for bound in BOUNDS_NS), "+Inf"]
    lines = [
        f'{name}_bucket{{{labels},le="{bound}"}} {total}.0\n'
        for bound, total in zip(bounds, totals, strict=True)
    ]
    lines.append(f"{name}_count{{{labels}}} {totals[-1]}.0\n")
    lines.append(f"{name}_sum{{{labels}}} {_number(times.ns / unit)}\n")
    return "".join(lines)


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
