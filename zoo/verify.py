"""Parity: does a runtime give the answers that Keras gave?

Pure: feeds and answers in, a report out. Runtimes are passed in as callables (zoo/runtimes), so
nothing here imports a framework.

    cases (feeds + Keras's answers)  x  sessions (one per runtime)  ->  Report of Comparisons
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
Session = Callable[[Arrays], Arrays]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """|delta| <= scaled * max|Keras| + relative * |Keras|, element by element.

    The first term allows for float32 rounding in sums whose terms cancel, the second for rounding
    in proportion; max|Keras| is taken over all rows compared of an output, since a batch of
    probabilities that happen to be tiny is no less precise for it. Measured on the zoo's models
    the largest difference is a third of the bound.
    """

    scaled: float = 1e-6
    relative: float = 1e-5

    def bound(self, expected: np.ndarray, scale: float) -> np.ndarray:
        """Return the allowed difference for each of these finite elements."""
        bound: np.ndarray = self.scaled * scale + self.relative * np.abs(expected)
        return bound


def scale_of(*expected: np.ndarray) -> float:
    """Return the largest finite magnitude in these arrays, 0 if there is none."""
    numbers = [array for array in expected if array.dtype != object]  # the others are words
    finite = [np.abs(array[np.isfinite(array)]) for array in numbers]
    return max((float(array.max(initial=0.0)) for array in finite), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Inputs and the answers that Keras gave for them, by tensor name; first dim is the batch."""

    name: str
    feeds: Arrays
    expected: Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One output of one case in one runtime, held against Keras."""

    runtime: str
    case: str
    output: str
    ok: bool
    max_abs: float = 0.0
    max_rel: float = 0.0
    flips: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All comparisons of one model, in the order they were made."""

    comparisons: tuple[Comparison, ...]

    @property
    def ok(self) -> bool:
        """Whether something was compared and everything agreed."""
        return bool(self.comparisons) and all(row.ok for row in self.comparisons)

    @property
    def worst(self) -> Comparison:
        """The first failure, else the largest absolute difference."""
        return max(self.comparisons, key=lambda row: (not row.ok, row.max_abs))

    def to_json(self) -> list[dict[str, Any]]:
        """Return the comparisons as JSON-able values."""
        return [asdict(row) for row in self.comparisons]


def verify(
    cases: Sequence[Case],
    sessions: Mapping[str, Session],
    *,
    tolerance: Tolerance | None = None,
    argmax: bool = False,
) -> Report:
    """Run every case through every session and compare each output with Keras's.

    With `argmax`, the class each row decides for (the largest element of the last axis) must be
    Keras's too. A runtime that raises is a failed comparison, with the runtime's words as reason.
    """
    rows: list[Comparison] = []
    outputs = {name for case in cases for name in case.expected}
    scales = {
        name: scale_of(*(case.expected[name] for case in cases if name in case.expected))
        for name in outputs
    }
    for runtime, session in sessions.items():
        for case in cases:
            try:
                actual = session(case.feeds)
            except Exception as error:  # a foreign runtime may raise anything; it is its verdict
                reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300]}"
                rows.append(
                    Comparison(runtime=runtime, case=case.name, output="", ok=False, reason=reason)
                )
                continue
            for output, expected in case.expected.items():
                row = compare(
                    expected,
                    actual.get(output),
                    tolerance or Tolerance(),
                    argmax=argmax,
                    scale=scales[output],
                )
                rows.append(Comparison(runtime=runtime, case=case.name, output=output, **row))
    return Report(comparisons=tuple(rows))


def compare(
    expected: np.ndarray,
    actual: np.ndarray | None,
    tolerance: Tolerance,
    *,
    argmax: bool = False,
    scale: float | None = None,
) -> dict[str, Any]:
    """Compare two arrays; the fields of a Comparison that do not name where it was made.

    `scale` is the output's max|Keras| if more rows than these are compared.
    """
    if actual is None:
        return {"ok": False, "reason": "the output is missing"}
    if expected.dtype == object and actual.dtype.kind in "OSU" and actual.shape == expected.shape:
        same = np.array_equal(expected.astype(str), actual.astype(str))
        return {"ok": same, "reason": "" if same else "other words than Keras gives"}
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        seen = f"{actual.dtype}{list(actual.shape)}"
        wanted = f"{expected.dtype}{list(expected.shape)}"
        return {"ok": False, "reason": f"{seen} where Keras gives {wanted}"}
    if expected.size == 0:
        return {"ok": True}
    finite = np.isfinite(expected)
    same_specials = np.array_equal(expected[~finite], actual[~finite], equal_nan=True)
    left = np.where(finite, expected, 0.0).astype(np.float64)
    right = np.where(finite, actual, 0.0).astype(np.float64)
    delta = np.abs(left - right)
    excess = delta - tolerance.bound(left, scale_of(expected) if scale is None else scale)
    flips = _flips(expected, actual) if argmax else 0
    ok = bool(same_specials and np.all(excess <= 0) and flips == 0)  # NaN in excess is not <= 0
    at = tuple(
        int(i)
        for i in np.unravel_index(int(np.argmax(np.nan_to_num(excess, nan=np.inf))), delta.shape)
    )
    reason = ""
    if not ok:
        reason = f"at {list(at)}: {actual[at]!s} where Keras gives {expected[at]!s}"
        if flips:
            reason += f"; {flips} rows decide for another class"
    return {
        "ok": ok,
        "max_abs": float(np.nan_to_num(delta.max(), nan=np.inf)),
        "max_rel": float(
            np.nan_to_num((delta / np.maximum(np.abs(left), 1e-12)).max(), nan=np.inf)
        ),
        "flips": flips,
        "reason": reason,
    }


def _flips(expected: np.ndarray, actual: np.ndarray) -> int:
    """Count rows whose largest element of the last axis is elsewhere."""
    return int(np.count_nonzero(expected.argmax(axis=-1) != actual.argmax(axis=-1)))
