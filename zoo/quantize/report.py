"""Reports the measurements of variants: rows of a table, and the line of a refusal.

Works on the records that variants.py makes and manifests keep; no framework.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.quantize.decision import NO_GAIN
from zoo.table import markdown_table

TITLES: Mapping[str, str] = {
    "int8": "8-bit weights and activations, answers close to the model's",
    "fp16": "16-bit weights, answers close to the model's",
    "w8": "8-bit matrices of dense layers, answers close to the model's",
    "w4": "4-bit matrices of dense layers, answers close to the model's",
}

HEADER = (
    "variant",
    "metric",
    "fp32",
    "now",
    "loss",
    "flips",
    "largest Δ",
    "bytes",
    "verdict",
)
RIGHT = "llrrrrrrl"


def finite(value: float) -> float | None:
    """Return a number as JSON can hold it: None if it is none."""
    return float(value) if math.isfinite(value) else None


def records(variants: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the records of those variants, as a manifest lists them, that were measured here."""
    return [variant["quantized"] for variant in variants if "quantized" in variant]


def rows(quantized: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return one row a variant; one that could not be built has a verdict alone."""
    return [_row(record) for record in quantized]


def section(variants: Sequence[Mapping[str, Any]]) -> str:
    """Return the model card's section, empty if no smaller variant was measured.

    Their differences from fp32 are meant, so they stand apart from the agreement with Keras.
    """
    measured = records(variants)
    if not measured:
        return ""
    table = markdown_table(HEADER, rows(measured), right=RIGHT)
    return "\n\n".join(filter(None, ["## Smaller variants", table, note(measured)]))


def _row(record: Mapping[str, Any]) -> list[str]:
    verdict = "published" if record["published"] else f"not published: {_short(record['reason'])}"
    if "metric" not in record:
        return [record["kind"], *["—"] * (len(HEADER) - 2), verdict]
    metric = record["metric"]
    return [
        record["kind"],
        metric["name"],
        _number(metric["fp32"], ".4g"),
        _number(metric["value"], ".4g"),
        loss_text(metric),
        str(record["flips"]),
        _number(record["max_abs"], ".1e"),
        f"{record['bytes']['ratio']:.2f} ×",
        verdict,
    ]


def _short(reason: str) -> str:
    """Return a reason without the ratios that other columns show."""
    return NO_GAIN if reason.startswith(NO_GAIN) else reason


def loss_text(metric: Mapping[str, Any]) -> str:
    """Return a loss in its unit: 0.93 points, -0.10 %."""
    if metric["loss"] is None:
        return "all"
    return f"{metric['loss']:.2f} {metric['loss_unit']}"


def note(quantized: Sequence[Mapping[str, Any]]) -> str:
    """Say how the figures were taken, and on what."""
    measured = [record for record in quantized if "metric" in record]
    if not measured:
        return ""
    metric = measured[0]["metric"]
    text = (
        f"Measured on {metric['rows']} held-out rows in onnxruntime "
        f"{measured[0]['measured_with']['onnxruntime']}; bytes are in units of fp32's. A variant is "
        f"published only if the {metric['name']} loses no more than {metric['limit']:g} "
        f"{metric['loss_unit']}."
    )
    for record in measured:
        if chosen := record.get("calibration"):
            text += (
                f" Ranges for int8 come from {chosen['rows']} rows of the {chosen['source']} "
                f"(seed {chosen['seed']})."
            )
    return text


def refusal(record: Mapping[str, Any]) -> str:
    """Say in one line why a variant requested by name is not published, and what would."""
    metric = record["metric"]
    before, after = _number(metric["fp32"], ".4g"), _number(metric["value"], ".4g")
    cure = "--quantize auto goes on without it"
    if metric["loss"] is not None:
        # Rounded up, so that the loss as measured is allowed.
        cure = f"--max-loss {math.ceil(metric['loss'] * 100) / 100:.15g} allows it, {cure}"
    return (
        f"not published: {record['kind']}: {record['reason']} ({before} to {after} on "
        f"{metric['rows']} rows; {record['bytes']['ratio']:.2f} × the bytes): {cure}"
    )


def _number(value: float | None, spec: str) -> str:
    return "—" if value is None else format(value, spec)
