"""The yearly sunspot number, 1700 to 2008, in windows of five years or of a solar cycle.

The series is cut by time before windows are made, so that no year is in two splits.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from zoo.datasets.dataset import Dataset, Floats, Rows, Splits

WINDOW = 5

#: About one solar cycle.
CYCLE = 11

#: The years at which validation and test begin: weak and strong cycles are on either side of each.
VALIDATION_FROM, TEST_FROM = 1895, 1950


def read_next(files: tuple[Path, ...]) -> Splits:
    """Read x `(rows, 5, 1)`: five years; y `(rows, 1)`: the year after them."""
    return _splits(files[0], every_step=False)


def read_sequence(files: tuple[Path, ...]) -> Splits:
    """Read x `(rows, 5, 1)`: five years; y `(rows, 5, 1)`: for each of them the year after it."""
    return _splits(files[0], every_step=True)


def read_cycle(files: tuple[Path, ...]) -> Splits:
    """Read x `(rows, 11, 1)`: eleven years, about a solar cycle; y `(rows, 1)`: the year after."""
    return _splits(files[0], every_step=False, window=CYCLE)


def _splits(path: Path, *, every_step: bool, window: int = WINDOW) -> Splits:
    years, counts = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.float32).T
    test = years >= TEST_FROM
    train = years < VALIDATION_FROM
    parts = (
        _windows(counts[chosen], every_step, window) for chosen in (train, ~(train | test), test)
    )
    return Splits(**dict(zip(("train", "validation", "test"), parts, strict=True)))


def _windows(counts: Floats, every_step: bool, window: int) -> Rows:
    """Return each window of years and what follows it, or what follows each of its steps."""
    runs = np.lib.stride_tricks.sliding_window_view(counts, window + 1)
    after = runs[:, 1:, None] if every_step else runs[:, -1:]
    return Rows(x=runs[:, :-1, None].copy(), y=after.copy())


SUNSPOTS = Dataset(
    name="sunspots",
    title="Yearly sunspot numbers, 1700 to 2008",
    source="US National Geophysical Data Center, as shipped in statsmodels",
    licence="public domain",
    package="statsmodels",
    paths=("datasets/sunspots/sunspots.csv",),
    read=read_next,
    features=("yearly sunspot number",),
    units="sunspots",
)

SUNSPOTS_SEQUENCE = replace(SUNSPOTS, name="sunspots_sequence", read=read_sequence)

SUNSPOTS_CYCLE = replace(SUNSPOTS, name="sunspots_cycle", read=read_cycle)
