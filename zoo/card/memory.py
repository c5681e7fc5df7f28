"""Draws what a recurrent layer remembers: its states and its gates after each held-out window, in order of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.card.chart import BOTTOM, WIDTH, Axes, Chart

#: Height of a panel, and what its title takes.
PANEL, TITLE = 84.0, 30.0

#: A line each; of a layer with more units, those whose state moves most are drawn.
KINDS = ("series-a", "series-b", "series-c")

#: A series longer than this is drawn from its end: single years could not be told apart.
SHOWN_STEPS = 120


@dataclass(frozen=True, slots=True)
class Memory:
    """A layer's states and gates `(windows, units)` by name, as they are after each window's last step."""

    layer: str
    states: Mapping[str, np.ndarray]
    gates: Mapping[str, np.ndarray]

    @property
    def units(self) -> list[int]:
        """The units that are drawn, in their order."""
        first = next(iter(self.states.values()))
        return sorted(np.argsort(-first.std(axis=0), kind="stable")[: len(KINDS)].tolist())


def memory(series: np.ndarray, units: str, memories: Sequence[Memory]) -> Chart:
    """Draw the series that came next, in its units, and below it each layer's panels.

    The layers have units of one number: the two directions of one, or one alone.
    """
    steps = (0.0, float(len(series[-SHOWN_STEPS:]) - 1))
    chosen = memories[0].units
    rows: list[tuple[str, np.ndarray, Sequence[str]]] = [
        (units or "the series", series[:, None], ["series"])
    ]
    for each in memories:
        for name, values in {**each.states, **each.gates}.items():
            rows.append((f"{each.layer}: {name}", values[:, chosen], KINDS))
    parts, top = [], 0.0
    for number, (title, values, kinds) in enumerate(rows):
        shown = values[-SHOWN_STEPS:]
        low, high = min(0.0, float(shown.min())), max(0.0, float(shown.max()))
        if "gate" in title:
            low, high = 0.0, max(1.0, high)
        axes = Axes(steps, (low, high), ticks=2, top=top + TITLE, bottom=top + TITLE + PANEL)
        last = number == len(rows) - 1
        parts += axes.frame("held-out window, in order of time" if last else "", title)
        for kind, column in zip(kinds, shown.T, strict=False):
            parts.append(axes.line(range(len(column)), column.tolist(), kind))
        top += TITLE + PANEL + 10
    return Chart(
        "Memory along the series",
        parts,
        (WIDTH, top + BOTTOM - 10),
        legend=[(kind, f"unit {unit + 1}") for kind, unit in zip(KINDS, chosen, strict=False)],
    )
