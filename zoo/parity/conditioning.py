"""Proves files of ill-conditioned models: those whose rounding grows beyond the bound on the way.

    differs from Keras beyond the bound?   refused, unless
    Keras's float32 differs from its own float64 by a share of that, measured on the same rows, and
    every piece of the file gives what Keras's layers give, on Keras's own values (layerwise.py)

The first tells such a model from a wrong file, and the second holds the file to a bound that is no looser
than others': rounding in a piece has no room to grow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zoo.parity.compare import (
    Arrays,
    Case,
    Comparison,
    Policy,
    Report,
    Tolerance,
    compare,
    scale_of,
    shared_scales,
)
from zoo.parity.layerwise import PIECE, run_layerwise
from zoo.parity.prove import Proof
from zoo.parity.runtimes import DECISIVE

#: How many times Keras's own difference a file's may be: other kernels round otherwise, and
#: onnxruntime's exponentials are approximations.
MARGIN = 8.0

#: The widest bound, as a share of the largest answer: beyond, two answers have nothing in common.
WIDEST = 2.0

#: Rows of a case that are compared layer by layer: two show a frozen batch as well as more.
ROWS = 2


class Keras(Protocol):
    """What is asked of the model itself."""

    def in_float64(self, feeds: Arrays) -> Arrays:
        """Return the answers in float64, by output."""

    def layers(self, feeds: Arrays) -> tuple[Arrays, list[np.ndarray]]:
        """Return the answers by output, and what every layer gave."""

    def first_rows(self, feeds: Arrays, rows: int) -> Arrays:
        """Return the first rows of feeds whose batch is open, else all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """How an ill-conditioned model's file was proven; shares are of the largest answer.

    `keras`: the difference of Keras's float32 from its float64. `file`: that of the file from Keras.
    `layers` of the file's `tensors` were Keras's within `worst` of the largest number of each.
    """

    keras: float
    file: float
    tensors: int
    layers: int
    worst: float

    def __str__(self) -> str:
        return (
            f"ill-conditioned: Keras's float32 differs from Keras's float64 by {self.keras:.1e} of the "
            f"largest answer, and the file from Keras by {self.file:.1e}; held against Keras layer by "
            f"layer instead: {self.layers} of {self.tensors} tensors within {self.worst:.1e}, the bound "
            f"being {PIECE:.0e}, and the outputs"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the figures, and what they say, as JSON-able values."""
        return asdict(self) | {"text": str(self)}


def prove_ill_conditioned(
    proof: Proof, path: Path, cases: Sequence[Case], policy: Policy, keras: Keras
) -> tuple[Proof, Tolerance]:
    """Return the proof of a file that differs from Keras no more than Keras from itself, and its bound.

    A proof that failed otherwise comes back as it is.
    """
    plain = [case for case in cases if not case.adversarial]
    scales = shared_scales(plain)
    failed = [row for row in proof.report.comparisons if row.failed]
    if not _only_differ(failed) or not all(scales[row.output] for row in failed):
        return proof, policy.tolerance
    own = _own_difference(keras, plain, scales)
    if any(row.max_abs > MARGIN * own[row.output] for row in failed):
        return proof, policy.tolerance
    rows, counts = _layer_by_layer(path, plain, policy, keras)
    if not rows or any(row.failed for row in rows):
        worst = next((row for row in rows if row.failed), None)
        why = f"; layer by layer too: {worst.reason}" if worst else ""
        comparisons = [
            replace(r, reason=r.reason + why) if r.failed else r for r in proof.report.comparisons
        ]
        return replace(proof, report=Report(comparisons=tuple(comparisons))), policy.tolerance
    conditioning = Conditioning(
        keras=max(own[row.output] / scales[row.output] for row in failed),
        file=max(row.max_abs / scales[row.output] for row in failed),
        **counts,
    )
    reason = str(conditioning)
    judged = [
        replace(row, not_compared=reason) if row.failed else row for row in proof.report.comparisons
    ]
    tolerance = replace(
        policy.tolerance,
        scaled=max(policy.tolerance.scaled, min(MARGIN * conditioning.keras, WIDEST)),
        reason=reason,
    )
    report = Report(comparisons=(*judged, *rows))
    return replace(proof, report=report, conditioning=conditioning.to_json()), tolerance


def _only_differ(failed: Sequence[Comparison]) -> bool:
    """Whether nothing is wrong but sizes of finite differences."""
    return bool(failed) and all(
        row.output and row.ratio > 1 and math.isfinite(row.max_abs) and not row.flips
        for row in failed
    )


def _own_difference(
    keras: Keras, cases: Sequence[Case], scales: Mapping[str, float]
) -> Mapping[str, float]:
    """Return by output how far Keras is from itself in float64, 0 where that cannot be said."""
    largest = dict.fromkeys(scales, 0.0)
    for case in cases:
        try:
            precise = keras.in_float64(case.feeds)
        except Exception:  # a layer without such precision: whatever the backend raises
            return dict.fromkeys(scales, 0.0)
        for output, expected in case.expected.items():
            if expected.dtype.kind == "f" and precise[output].dtype == np.float64:
                delta = np.abs(expected - precise[output])
                largest[output] = max(largest[output], scale_of(delta))
    return largest


def _layer_by_layer(
    path: Path, cases: Sequence[Case], policy: Policy, keras: Keras
) -> tuple[list[Comparison], dict[str, Any]]:
    """Compare the file's outputs, as computed from Keras's layers, for the first rows of each case."""
    rows: list[Comparison] = []
    tensors, layers, worst = 0, 0, 0.0
    for case in cases:
        feeds = keras.first_rows(case.feeds, ROWS)
        answers, values = keras.layers(feeds)
        run = run_layerwise(path, feeds, values)
        for output, expected in answers.items():
            row = compare(expected, run.outputs[output], policy.tolerance, scale=scale_of(expected))
            name = f"{case.name}, layer by layer"
            rows.append(Comparison(runtime=DECISIVE, case=name, output=output, **row))
        tensors, layers, worst = tensors + run.tensors, layers + run.matched, max(worst, run.worst)
    return rows, {"tensors": tensors, "layers": layers, "worst": worst}
