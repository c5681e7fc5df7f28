"""Compares a runtime's answers with Keras's.

Pure: answers in, comparisons out; nothing here loads a file or imports a framework.

    cases (feeds + Keras's answers)  x  one runtime's answers  ->  Comparisons
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from zoo.errors import first_line

Arrays = Mapping[str, np.ndarray]
Session = Callable[[Arrays], Arrays]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A runtime's words in place of an answer."""

    reason: str

    @classmethod
    def of(cls, error: Exception) -> Refusal:
        """Return the error's kind and the first line of its words."""
        return cls(f"{type(error).__name__}: {first_line(error)[:300]}")

    def without(self, *folders: str) -> Refusal:
        """Return the same without these folders' names, since reasons are read elsewhere too."""
        text = self.reason
        for folder in folders:
            text = text.replace(f"{folder}/", "")
        return Refusal(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """|delta| <= scaled * max|Keras| + relative * |Keras|, element by element.

    There is one default, for models of any size and origin. max|Keras| is taken over all rows
    compared of an output, since a batch of probabilities that happen to be tiny is no less precise
    for it. `reason` says in words why the bound is what it is.
    """

    scaled: float = 5e-5
    relative: float = 0.0
    reason: str = (
        "rounding in float32, with sums in another order, reaches 1e-6 of the largest answer in "
        "single layers and 9e-6 in the deepest models measured, and a wrong operator, axis or "
        "epsilon is seldom below 1e-3"
    )

    def bound(self, expected: np.ndarray, scale: float) -> np.ndarray:
        """Return the allowed difference for each of these finite elements."""
        bound: np.ndarray = self.scaled * scale + self.relative * np.abs(expected)
        return bound

    def to_json(self) -> dict[str, Any]:
        """Return the terms as JSON-able values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How answers are judged.

    With `argmax` the rows of a model's output decide for a class, so that another class is wrong
    however small the difference.
    """

    tolerance: Tolerance = field(default_factory=Tolerance)
    argmax: bool = False


def scale_of(*expected: np.ndarray) -> float:
    """Return the largest finite magnitude in these arrays, 0 if there is none."""
    numbers = [array for array in expected if array.dtype != object]  # the others are words
    finite = [np.abs(array[np.isfinite(array)]) for array in numbers]
    return max((float(array.max(initial=0.0)) for array in finite), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Inputs and the answers that Keras gave for them, by tensor name; first dim is the batch.

    The rows of an `adversarial` case are of a scale of their own, which no other case shares. Only
    `runtimes` must answer, all of them if None. `undefined` says by runtime ("*": any) why a
    difference in this case would tell nothing about the file: it is recorded, and not counted.
    """

    name: str
    feeds: Arrays
    expected: Arrays
    adversarial: bool = False
    runtimes: tuple[str, ...] | None = None
    undefined: Mapping[str, str] = field(default_factory=dict)

    def concerns(self, runtime: str) -> bool:
        """Whether this runtime must answer."""
        return self.runtimes is None or runtime in self.runtimes

    def undefined_in(self, runtime: str) -> str:
        """Return why this runtime's answer is not counted, empty if it is."""
        return self.undefined.get(runtime) or self.undefined.get("*", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One output of one case in one runtime, held against Keras.

    `ratio` is the largest difference as a share of the bound. `not_compared` says why a difference
    is not counted; its figures are those measured all the same.
    """

    runtime: str
    case: str
    output: str
    ok: bool
    max_abs: float = 0.0
    max_rel: float = 0.0
    ratio: float = 0.0
    flips: int = 0
    reason: str = ""
    adversarial: bool = False
    not_compared: str = ""

    @property
    def failed(self) -> bool:
        """Whether this comparison speaks against the file."""
        return not self.ok and not self.not_compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All comparisons of one model, in the order they were made."""

    comparisons: tuple[Comparison, ...]

    @property
    def ok(self) -> bool:
        """Whether something was compared and everything agreed."""
        return any(row.ok for row in self.comparisons) and not any(
            row.failed for row in self.comparisons
        )

    @property
    def worst(self) -> Comparison:
        """The first failure, else what is nearest to its bound."""
        return max(self.comparisons, key=lambda row: (row.failed, not row.not_compared, row.ratio))

    def to_json(self) -> list[dict[str, Any]]:
        """Return the comparisons as JSON-able values: null for what is not finite."""
        return [
            {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in asdict(row).items()
            }
            for row in self.comparisons
        ]


def largest_on_plain_rows(parity: Sequence[Mapping[str, Any]]) -> float:
    """Return the largest difference on rows as people send them, from a report's JSON."""
    return max((row["max_abs"] for row in parity if not row.get("adversarial")), default=0.0)


def compare_answers(
    runtime: str,
    cases: Sequence[Case],
    answers: Sequence[Arrays | Refusal],
    policy: Policy | None = None,
    *,
    scales: Mapping[str, float] | None = None,
) -> list[Comparison]:
    """Compare what one runtime gave for each case, wherever it ran, with Keras's answers.

    `scales`: the max|Keras| that these cases share with others, by output.
    """
    rows: list[Comparison] = []
    policy = policy or Policy()
    scales = shared_scales(cases) if scales is None else scales
    for case, actual in zip(cases, answers, strict=True):
        place: dict[str, Any] = {
            "runtime": runtime,
            "case": case.name,
            "adversarial": case.adversarial,
        }
        if isinstance(actual, Refusal):
            rows.append(Comparison(**place, output="", ok=False, reason=actual.reason))
            continue
        for output, expected in case.expected.items():
            row = compare(
                expected,
                actual.get(output),
                policy.tolerance,
                argmax=policy.argmax,
                scale=max(scales.get(output, 0.0), scale_of(expected)),
            )
            if not row["ok"]:
                row["not_compared"] = case.undefined_in(runtime)
            rows.append(Comparison(**place, output=output, **row))
    return rows


def shared_scales(cases: Sequence[Case]) -> Mapping[str, float]:
    """Return max|Keras| of each output over all cases but the adversarial ones."""
    plain = [case for case in cases if not case.adversarial]
    outputs = {name for case in plain for name in case.expected}
    return {
        name: scale_of(*(case.expected[name] for case in plain if name in case.expected))
        for name in outputs
    }


def _verdict_without_numbers(expected: np.ndarray, actual: np.ndarray) -> dict[str, Any] | None:
    """Judge words, arrays of another type or shape, and empty ones; None if numbers have to tell."""
    if expected.dtype == object and actual.dtype.kind in "OSU" and actual.shape == expected.shape:
        same = np.array_equal(expected.astype(str), actual.astype(str))
        return {"ok": same, "reason": "" if same else "other words than Keras gives"}
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        seen = f"{actual.dtype}{list(actual.shape)}"
        keras = f"{expected.dtype}{list(expected.shape)}"
        return {"ok": False, "reason": f"{seen} where Keras gives {keras}"}
    return {"ok": True} if expected.size == 0 else None


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
    if (verdict := _verdict_without_numbers(expected, actual)) is not None:
        return verdict
    delta, magnitude = _difference(expected, actual)
    bound = tolerance.bound(magnitude, scale_of(expected) if scale is None else scale)
    excess = delta - bound
    flips = _flips(expected, actual) if argmax else 0
    ok = bool(np.all(excess <= 0) and flips == 0)
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(excess)), delta.shape))
    reason = ""
    if not ok:
        reason = f"at {list(at)}: {actual[at]!s} where Keras gives {expected[at]!s}"
        if flips:
            reason += f"; {flips} rows decide for another class"
    return {
        "ok": ok,
        "max_abs": float(delta.max()),
        "max_rel": float((delta / np.maximum(magnitude, 1e-12)).max()),
        "ratio": _ratio(delta, bound),
        "flips": flips,
        "reason": reason,
    }


def _difference(expected: np.ndarray, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return |delta| and |expected| in float64.

    NaN agrees with NaN and an infinity with itself, at no difference and no magnitude; a number
    and what is none are infinitely far apart.
    """
    finite = np.isfinite(expected)
    magnitude = np.abs(np.where(finite, expected, 0.0).astype(np.float64))
    same = (expected == actual) | ((expected != expected) & (actual != actual))
    both = finite & np.isfinite(actual)
    left, right = (np.where(both, array, 0.0).astype(np.float64) for array in (expected, actual))
    delta = np.where(both, np.abs(left - right), np.where(same, 0.0, np.inf))
    return delta, magnitude


def _ratio(delta: np.ndarray, bound: np.ndarray) -> float:
    """Return the largest difference as a share of its bound; one of 0 allows nothing."""
    shares = np.divide(delta, bound, out=np.where(delta > 0, np.inf, 0.0), where=bound > 0)
    return float(shares.max())


def _flips(expected: np.ndarray, actual: np.ndarray) -> int:
    """Count rows whose largest element of the last axis is elsewhere."""
    return int(np.count_nonzero(expected.argmax(axis=-1) != actual.argmax(axis=-1)))
