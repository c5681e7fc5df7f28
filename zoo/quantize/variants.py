"""The smaller variants of one model: built, compared with fp32 on the same rows, judged, reported.

    smaller_variants(model, evidence, requested="auto") -> one Variant a kind: its bytes, or why none

Each Variant's `measured` has the figures under "quantized", published or not (report.py shows them).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from onnx import ModelProto

from zoo.convert.conversion import facts, serialized
from zoo.errors import CheckFailed, StorageError
from zoo.parity.compare import Arrays
from zoo.parity.runtimes import OnnxRuntime
from zoo.parity.variants import Variant
from zoo.quantize.build import CannotBuild, build
from zoo.quantize.comparison import adds_nonfinite, answers, flips, max_difference
from zoo.quantize.decision import AUTO, KINDS, Metric, Verdict, decide
from zoo.quantize.evidence import Evidence, Judge
from zoo.quantize.report import TITLES, finite, refusal
from zoo_server.repository import layout

#: What a variant says of itself in its metadata_props, and what fp32 says there of its metric.
VARIANT_PROPERTY, METRIC_PROPERTY = "variant", "metric_value"

#: The file that variants are compared with, as reports name it.
BASE = "fp32"


def smaller_variants(
    model: ModelProto,
    evidence: Evidence,
    *,
    requested: str,
    max_loss: float | None = None,
    file: str = layout.MODEL_FILE,
) -> list[Variant]:
    """Return the variants requested, `file` naming the fp32 one.

    Raises CheckFailed for a variant requested by name that cannot be built or loses too much;
    StorageError where the disk refuses.
    """
    built: dict[str, ModelProto] = {}
    failures: dict[str, str] = {}
    for kind in KINDS if requested == AUTO else (requested,):
        try:
            built[kind] = build(kind, model, evidence.calibration.batches)
        except CannotBuild as error:
            failures[kind] = str(error)
        except OSError as error:
            raise StorageError(f"{kind}: {error.strerror or error}: nothing was written") from error
    if requested in failures:
        raise CheckFailed(
            f"{requested} cannot be built: {failures[requested]}: leave --quantize out"
        )
    records = _compare(model, built, evidence, requested, max_loss) if built else {}
    result = []
    for kind in KINDS:
        if kind in records:
            if requested != AUTO and not records[kind]["published"]:
                raise CheckFailed(refusal(records[kind]))
            result.append(_variant(file, kind, records[kind], built[kind]))
        elif kind in failures:
            record = _record(kind, requested, Verdict(False, f"cannot be built: {failures[kind]}"))
            result.append(_variant(file, kind, record))
    return result


def _variant(
    file: str, kind: str, record: Mapping[str, Any], built: ModelProto | None = None
) -> Variant:
    name, title = file.removesuffix(".onnx") + f".{kind}.onnx", TITLES[kind]
    measured = {"quantized": record}
    if built is None or not record["published"]:
        return Variant(file=name, title=title, measured=measured, reason=record["reason"])
    return Variant(
        file=name,
        title=title,
        content=serialized(built),
        graph=facts(built),
        exact=False,
        measured=measured,
    )


def _record(kind: str, requested: str, verdict: Verdict) -> dict[str, Any]:
    return {
        "kind": kind,
        "requested": requested,
        "published": verdict.published,
        "reason": verdict.reason,
    }


def _compare(
    model: ModelProto,
    built: Mapping[str, ModelProto],
    evidence: Evidence,
    requested: str,
    max_loss: float | None,
) -> dict[str, dict[str, Any]]:
    """Run every variant on fp32's rows and judge it; its properties say what it is and reaches."""
    outputs = {
        kind: answers(OnnxRuntime().load(serialized(graph)), evidence.rows, evidence.batch)
        for kind, graph in {BASE: model, **built}.items()
    }
    base, fp32_bytes = outputs[BASE], len(serialized(model))
    records = {}
    for kind, variant in built.items():
        variant_outputs = outputs[kind]
        judged = [_judge(judge, base, variant_outputs, max_loss) for judge in evidence.judges(base)]
        _describe(variant, kind, judged[0].value)
        worst = max(judged, key=lambda item: item.excess)
        variant_bytes = len(serialized(variant))
        size = variant_bytes / fp32_bytes
        verdict = decide(requested, worst.metric, loss=worst.loss, size=size, max_loss=max_loss)
        records[kind] = _record(kind, requested, verdict) | {
            "metric": worst.to_json(),
            "metrics": [item.to_json() for item in judged],
            "bytes": {BASE: fp32_bytes, kind: variant_bytes, "ratio": size},
            "max_abs": finite(max_difference(base, variant_outputs)),
            "flips": sum(
                flips(base[n], variant_outputs[n], t) for n, t in evidence.tasks(base).items()
            ),
            "measured_with": {"onnxruntime": OnnxRuntime().version()},
        }
        if kind == "int8":
            records[kind]["calibration"] = _calibration(evidence)
    return records


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judgement:
    """One metric of one variant beside fp32's; `excess` is how far its loss is beyond the limit."""

    metric: Metric
    fp32: float
    value: float
    loss: float
    limit: float

    @property
    def excess(self) -> float:
        """Return the loss beyond the limit, 0 within it: there the first metric stands for all."""
        return max(0.0, self.loss - self.limit) if math.isfinite(self.loss) else math.inf

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self.metric) | {
            BASE: finite(self.fp32),
            "value": finite(self.value),
            "loss": finite(self.loss),
            "loss_unit": self.metric.loss_unit,
            "limit": self.limit,
        }


def _judge(judge: Judge, base: Arrays, outputs: Arrays, max_loss: float | None) -> _Judgement:
    fp32 = judge.value(base, base)
    value = float("nan") if adds_nonfinite(base, outputs) else judge.value(base, outputs)
    metric = judge.metric
    loss, limit = metric.loss(fp32, value), metric.limit(max_loss)
    return _Judgement(metric=metric, fp32=fp32, value=value, loss=loss, limit=limit)


def _describe(variant: ModelProto, kind: str, value: float) -> None:
    """Write into a variant's properties what it is, and what it reaches where fp32's metric stands."""
    for item in variant.metadata_props:
        if item.key == METRIC_PROPERTY:
            item.value = f"{value:.6g}"
    variant.metadata_props.add(key=VARIANT_PROPERTY, value=kind)


def _calibration(evidence: Evidence) -> dict[str, Any]:
    chosen = evidence.calibration
    return {
        "method": "minmax",
        "source": chosen.source,
        "rows": chosen.rows,
        "batch": chosen.batch,
        "seed": chosen.seed,
    }
