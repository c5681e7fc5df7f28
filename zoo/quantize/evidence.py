"""The rows and metrics that calibrate and judge variants: a recipe's data, or a user's rows.

A recipe has labels: its own metric on its whole held-out split, ranges from training rows. A file
of the user's has rows alone: a seeded half gives the ranges, the other half shows how far the
answers move from fp32's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.datasets.dataset import Rows
from zoo.errors import UsageError
from zoo.parity.compare import Arrays
from zoo.quantize.comparison import agreement, distance, looks_like_classes
from zoo.quantize.decision import Metric
from zoo.recipes.claim import METRICS
from zoo.recipes.recipe import Recipe
from zoo.training.metrics import metric_value, score

#: Rows whose activations give the ranges: more changed nothing on the zoo's models.
CALIBRATION_ROWS, CALIBRATION_BATCH = 256, 16

#: Chooses the rows, besides the recipe's own seed.
CALIBRATION_STREAM = 0xCA11

#: Rows of a user's below which neither half says anything.
FEWEST_ROWS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Batches of one size by input name, and how they were chosen."""

    batches: tuple[Arrays, ...]
    rows: int
    batch: int
    seed: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A metric, and its value from fp32's and a variant's answers, both by output name."""

    metric: Metric
    value: Callable[[Arrays, Arrays], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Rows to calibrate on, rows to measure on, and what judges the answers.

    `judges` are chosen by fp32's answers to `rows`: the model's own metric first, then one for
    each further output, since a variant must not spoil one to keep another. `tasks` names the task
    of each output that decides for classes. `batch` is the only size that the graph takes, None
    where it takes any.
    """

    calibration: Calibration
    rows: Arrays
    judges: Callable[[Arrays], tuple[Judge, ...]]
    tasks: Callable[[Arrays], Mapping[str, str]]
    batch: int | None = None


def calibration(rows: Arrays, seed: int, source: str, batch: int | None = None) -> Calibration:
    """Choose rows, in batches of equal size: onnxruntime's calibration breaks on a smaller last
    one (its issue 18792). Raises UsageError where there is not one batch of the graph's own size.
    """
    count = min(len(array) for array in rows.values())
    size = batch or min(CALIBRATION_BATCH, count)
    row_count = min(max(CALIBRATION_ROWS, size), count)
    row_count -= row_count % size
    if not row_count:
        raise UsageError(f"{count} rows to calibrate on, and the model takes {size} at a time")
    random = np.random.default_rng((seed, CALIBRATION_STREAM))
    chosen = np.sort(random.choice(count, size=row_count, replace=False))
    return Calibration(
        batches=tuple(
            {name: array[chosen[i : i + size]] for name, array in rows.items()}
            for i in range(0, row_count, size)
        ),
        rows=row_count,
        batch=size,
        seed=seed,
        source=source,
    )


def of_recipe(recipe: Recipe, train: Rows, held_out: Rows) -> Evidence:
    """Judge by the recipe's metric on all held-out rows; calibrate on training rows."""
    kind = "share" if METRICS[recipe.metric] == ">=" else "error"
    metric = Metric(name=recipe.metric, kind=kind, rows=len(held_out), units=recipe.units)
    own = Judge(
        metric=metric,
        value=lambda base, variant: metric_value(recipe, held_out, variant[recipe.output_name]),
    )
    tasks = dict(zip(recipe.outputs, recipe.tasks, strict=True))
    judges = (own, *(_further(n, tasks[n], y) for n, y in held_out.more_y.items()))
    return Evidence(
        calibration=calibration(
            dict(zip(recipe.inputs, train.inputs, strict=True)), recipe.seed, "training split"
        ),
        rows=dict(zip(recipe.inputs, held_out.inputs, strict=True)),
        judges=lambda base: judges,
        tasks=lambda base: tasks,
    )


def _further(output: str, task: str, truth: np.ndarray) -> Judge:
    """Judge an output beside the first by its task: accuracy, or mean absolute error."""
    name, kind = "mean absolute error", "error"
    if task in ("multiclass", "binary"):
        name, kind = "accuracy", "share"
    return Judge(
        metric=Metric(name=f"{output}: {name}", kind=kind, rows=len(truth)),
        value=lambda base, variant: score(task, truth, variant[output]),
    )


def of_rows(rows: Arrays, seed: int, batch: int | None = None) -> Evidence:
    """Judge by agreement with fp32 on one half of the rows; calibrate on the other.

    An output that is a choice of classes (rows that sum to 1) by the share of rows that choose
    fp32's class; the others by their distance from fp32's. Raises UsageError for fewer than 32
    rows.
    """
    count = min(len(array) for array in rows.values())
    if count < FEWEST_ROWS:
        raise UsageError(
            f"--quantize wants {FEWEST_ROWS} rows of --samples or more, one half to calibrate on "
            f"and one to measure on, and these are {count}"
        )
    order = np.random.default_rng(seed).permutation(count)
    first, second = np.sort(order[: count // 2]), np.sort(order[count // 2 :])
    measured = {name: array[second] for name, array in rows.items()}
    seen = len(second) - (len(second) % batch if batch else 0)
    if not seen:
        raise UsageError(f"{count // 2} rows to measure on, and the model takes {batch} at a time")

    def judges(base: Arrays) -> tuple[Judge, ...]:
        classes = [name for name, array in base.items() if looks_like_classes(array)]
        others = [name for name in base if name not in classes]
        agreeing = tuple(_agreeing(name, seen) for name in classes)
        return (*agreeing, _near(others, seen)) if others else agreeing

    return Evidence(
        calibration=calibration(
            {name: array[first] for name, array in rows.items()}, seed, "samples", batch
        ),
        rows=measured,
        judges=judges,
        tasks=lambda base: {n: "multiclass" for n, a in base.items() if looks_like_classes(a)},
        batch=batch,
    )


def _agreeing(output: str, rows: int) -> Judge:
    name = f"{output}: agreement with fp32's classes"
    return Judge(
        metric=Metric(name=name, kind="share", rows=rows),
        value=lambda base, variant: agreement(base[output], variant[output]),
    )


def _near(outputs: Sequence[str], rows: int) -> Judge:
    return Judge(
        metric=Metric(name="distance from fp32's answers", kind="distance", rows=rows),
        value=lambda base, variant: distance({n: base[n] for n in outputs}, variant),
    )
