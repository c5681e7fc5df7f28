"""Metrics, naive baselines, and whether a training is good enough. Pure numpy."""

from __future__ import annotations

import numpy as np

from zoo.datasets.dataset import Rows
from zoo.recipes.claim import METRICS
from zoo.recipes.recipe import Recipe


def decisions(task: str, outputs: np.ndarray) -> np.ndarray:
    """Return the class that each row of a classifier's outputs decides for."""
    return (outputs[..., 0] >= 0.5).astype(int) if task == "binary" else outputs.argmax(axis=-1)


def score(task: str, truth: np.ndarray, outputs: np.ndarray) -> float:
    """Return the accuracy of a choice of classes, a share; else the mean absolute error."""
    if task in ("multiclass", "binary"):
        return float(np.mean(decisions(task, outputs) == truth))
    return float(np.mean(np.abs(outputs.astype(np.float64) - truth)))


def metric_value(recipe: Recipe, rows: Rows, outputs: np.ndarray) -> float:
    """Return the recipe's metric of the first output for `rows`, in y's unit or as a share."""
    return score(recipe.task, rows.y, outputs)


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


def shortfalls(recipe: Recipe, value: float, baseline: float) -> list[str]:
    """Return what a training missed, in words."""
    missed = []
    if not is_better(recipe, value, baseline):
        missed.append(
            f"measured {recipe.metric} {value:.4g}, no better than the baseline "
            f"{recipe.baseline} with {baseline:.4g}"
        )
    if not recipe.claim.holds(value):
        missed.append(f"measured {recipe.metric} {value:.4g}, but claimed: {recipe.claim.text}")
    return missed
