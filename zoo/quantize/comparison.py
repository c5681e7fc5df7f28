"""Compares a variant's outputs on held-out rows with fp32's: differences, changed classes, agreement."""

from __future__ import annotations

import math

import numpy as np

from zoo.parity.compare import Arrays, Session
from zoo.training.metrics import decisions

#: Rows sent at once: bounds the memory that answers to a large held-out split take.
CHUNK = 512


def answers(session: Session, rows: Arrays, batch: int | None = None) -> dict[str, np.ndarray]:
    """Run a session on all rows, at most CHUNK or `batch` at a time; return its outputs by name.

    With `batch`, the size that the graph fixes, rows that do not fill one are left out.
    """
    count = min(len(array) for array in rows.values())
    step = batch or CHUNK
    end = count - count % batch if batch else count
    parts = [
        session({name: array[i : i + step] for name, array in rows.items()})
        for i in range(0, end, step)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def adds_nonfinite(base: Arrays, variant: Arrays) -> bool:
    """Whether a variant answers NaN or infinity where fp32 answers a number."""
    return any(
        bool(np.any(np.isfinite(array) & ~np.isfinite(variant[name])))
        for name, array in base.items()
        if array.dtype.kind == "f"
    )


def max_difference(base: Arrays, variant: Arrays) -> float:
    """Return max|Δ| over all outputs, infinite where only one of the two is a number."""
    deltas = [0.0]
    for name, array in base.items():
        if array.dtype.kind not in "fiu":
            continue
        both = np.isfinite(array) & np.isfinite(variant[name])
        if np.any(np.isfinite(array) != np.isfinite(variant[name])):
            return math.inf
        delta = np.abs(array[both].astype(np.float64) - variant[name][both].astype(np.float64))
        deltas.append(float(delta.max(initial=0.0)))
    return max(deltas)


def flips(base: np.ndarray, variant: np.ndarray, task: str) -> int:
    """Count the rows that decide for another class; 0 for a task without classes."""
    if task not in ("multiclass", "binary"):
        return 0
    return int(np.count_nonzero(decisions(task, base) != decisions(task, variant)))


def looks_like_classes(array: np.ndarray) -> bool:
    """Whether answers are probabilities of two classes or more: rows of the last axis sum to 1."""
    if array.dtype.kind != "f" or array.ndim < 2 or array.shape[-1] < 2:
        return False
    return bool(np.all(array >= 0) and np.allclose(array.sum(axis=-1), 1.0, atol=1e-3))


def agreement(base: np.ndarray, variant: np.ndarray) -> float:
    """Return the share of rows that decide for fp32's class."""
    return float(np.mean(base.argmax(axis=-1) == variant.argmax(axis=-1)))


def distance(base: Arrays, variant: Arrays) -> float:
    """Return the largest root mean square of the differences, in units of fp32's own spread.

    Of each output that holds numbers; the spread is the standard deviation of its elements, or
    where that is 0 the root mean square.
    """
    worst = 0.0
    for name, array in base.items():
        if array.dtype.kind not in "fiu" or array.size == 0:
            continue
        reference = array.astype(np.float64)
        delta = float(np.sqrt(np.mean((reference - variant[name]) ** 2)))
        spread = float(reference.std()) or float(np.sqrt(np.mean(reference**2)))
        worst = max(worst, delta / spread if spread else (0.0 if delta == 0 else math.inf))
    return worst
