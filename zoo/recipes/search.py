"""The search space of a recipe, as plain data, and the settings that a search tries of it.

    search={"units": (8, 16, 32), "learning_rate": log_uniform(0.001, 0.1)}

A name is that of a setting (trial_settings.py): one of the recipe's numbers, or an argument of its
builder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Digits of a number that is drawn: as many as --set takes again.
DIGITS = 4


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, each as likely, or (`log`) each order of magnitude."""

    low: float
    high: float
    log: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        """Return one, to four digits."""
        if self.log:
            drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            drawn = rng.uniform(self.low, self.high)
        return float(f"{drawn:.{DIGITS}g}")

    def __str__(self) -> str:
        """Return it as a recipe has it."""
        return f"{'log_uniform' if self.log else 'uniform'}({self.low:g}, {self.high:g})"


def uniform(low: float, high: float) -> Range:
    """Return the numbers from `low` to `high`, each as likely."""
    return Range(low, high)


def log_uniform(low: float, high: float) -> Range:
    """Return the numbers from `low`, which is above 0, to `high`, each order of magnitude as likely."""
    return Range(low, high, log=True)


Space = Mapping[str, "Range | tuple[object, ...]"]


def is_space(value: object) -> bool:
    """Tell whether this is a space: a Range, or two values or more, for each name."""
    return isinstance(value, Mapping) and all(map(_is_part, value.values()))


def _is_part(part: object) -> bool:
    if isinstance(part, Range):
        numbers = all(isinstance(bound, int | float) for bound in (part.low, part.high))
        return numbers and part.low < part.high and (part.low > 0 or not part.log)
    return (
        isinstance(part, tuple)
        and len(set(map(repr, part))) >= 2
        and all(isinstance(value, int | float | str) for value in part)
    )


def draw(space: Space, rng: np.random.Generator) -> dict[str, Any]:
    """Return one value of each part."""
    return {
        name: part.draw(rng) if isinstance(part, Range) else part[int(rng.integers(len(part)))]
        for name, part in space.items()
    }


def space_text(space: Space) -> dict[str, object]:
    """Return a space as JSON holds it, for the record."""
    return {
        name: str(part) if isinstance(part, Range) else list(part) for name, part in space.items()
    }
