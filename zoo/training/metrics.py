"""Metrics, naive baselines, and whether a training is good enough. Pure numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.datasets.dataset import Rows
from zoo.recipes.claim import METRICS
from zoo.recipes.recipe import Recipe


def metric_value(recipe: Recipe, rows: Rows, outputs: Any) -> float:
    """Return the recipe's metric of a model's outputs for `rows`, in natural units.

    Accuracy is a share from 0 to 1; the mean absolute error is in the unit of y.
    """
    if recipe.metric == "accuracy":
        if recipe.task == "binary":
            return float(np.mean((outputs[:, 0] >= 0.5) == (rows.y == 1)))
        return float(np.mean(np.argmax(outputs, axis=-1) == rows.y))
    return float(np.mean(np.abs(outputs.astype(np.float64) - rows.y)))


def baseline_metric(recipe: Recipe, train: Rows, test: Rows) -> float:
    """Return the metric that the recipe's naive baseline, knowing `train`, reaches on `test`."""
    if recipe.baseline == "majority":
        labels, counts = np.unique(train.y, return_counts=True)
        return float(np.mean(test.y == labels[np.argmax(counts)]))
    if recipe.baseline == "mean":
        guess = train.y.mean(axis=0, dtype=np.float64)
        return float(np.mean(np.abs(test.y - guess)))
    # last_value: a sequence answers each step with that step's value, else the last step counts.
    guess = test.x if test.y.ndim == test.x.ndim else test.x[:, -1]
    return float(np.mean(np.abs(test.y.astype(np.float64) - guess)))


def is_better(recipe: Recipe, value: float, other: float) -> bool:
    """Tell whether `value` of the recipe's metric is strictly better than `other`."""
    return value > other if METRICS[recipe.metric] == ">=" else value < other


def shortfalls(recipe: Recipe, value: float, baseline: float, *, claimed: bool) -> list[str]:
    """Return what a training missed, in words; `claimed` when the claim speaks of this data."""
    missed = []
    if not is_better(recipe, value, baseline):
        missed.append(
            f"measured {recipe.metric} {value:.4g}, no better than the baseline "
            f"{recipe.baseline} with {baseline:.4g}"
        )
    if claimed and not recipe.claim.holds(value):
        missed.append(f"measured {recipe.metric} {value:.4g}, but claimed: {recipe.claim.text}")
    return missed
