"""Draws the gallery's charts as SVG: loss by epoch, confusion matrix, forecast, truth against answer.

Colours are classes of web/assets/style.css, so that a chart follows the page's light or dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 16, 44

#: A series longer than this is drawn from its end: single years could not be told apart.
SHOWN_STEPS = 120


class Axes:
    """Maps values to a chart's pixels, and draws the frame."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], *, logarithmic: bool = False
    ) -> None:
        self._x, self._log = x, logarithmic
        self._y = (math.log10(y[0]), math.log10(y[1])) if logarithmic else y

    def x(self, value: float) -> float:
        """Return the pixel of a value on the horizontal axis."""
        low, high = self._x
        return LEFT + (value - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return the pixel of a value on the vertical axis."""
        low, high = self._y
        at = math.log10(value) if self._log else value
        return HEIGHT - BOTTOM - (at - low) / ((high - low) or 1) * (HEIGHT - TOP - BOTTOM)

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> str:
        """Return a line through points."""
        points = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(xs, ys, strict=True))
        return f'<polyline class="{kind}" points="{points}"/>'

    def frame(self, x_label: str, y_label: str) -> list[str]:
        """Return grid lines with their numbers, and what the axes are."""
        parts = []
        for value in _ticks(*self._x):
            at = self.x(value)
            parts.append(_text(at, HEIGHT - BOTTOM + 18, f"{value:g}", "tick middle"))
        for value in self._rows():
            at = self.y(value)
            parts.append(
                f'<line class="grid" x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}"/>'
            )
            parts.append(_text(LEFT - 8, at + 4, f"{value:g}", "tick end"))
        parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, "label middle"))
        parts.append(_text(0, 11, y_label, "label"))
        return parts

    def _rows(self) -> list[float]:
        if not self._log:
            return _ticks(*self._y)
        low, high = self._y
        powers = range(math.floor(low), math.ceil(high) + 1)
        values = [m * 10.0**power for power in powers for m in (1, 2, 5)]
        return [value for value in values if low <= math.log10(value) <= high]


def history(values: Mapping[str, Any], words: Mapping[str, str]) -> str:
    """Draw training and validation loss by epoch; a dotted line marks the weights that were kept."""
    loss, validation = values["loss"], values["val_loss"]
    both = [v for v in (*loss, *validation) if math.isfinite(v)]
    axes = Axes((1, len(loss)), (min(both), max(both)), logarithmic=min(both) > 0)
    epochs = range(1, len(loss) + 1)
    kept = axes.x(values["best_epoch"])
    return _svg(
        words["history"],
        [
            *axes.frame(words["epoch"], words["loss"]),
            f'<line class="mark" x1="{kept:.1f}" y1="{TOP}" x2="{kept:.1f}" y2="{HEIGHT - BOTTOM}"/>',
            axes.line(epochs, loss, "series-a"),
            axes.line(epochs, validation, "series-b"),
        ],
    )


def forecast(truth: np.ndarray, answers: np.ndarray, words: Mapping[str, str], units: str) -> str:
    """Draw a series one step ahead: what came, and what was forecast."""
    truth, answers = truth[-SHOWN_STEPS:], answers[-SHOWN_STEPS:]
    steps = range(len(truth))
    low, high = min(truth.min(), answers.min()), max(truth.max(), answers.max())
    axes = Axes((0, len(truth) - 1), (min(0.0, float(low)), float(high)))
    return _svg(
        words["forecast"],
        [
            *axes.frame(words["window"], units),
            axes.line(steps, truth.tolist(), "series-a"),
            axes.line(steps, answers.tolist(), "series-b"),
        ],
    )


def scatter(truth: np.ndarray, answers: np.ndarray, words: Mapping[str, str]) -> str:
    """Draw what is true of each row against what the model says."""
    low = float(min(truth.min(), answers.min()))
    high = float(max(truth.max(), answers.max()))
    axes = Axes((low, high), (low, high))
    dots = [
        f'<circle class="dot" cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="3.5"/>'
        for x, y in zip(truth.tolist(), answers.tolist(), strict=True)
    ]
    perfect = axes.line((low, high), (low, high), "mark")
    return _svg(words["scatter"], [*axes.frame(words["truth"], words["answer"]), perfect, *dots])


def confusion(
    truth: np.ndarray, decided: np.ndarray, classes: Sequence[str], words: Mapping[str, str]
) -> str:
    """Draw how often each class was taken for each; the diagonal is right."""
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (truth.astype(int), decided.astype(int)), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    longest = max(map(len, classes))
    cell = min(72, 330 // len(classes))
    left, top = 24 + longest * 7, 34
    width, height = left + cell * len(classes) + 8, top + cell * len(classes) + 30
    parts = [_text(left, 12, words["answer"], "label"), _text(0, top - 8, words["truth"], "label")]
    for (row, column), count in np.ndenumerate(counts):
        x, y = left + column * cell, top + row * cell
        kind = "right" if row == column else "wrong"
        parts.append(f'<rect class="cell" x="{x}" y="{y}" width="{cell - 2}" height="{cell - 2}"/>')
        if count:
            share = max(0.12, float(shares[row, column]))
            strong = " strong" if share > 0.55 else ""
            parts += [
                f'<rect class="{kind}" x="{x}" y="{y}" width="{cell - 2}" height="{cell - 2}" '
                f'fill-opacity="{share:.2f}"/>',
                _text(x + cell / 2 - 1, y + cell / 2 + 4, str(count), f"count middle{strong}"),
            ]
    for place, name in enumerate(classes):
        parts.append(_text(left - 8, top + place * cell + cell / 2 + 4, name, "tick end"))
        if longest * 7 <= cell:
            at = left + place * cell + cell / 2 - 1
            parts.append(_text(at, height - 14, name, "tick middle"))
    if longest * 7 > cell:
        parts.append(_text(left, height - 14, " · ".join(classes), "tick"))
        width = max(width, left + sum(len(name) + 3 for name in classes) * 7)
    return _svg(words["confusion"], parts, width, height)


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers within a range."""
    span = (high - low) or 1
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(m for m in (1, 2, 5, 10) if span / (step * m) <= 6)
    first = math.ceil(low / step)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _text(x: float, y: float, content: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(content)}</text>'


def _svg(title: str, parts: Sequence[str], width: float = WIDTH, height: float = HEIGHT) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )
