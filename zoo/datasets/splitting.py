"""Three disjoint splits of row numbers, by fixed seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.dataset import Floats, Labels, Rows, Splits

Indices = NDArray[np.int64]

#: Validation and test each take a fifth; the rest trains.
HELD_OUT = 0.2


def split_rows(x: Floats, y: Floats | Labels, *, seed: int) -> Splits:
    """Split rows 60/20/20: shuffled by `seed`, class by class when `y` holds int32 labels."""
    groups = [np.arange(len(x))]
    if y.dtype == np.int32:
        groups = [np.flatnonzero(y == label) for label in np.unique(y)]
    rng = np.random.default_rng(seed)
    parts: tuple[list[Indices], ...] = ([], [], [])
    for group in groups:
        for part, rows in zip(parts, _cut(rng.permutation(group)), strict=True):
            part.append(rows)
    # Sorted, so that a split keeps the data's own order within itself.
    train, validation, test = (np.sort(np.concatenate(part)) for part in parts)
    return Splits(
        train=Rows(x=x[train], y=y[train]),
        validation=Rows(x=x[validation], y=y[validation]),
        test=Rows(x=x[test], y=y[test]),
    )


def _cut(rows: Indices) -> tuple[Indices, Indices, Indices]:
    held_out = round(len(rows) * HELD_OUT)
    train = len(rows) - 2 * held_out
    return rows[:train], rows[train : train + held_out], rows[train + held_out :]
