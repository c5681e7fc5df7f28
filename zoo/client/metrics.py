"""Reads a server's metrics page: what each model was asked, how long it took, what it holds."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field

from zoo.client.errors import ClientError, Unavailable

#: Families of the page, by the field that they fill.
FIGURES = {
    "nv_inference_request_success": "requests",
    "nv_inference_request_failure": "failures",
    "nv_inference_count": "rows",
    "nv_inference_pending_request_count": "pending",
    "nv_model_memory_bytes": "memory",
}
NODES = "nv_model_provider_nodes"
TIMES = "nv_inference_request_histogram_us_bucket"
PROCESS_MEMORY = "process_resident_memory_bytes"

#: How long the page may take.
SECONDS = 5.0


@dataclass(slots=True, kw_only=True)
class ModelFigures:
    """One version's figures since it was loaded.

    `times`: requests up to so many microseconds. `nodes`: nodes of the graph by execution provider, of a
    model that the CPU has not alone.
    """

    requests: float = 0.0
    failures: float = 0.0
    rows: float = 0.0
    pending: float = 0.0
    memory: float = 0.0
    times: dict[float, float] = field(default_factory=dict)
    nodes: dict[str, float] = field(default_factory=dict)

    @property
    def provider(self) -> str:
        """Return the execution providers that have nodes, those with the most first.

        The CPU where the page names none: onnxruntime tells which node is whose from 1.24 on.
        """
        providers = sorted(
            (name for name, count in self.nodes.items() if count), key=lambda n: -self.nodes[n]
        )
        return "+".join(providers) or "cpu"

    def since(self, before: ModelFigures) -> ModelFigures:
        """Return what came after an earlier reading; queue, memory and nodes are those of now."""
        return ModelFigures(
            requests=self.requests - before.requests,
            failures=self.failures - before.failures,
            rows=self.rows - before.rows,
            pending=self.pending,
            memory=self.memory,
            times={le: count - before.times.get(le, 0.0) for le, count in self.times.items()},
            nodes=self.nodes,
        )

    def percentile(self, share: float) -> float | None:
        """Return the microseconds within which a share of the requests was answered.

        Between a bucket's bounds it is interpolated; None where there was no request.
        """
        total = max(self.times.values(), default=0.0)
        if total <= 0:
            return None
        low, below = 0.0, 0.0
        for bound, count in sorted(self.times.items()):
            if count >= share * total:
                if bound == float("inf") or count == below:
                    return low
                return low + (bound - low) * (share * total - below) / (count - below)
            low, below = bound, count
        return low


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """One reading of the page; `memory` is the bytes of the process, `seconds` a clock's."""

    models: Mapping[tuple[str, str], ModelFigures]
    memory: float
    seconds: float


def read_metrics(address: str) -> Metrics:
    """Read the page of HOST:PORT; raises Unavailable, with the cure, where there is none, ClientError for another."""
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=SECONDS) as answer:
            text = answer.read().decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        cause = getattr(error, "reason", error)  # urllib wraps what the system said
        raise Unavailable(
            "UNAVAILABLE",
            f"no metrics at http://{address}/metrics: {getattr(cause, 'strerror', None) or cause}: "
            f"{_cure(error, address)}",
        ) from error
    return parse_metrics(text, time.monotonic())


def _cure(error: Exception, address: str) -> str:
    """Say what to do where there is no page of metrics."""
    status = getattr(error, "code", None)
    if status in (401, 403):
        return f"with a token, curl -H 'authorization: Bearer TOKEN' http://{address}/metrics reads them"
    if isinstance(error, ConnectionError):  # after it was connected, which urllib wraps
        return f"if it speaks TLS, curl --cacert FILE https://{address}/metrics reads them"
    if status is not None:
        return "name the metrics port, which is 8002 unless --metrics-port says otherwise"
    return "is `zoo serve` running there?"


def parse_metrics(text: str, seconds: float) -> Metrics:
    """Read the text of a page; raises ClientError for what is not one."""
    from prometheus_client.parser import text_string_to_metric_families

    models: dict[tuple[str, str], ModelFigures] = {}
    memory = 0.0
    try:
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    except ValueError as error:
        raise ClientError("INTERNAL", f"the metrics cannot be read: {error}") from error
    for sample in samples:
        if sample.name == PROCESS_MEMORY:
            memory = sample.value
        name = sample.name.removesuffix("_total")
        if name not in FIGURES and name not in (TIMES, NODES):
            continue
        key = sample.labels.get("model", ""), sample.labels.get("version", "")
        figures = models.setdefault(key, ModelFigures())
        if name == TIMES:
            bound = float(sample.labels["le"])
            figures.times[bound] = figures.times.get(bound, 0.0) + sample.value
        elif name == NODES:
            figures.nodes[sample.labels.get("provider", "")] = sample.value
        else:
            attribute = FIGURES[name]
            setattr(figures, attribute, getattr(figures, attribute) + sample.value)
    return Metrics(models=models, memory=memory, seconds=seconds)
