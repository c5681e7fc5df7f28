"""Adversarial input rows, and where Keras's answers to them are undefined. Pure numpy.

    zeros, the ends of the data, a thousand times those, the ends of float32, NaN and infinities

A row tells something about a file only where Keras defines an answer to it. It does not where
Keras's own answer changes when its input moves by one unit in the last place (`nudged`), nor
where an operator's treatment of NaN is left open, or the order of its sums (`undefined`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FLOAT = np.finfo(np.float32)

#: Far outside of what was trained on, and far inside float32: sums of products stay finite.
FAR = np.float32(1000.0)

#: Half way into the subnormal numbers (below 1.2e-38), which some processors are told to flush.
DENORMAL = np.float32(1e-40)

#: A finite value above this is so near to the end of float32 that a sum of some products with it may
#: leave float32 on the way, though the whole sum does not.
HUGE = np.float32(2.0**104)

ALL = "*"

Change = Callable[[np.ndarray], np.ndarray]


def _has_nan(array: np.ndarray) -> bool:
    return bool(np.isnan(array).any())


def _is_huge(array: np.ndarray) -> bool:
    return bool((np.isfinite(array) & (np.abs(array) > HUGE)).any())


@dataclass(frozen=True, slots=True, kw_only=True)
class UndefinedAnswer:
    """A rule: of values that meet `values`, in these operators, a runtime's answer is not compared."""

    values: Callable[[np.ndarray], bool]
    operators: frozenset[str]
    runtime: str
    reason: str


#: The specification of MaxPool (opset 22) says nothing of NaN.
POOLED_NAN = "ONNX leaves open what MaxPool makes of NaN: Keras skips it, runtimes do not always"

#: The rules on NaN were measured with onnxruntime 1.32 and onnx 1.23: Keras's MaxPooling skips a NaN
#: wherever it stands in the window; and GRU, LSTM and RNN give numbers where Keras, the reference
#: and the same model's portable variant give NaN. That on sums was seen with numpy's matrix product,
#: whose library adds in another order on another processor: the same file, on the same row, gave
#: Keras's answer on one machine and NaN on the next.
UNDEFINED = (
    UndefinedAnswer(
        values=_has_nan,
        operators=frozenset({"MaxPool"}),
        runtime=ALL,
        reason=POOLED_NAN,
    ),
    UndefinedAnswer(
        values=_has_nan,
        operators=frozenset({"LSTM", "GRU", "RNN"}),
        runtime="onnxruntime",
        reason="onnxruntime's recurrent operators answer NaN with a number",
    ),
    UndefinedAnswer(
        values=_is_huge,
        operators=frozenset(
            {"Conv", "ConvTranspose", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN", "ReduceSum"}
        ),
        runtime=ALL,
        reason=(
            "sums of products of such numbers leave float32, or do not, by the order in which a "
            "runtime adds them up"
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One adversarial row for each input."""

    name: str
    inputs: tuple[np.ndarray, ...]


def probes(inputs: Sequence[np.ndarray]) -> list[Probe]:
    """Return the adversarial rows for a model whose real rows are these, one row each.

    Inputs that are not of floats keep a real row wherever their type cannot hold what is asked.
    """
    floats = any(x.dtype.kind == "f" for x in inputs)

    def rows(change: Change, *, any_type: bool = False) -> tuple[np.ndarray, ...]:
        return tuple(
            np.ascontiguousarray(change(x).astype(x.dtype))
            if x.dtype.kind == "f" or (any_type and x.dtype.kind in "iub")
            else x[:1]
            for x in inputs
        )

    plain: list[tuple[str, Change]] = [
        ("zeros", lambda x: np.zeros_like(x[:1])),
        ("the lowest held-out values", lambda x: x.min(axis=0, keepdims=True)),
        ("the highest held-out values", lambda x: x.max(axis=0, keepdims=True)),
    ]
    all_probes = [Probe(name=name, inputs=rows(change, any_type=True)) for name, change in plain]
    if not floats:
        return all_probes
    far: list[tuple[str, Change]] = [
        ("the lowest held-out values × 1000", lambda x: x.min(axis=0, keepdims=True) * FAR),
        ("the highest held-out values × 1000", lambda x: x.max(axis=0, keepdims=True) * FAR),
        ("the highest held-out values × -1000", lambda x: x.max(axis=0, keepdims=True) * -FAR),
        ("the smallest normal float32", _filled(FLOAT.tiny)),
        ("a denormal float32", _filled(DENORMAL)),
        ("the largest float32", _filled(FLOAT.max)),
        ("the largest negative float32", _filled(FLOAT.min)),
    ]
    all_probes += [Probe(name=name, inputs=rows(change)) for name, change in far]
    for name, value in (("NaN", np.nan), ("Inf", np.inf), ("-Inf", -np.inf)):
        all_probes += [
            Probe(name=f"one {name} in a held-out row", inputs=rows(_one(value))),
            Probe(name=f"{name} everywhere", inputs=rows(_filled(value))),
        ]
    return all_probes


def _filled(value: float | np.floating) -> Change:
    return lambda x: np.full_like(x[:1], value)


def _one(value: float) -> Change:
    """Put a value into the middle of the first real row."""

    def change(x: np.ndarray) -> np.ndarray:
        row = x[:1].copy()
        row.reshape(-1)[row.size // 2] = value
        return row

    return change


def nudged(inputs: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Move every finite float by one unit in the last place towards zero; zeros stay."""
    return [
        np.where(np.isfinite(x), np.nextafter(x, np.zeros_like(x)), x) if x.dtype.kind == "f" else x
        for x in inputs
    ]


def undefined(arrays: Iterable[np.ndarray], operators: Iterable[str]) -> Mapping[str, str]:
    """Return, by runtime, why a graph's answer is left open.

    `arrays`: the row's inputs and Keras's answers to it.
    """
    floats = [array for array in arrays if array.dtype.kind == "f"]
    present = frozenset(operators)
    return {
        rule.runtime: rule.reason
        for rule in UNDEFINED
        if rule.operators & present and any(map(rule.values, floats))
    }
