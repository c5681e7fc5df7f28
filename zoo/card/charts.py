"""Draws charts as SVG: loss by epoch, confusion matrix, forecast, truth against answer.

One chart serves two places: a page of the gallery, whose style sheet (web/assets/style.css) colours the
classes, and a file beside a model card (zoo/card/chart.py), which brings its colours along.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo.card.chart import BOTTOM, HEIGHT, TOP, Axes, Chart, text
from zoo.training.metrics import decisions

#: A series longer than this is drawn from its end: single years could not be told apart.
SHOWN_STEPS = 120


#: The lines of a history, and what names them.
HISTORY_KEYS = (("series-a", "training"), ("series-b", "validation"), ("mark", "kept"))

#: The words of a card's charts.
ENGLISH: Mapping[str, str] = {
    "history": "Loss by epoch",
    "epoch": "epoch",
    "loss": "loss",
    "training": "training",
    "validation": "validation",
    "kept": "kept",
    "confusion": "Confusion matrix",
    "truth": "truth",
    "answer": "answer",
    "forecast": "Forecast and truth",
    "window": "held-out window, in order of time",
    "scatter": "Truth against answer",
}


def history(values: Mapping[str, Any], words: Mapping[str, str]) -> Chart:
    """Draw training and validation loss by epoch; a dotted line marks the weights that were kept."""
    loss, validation = values["loss"], values["val_loss"]
    both = [v for v in (*loss, *validation) if math.isfinite(v)]
    axes = Axes((1, len(loss)), (min(both), max(both)), logarithmic=min(both) > 0)
    epochs = range(1, len(loss) + 1)
    kept = axes.x(values["best_epoch"])
    return Chart(
        words["history"],
        [
            *axes.frame(words["epoch"], words["loss"]),
            f'<line class="mark" x1="{kept:.1f}" y1="{TOP}" x2="{kept:.1f}" y2="{HEIGHT - BOTTOM}"/>',
            axes.line(epochs, loss, "series-a"),
            axes.line(epochs, validation, "series-b"),
        ],
        legend=[(kind, words[key]) for kind, key in HISTORY_KEYS],
    )


def held_out(
    task: str,
    y: np.ndarray,
    outputs: np.ndarray,
    *,
    classes: Sequence[str],
    units: str,
    words: Mapping[str, str],
) -> Chart:
    """Draw what a model says of held-out rows against what is true: `y` as in the data.

    A confusion matrix for classes, forecast and truth in time for a series, else a scatter.
    """
    if classes:
        return confusion(y, decisions(task, outputs), classes, words)
    # A sequence's last step is the one that has seen most.
    truth, answers = (values.reshape(len(values), -1)[:, -1] for values in (y, outputs))
    if task == "forecast":
        return forecast(truth, answers, words, units)
    return scatter(truth, answers, words)


def forecast(truth: np.ndarray, answers: np.ndarray, words: Mapping[str, str], units: str) -> Chart:
    """Draw a series one step ahead: what came, and what was forecast."""
    truth, answers = truth[-SHOWN_STEPS:], answers[-SHOWN_STEPS:]
    steps = range(len(truth))
    low, high = min(truth.min(), answers.min()), max(truth.max(), answers.max())
    axes = Axes((0, len(truth) - 1), (min(0.0, float(low)), float(high)))
    return Chart(
        words["forecast"],
        [
            *axes.frame(words["window"], units),
            axes.line(steps, truth.tolist(), "series-a"),
            axes.line(steps, answers.tolist(), "series-b"),
        ],
        legend=[("series-a", words["truth"]), ("series-b", words["answer"])],
    )


def scatter(truth: np.ndarray, answers: np.ndarray, words: Mapping[str, str]) -> Chart:
    """Draw what is true of each row against what the model says."""
    low = float(min(truth.min(), answers.min()))
    high = float(max(truth.max(), answers.max()))
    axes = Axes((low, high), (low, high))
    dots = [
        f'<circle class="dot" cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="3.5"/>'
        for x, y in zip(truth.tolist(), answers.tolist(), strict=True)
    ]
    perfect = axes.line((low, high), (low, high), "mark")
    return Chart(words["scatter"], [*axes.frame(words["truth"], words["answer"]), perfect, *dots])


def confusion(
    truth: np.ndarray, decisions: np.ndarray, classes: Sequence[str], words: Mapping[str, str]
) -> Chart:
    """Draw how often each class was taken for each; the diagonal is right."""
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (truth.astype(int), decisions.astype(int)), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    longest = max(map(len, classes))
    cell = min(72, 330 // len(classes))
    left, top = 24 + longest * 7, 34
    width, height = left + cell * len(classes) + 8, top + cell * len(classes) + 30
    parts = [text(left, 12, words["answer"], "label"), text(0, top - 8, words["truth"], "label")]
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
                text(x + cell / 2 - 1, y + cell / 2 + 4, str(count), f"count middle{strong}"),
            ]
    for place, name in enumerate(classes):
        parts.append(text(left - 8, top + place * cell + cell / 2 + 4, name, "tick end"))
        if longest * 7 <= cell:
            at = left + place * cell + cell / 2 - 1
            parts.append(text(at, height - 14, name, "tick middle"))
    if longest * 7 > cell:
        parts.append(text(left, height - 14, " · ".join(classes), "tick"))
        width = max(width, left + sum(len(name) + 3 for name in classes) * 7)
    return Chart(words["confusion"], parts, (width, height))
