"""The plots of a model card: training curves, and predictions on held-out rows.

PNG bytes, the same for the same figures. Axes carry their units, and the colours differ in
lightness too, so that a plot reads in grey.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from zoo.errors import MissingPackage
from zoo.training.metrics import decided

DARK, LIGHT = "#174ea6", "#e8710a"
SIZE, DOTS_PER_INCH = (6.4, 4.0), 110

#: Where the axes lie in the picture, as shares of it, if what is written beside them is known to be
#: short; without, matplotlib lays out what it draws, and so draws it twice.
MARGINS = {"left": 0.13, "right": 0.97, "bottom": 0.13, "top": 0.91}

#: Characters of a class's name that fit beside the confusion matrix.
LONG_NAME = 12

#: A series longer than this is drawn from its end: single years could not be told apart.
SHOWN_STEPS = 120


def history(values: Mapping[str, Any]) -> bytes:
    """Draw training and validation loss by epoch, and the epoch whose weights were kept."""

    def draw(axes: Any) -> None:
        epochs = np.arange(1, len(values["loss"]) + 1)
        axes.plot(epochs, values["loss"], color=DARK, label="training")
        axes.plot(epochs, values["val_loss"], color=LIGHT, label="validation")
        best = int(values["best_epoch"])
        axes.axvline(best, color="#5f6368", linestyle=":", label=f"kept: epoch {best}")
        if min(*values["loss"], *values["val_loss"]) > 0:
            _logarithmic(axes)
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss")
        axes.set_title("Training")
        axes.legend()

    return _png(draw, margins=MARGINS)


def _logarithmic(axes: Any) -> None:
    """Scale the vertical axis by powers, and write plain numbers on it.

    matplotlib would typeset powers of ten, which takes it longer than all the rest.
    """
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def held_out(
    task: str, answers: np.ndarray, outputs: np.ndarray, *, classes: Sequence[str], units: str
) -> bytes:
    """Draw what the model says of held-out rows against what is true.

    A confusion matrix for classes, forecast and truth in time for a series, else a scatter.
    """
    if task in ("multiclass", "binary"):
        drawn = _confusion(answers.astype(int), decided(task, outputs), classes)
        # A square in a wide picture leaves room for names beside it.
        return _png(drawn, margins=MARGINS if max(map(len, classes)) <= LONG_NAME else None)
    # A sequence's last step is the one that has seen most.
    truth, predicted = (a.reshape(len(a), -1)[:, -1] for a in (answers, outputs))
    drawn = (
        _series(truth, predicted, units)
        if task == "forecast"
        else _scatter(truth, predicted, units)
    )
    return _png(drawn, margins=MARGINS)


#: Images of a picture of samples, by rows and columns.
GRID = (2, 5)


def samples(
    images: Sequence[np.ndarray],
    span: tuple[float, float],
    truth: np.ndarray,
    chosen: np.ndarray,
    classes: Sequence[str],
) -> bytes:
    """Draw held-out images, the classes in turn, with the truth, and the answer where it is another one.

    `images` has one array `(rows, height, width, channels)` an input, with values that `span` bounds; those of a
    row stand side by side.
    """
    pictures = np.concatenate(images, axis=2)
    low, high = span
    pictures = ((pictures - low) / (high - low)).clip(0, 1)
    members = [np.flatnonzero(truth == value) for value in np.unique(truth)]
    if pictures.shape[-1] == 3:  # of photographs first the parts with something to see
        members = [each[np.argsort(-pictures[each].std(axis=(1, 2, 3)))] for each in members]
    turns = [each[turn] for turn in range(len(truth)) for each in members if turn < len(each)]

    def draw(figure: Any) -> None:
        for place, row in enumerate(turns[: GRID[0] * GRID[1]]):
            axes = figure.add_subplot(*GRID, place + 1)
            picture = pictures[row]
            axes.imshow(
                picture[..., 0] if picture.shape[-1] == 1 else picture,
                cmap="gray_r",
                vmin=0,
                vmax=1,
            )
            axes.set_axis_off()
            title, ink = textwrap.fill(classes[truth[row]], LONG_NAME + 4), "#1b1c1e"
            if chosen[row] != truth[row]:
                title, ink = f"{title}\nread as {classes[chosen[row]]}", LIGHT
            axes.set_title(title, fontsize=8, color=ink)

    return _figure(draw, margins=None)


def _confusion(
    truth: np.ndarray, answers: np.ndarray, classes: Sequence[str]
) -> Callable[[Any], None]:
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (truth, answers), 1)

    def draw(axes: Any) -> None:
        # Shares of each true class: rare classes are as visible as common ones.
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                ink = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=ink)
        axes.set_xticks(range(len(classes)), classes)
        axes.set_yticks(range(len(classes)), classes)
        axes.set_xlabel("the model's answer")
        axes.set_ylabel("the truth")
        axes.set_title(f"{len(truth)} held-out rows")

    return draw


def _series(truth: np.ndarray, predicted: np.ndarray, units: str) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        steps = np.arange(len(truth))[-SHOWN_STEPS:]
        axes.plot(steps, truth[steps], color=DARK, marker="o", markersize=3, label="truth")
        axes.plot(steps, predicted[steps], color=LIGHT, linestyle="--", label="forecast")
        axes.set_xlabel("held-out window, in order of time")
        axes.set_ylabel(units)
        axes.set_title("One step ahead")
        axes.legend()

    return draw


def _scatter(truth: np.ndarray, predicted: np.ndarray, units: str) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        low, high = min(truth.min(), predicted.min()), max(truth.max(), predicted.max())
        axes.plot([low, high], [low, high], color="#5f6368", linestyle=":", label="perfect")
        axes.scatter(truth, predicted, color=DARK, s=14)
        axes.set_xlabel(f"truth ({units})" if units else "truth")
        axes.set_ylabel("the model's answer")
        axes.set_title(f"{len(truth)} held-out rows")
        axes.legend()

    return draw


def _png(draw: Callable[[Any], None], margins: Mapping[str, float] | None = None) -> bytes:
    """Render one pair of axes."""
    return _figure(lambda figure: draw(figure.add_subplot()), margins)


def _figure(draw: Callable[[Any], None], margins: Mapping[str, float] | None) -> bytes:
    """Render a figure, with no display and no trace of the moment."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingPackage("matplotlib", "drawing a model card's plots") from error
    figure = Figure(figsize=SIZE, dpi=DOTS_PER_INCH, layout=None if margins else "constrained")
    if margins:
        figure.subplots_adjust(**margins)
    FigureCanvasAgg(figure)
    draw(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
