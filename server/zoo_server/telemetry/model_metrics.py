"""The lines of the metrics page that each model has, written once for as long as nothing changes.

Names are Triton's, and so are their meanings; the histograms are ours, with bounds for microseconds
(Triton's only one starts at 100 ms). They are written here, since the library takes milliseconds a
model, and names counters by OpenMetrics's rule, with _total, which dashboards do not ask for.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client.utils import floatToGoString

from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.statistics import BOUNDS_NS, Histogram, Reason, Snapshot


@dataclass(frozen=True, slots=True)
class _Row:
    """One metric with a value a model."""

    name: str
    kind: str
    text: str
    value: Callable[[ModelReading], float]


#: What is told of every model.
MODEL_METRICS = (
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

#: Of a model whose answers are kept in the response cache.
_CACHE_ROWS = (
    _Row("nv_cache_num_hits_per_model", "counter", "Number of response cache hits per model",
         lambda model: model.sums.cache_hit.count),
    _Row("nv_cache_num_misses_per_model", "counter", "Number of response cache misses per model",
         lambda model: model.sums.cache_miss.count),
    _Row("nv_cache_hit_duration_per_model", "counter",
         "Cumulative time to look up responses that were in the cache, in us",
         lambda model: model.sums.cache_hit.ns // 1000),
    _Row("nv_cache_miss_duration_per_model", "counter",
         "Cumulative time to look up and insert responses that were not in the cache, in us",
         lambda model: model.sums.cache_miss.ns // 1000),
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


class ModelText:
    """The models' part of the page; a version about which nothing has changed is not written again."""

    def __init__(self, read: Callable[[], Iterable[ModelReading]]) -> None:
        self._read = read
        self._heads = [
            head_of(row.name, row.text, row.kind) for row in (*MODEL_METRICS, *_CACHE_ROWS)
        ]
        self._heads.append(
            head_of("nv_inference_request_failure", "Number of failed requests", "counter")
        )
        text = "Number of the graph's nodes that an execution provider took"
        self._heads.append(head_of("nv_model_provider_nodes", text, "gauge"))
        self._heads += [head_of(name, text, "histogram") for name, text, _, _ in _HISTOGRAMS]
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


def number(value: float) -> str:
    """Return a value as the format writes it."""
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]  # without types there
    return text


def head_of(name: str, text: str, kind: str) -> str:
    """Return what precedes a metric's samples."""
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _samples(model: ModelReading) -> list[str]:
    """Return the lines of one version, a text a metric."""
    name = model.name.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    labels = f'model="{name}",version="{model.version}"'
    texts = [f"{row.name}{{{labels}}} {number(row.value(model))}\n" for row in MODEL_METRICS]
    texts += [
        f"{row.name}{{{labels}}} {number(row.value(model))}\n" if model.caches else ""
        for row in _CACHE_ROWS
    ]
    failures = model.sums.failures
    texts.append(
        "".join(
            f'nv_inference_request_failure{{{labels},reason="{reason}"}} '
            f"{number(failures[reason])}\n"
            for reason in Reason
        )
    )
    texts.append(
        "".join(
            f'nv_model_provider_nodes{{{labels},provider="{provider}"}} {number(count)}\n'
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
    lines.append(f"{name}_sum{{{labels}}} {number(times.ns / unit)}\n")
    return "".join(lines)
