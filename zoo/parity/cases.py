"""Test cases of a recipe: input rows with Keras's answers.

small         held-out and random rows in batches of 1 and 7: the test vectors
whole         every held-out row, in onnxruntime alone: the metric is measured on these
adversarial   rows that no data set has (zoo/parity/adversarial.py), one at a time
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.datasets.dataset import Rows
from zoo.parity.adversarial import ALL, nudged, probes
from zoo.parity.compare import Case, Tolerance, compare, scale_of, shared_scales
from zoo.recipes.recipe import Recipe
from zoo.training.metrics import metric_value

if TYPE_CHECKING:
    import keras
    from numpy.typing import ArrayLike

PARITY_BATCHES = (1, 7)

#: From a name, inputs and answers.
MakeCase = Callable[[str, Sequence[np.ndarray], "Sequence[ArrayLike]"], Case]

#: The only runtime that answers every held-out row: the reference evaluator is numpy, and takes up
#: to seconds for what onnxruntime does in milliseconds.
WHOLE_RUNTIMES = ("onnxruntime",)
WHOLE_REASON = (
    "every held-out row is compared in onnxruntime alone: the reference evaluator would take "
    "seconds, and has the small batches"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityCases:
    """All that one model's files are held against."""

    small: tuple[Case, ...]
    whole: Case
    adversarial: tuple[Case, ...]

    @property
    def all(self) -> tuple[Case, ...]:
        """Every case, in the order in which they are reported."""
        return (*self.small, self.whole, *self.adversarial)


def parity_cases(recipe: Recipe, model: keras.Model, held_out: Rows) -> ParityCases:
    """Return the cases of a recipe's trained model: real, random and adversarial rows.

    An open dimension, such as a length of time, takes another size in the random rows.
    """
    from zoo.training.loop import call, predict

    def case(name: str, inputs: Sequence[np.ndarray], answers: Sequence[ArrayLike]) -> Case:
        return Case(
            name=name,
            feeds=dict(zip(recipe.inputs, inputs, strict=True)),
            expected=dict(zip(recipe.outputs, map(np.asarray, answers), strict=True)),
        )

    random = np.random.default_rng(recipe.seed)
    small = []
    for batch in PARITY_BATCHES:
        rows = len(held_out)
        chosen = np.sort(random.choice(rows, size=batch, replace=rows < batch))
        real = [x[chosen] for x in held_out.inputs]
        drawn = [
            _random_rows(random, x, tensor.shape[1:], batch)
            for x, tensor in zip(held_out.inputs, model.inputs, strict=True)
        ]
        for kind, arrays in (("held-out", real), ("random", drawn)):
            answers = call(model, arrays, training=False)
            small.append(case(f"{kind} rows, batch {batch}", arrays, answers))
    name = f"all {len(held_out)} held-out rows"
    whole = replace(case(name, held_out.inputs, predict(model, held_out)), runtimes=WHOLE_RUNTIMES)
    adversarial = _adversarial(model, held_out.inputs, case, shared_scales([*small, whole]))
    return ParityCases(small=tuple(small), whole=whole, adversarial=adversarial)


def _adversarial(
    model: keras.Model, held_out: Sequence[np.ndarray], case: MakeCase, scales: Mapping[str, float]
) -> tuple[Case, ...]:
    """Return a case for each adversarial row, and say where Keras itself is of two minds.

    Keras answers them all in one batch, and the files one at a time.
    """
    from zoo.training.loop import call

    adversarial = probes(held_out)
    rows = [np.concatenate(parts) for parts in zip(*(p.inputs for p in adversarial), strict=True)]
    answers = [np.asarray(a) for a in call(model, rows, training=False)]
    others = [np.asarray(a) for a in call(model, nudged(rows), training=False)]
    cases = []
    for at, probe in enumerate(adversarial):
        one = case(probe.name, probe.inputs, [answer[at : at + 1] for answer in answers])
        moved = case(probe.name, probe.inputs, [other[at : at + 1] for other in others])
        reason = unstable(one, moved, scales)
        unreliable = {ALL: reason} if reason else {}
        cases.append(replace(one, adversarial=True, undefined=unreliable))
    return tuple(cases)


def unstable(one: Case, moved: Case, scales: Mapping[str, float]) -> str:
    """Say if Keras's answer moves beyond the bound when its input moves in the last place."""
    for output, expected in one.expected.items():
        scale = max(scales[output], scale_of(expected))
        row = compare(expected, moved.expected[output], Tolerance(), scale=scale)
        if not row["ok"]:
            return (
                "Keras's own answer changes beyond the bound when its input changes by one unit "
                f"in the last place ({row['reason']})"
            )
    return ""


def held_out_metric(
    recipe: Recipe, held_out: Rows, whole: Case, answers: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, Any]:
    """Return the recipe's metric on every held-out row: Keras's, and each runtime's.

    `answers`: what each runtime gave for the whole case. `ok` if none differs by more than the
    parity bound; a share of rows must be the very same.
    """
    name = recipe.output_name
    keras = metric_value(recipe, held_out, whole.expected[name])
    values = {
        runtime: metric_value(recipe, held_out, arrays[name]) for runtime, arrays in answers.items()
    }
    allowed = 0.0
    if recipe.metric != "accuracy":
        scale = scale_of(whole.expected[name])
        allowed = float(Tolerance().bound(np.asarray(keras), scale))
    return {
        "metric": recipe.metric,
        "rows": len(held_out),
        "keras": keras,
        "runtimes": values,
        "allowed": allowed,
        "ok": all(abs(value - keras) <= allowed for value in values.values()),
        "note": WHOLE_REASON,
    }


def _random_rows(
    random: np.random.Generator, held_out: np.ndarray, shape: tuple[int | None, ...], batch: int
) -> np.ndarray:
    """Draw rows of the held-out rows' own mean, spread and range."""
    if None in shape:
        # One more than the data has, so that a size frozen while tracing is noticed.
        size = [
            n + 1 if size is None else n for n, size in zip(held_out.shape[1:], shape, strict=True)
        ]
        mean, spread, low, high = (f(held_out) for f in (np.mean, np.std, np.min, np.max))
    else:
        size = list(held_out.shape[1:])
        mean, spread, low, high = (f(held_out, axis=0) for f in (np.mean, np.std, np.min, np.max))
    rows = random.normal(mean, spread, size=(batch, *size)).clip(low, high)
    return np.ascontiguousarray(rows.astype(held_out.dtype))
