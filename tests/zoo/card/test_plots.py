"""The plots of a card: PNG bytes that follow from the figures alone, for every kind of task."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from zoo.card.plots import DOTS_PER_INCH, SIZE, held_out, history, samples

HISTORY = {"loss": [1.0, 0.5, 0.25], "val_loss": [1.1, 0.7, 0.8], "best_epoch": 2}

TRUTH = np.array([0, 0, 1, 1, 2, 2])
SHARES = np.eye(3)[[0, 1, 1, 1, 2, 0]]


def _pixels(png: bytes) -> np.ndarray:
    """The picture as [rows, columns, colours]."""
    image = pytest.importorskip("PIL.Image").open(io.BytesIO(png))
    return np.asarray(image.convert("RGB"))


def _held_out(task: str, truth: Any = TRUTH, outputs: Any = SHARES) -> bytes:
    return held_out(task, truth, outputs, classes=("a", "b", "c"), units="mm")


def test_the_same_figures_make_the_same_bytes() -> None:
    """A card's checksum may depend on nothing else."""
    assert history(HISTORY) == history(HISTORY)
    assert _held_out("multiclass") == _held_out("multiclass")


def test_other_figures_make_another_picture() -> None:
    """The epoch whose weights were kept is drawn, too."""
    assert history(HISTORY) != history(HISTORY | {"best_epoch": 3})
    assert _held_out("multiclass") != _held_out("multiclass", outputs=np.eye(3)[TRUTH])


@pytest.mark.parametrize(
    ("task", "truth", "outputs"),
    [
        ("multiclass", TRUTH, SHARES),
        ("binary", TRUTH % 2, SHARES[:, 1:2]),
        ("regression", TRUTH * 1.5, SHARES[:, :1]),
        ("forecast", TRUTH[:, None, None] * [[[1], [2]]], SHARES[:, :2, None]),
    ],
)
def test_every_task_has_a_plot_of_one_size(task: str, truth: Any, outputs: Any) -> None:
    """A confusion matrix, a scatter, or a series; never an empty picture."""
    classes = ("no", "yes") if task == "binary" else ("a", "b", "c")
    pixels = _pixels(held_out(task, truth, outputs, classes=classes, units=""))

    assert pixels.shape == (round(SIZE[1] * DOTS_PER_INCH), round(SIZE[0] * DOTS_PER_INCH), 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10


def test_one_half_decides_for_the_second_class() -> None:
    """A binary answer is the probability of the second class."""
    truth, answers = np.array([0, 1]), np.array([[0.49], [0.5]])
    decided = np.array([[0.0], [1.0]])

    assert _held_out("binary", truth, answers) == _held_out("binary", truth, decided)
    assert _held_out("binary", truth, answers) != _held_out("binary", truth, 1 - decided)


def test_a_long_series_is_drawn_from_its_end() -> None:
    """Its beginning changes nothing in the picture."""
    truth = np.sin(np.arange(200.0))[:, None]
    other = truth.copy()
    other[:80] = 0.5

    assert _held_out("forecast", truth, truth) == _held_out("forecast", other, other)


def test_losses_that_reach_zero_have_a_plain_axis() -> None:
    """A logarithm of zero has no place on one."""
    assert _pixels(history(HISTORY | {"loss": [1.0, 0.5, 0.0]})).size


def test_samples_show_what_was_misread() -> None:
    """Another answer is another picture; two inputs stand side by side, and grey may be colour."""
    images = np.random.default_rng(0).random((6, 4, 4, 1)) * 16
    right = samples([images], (0, 16), TRUTH, TRUTH, ("a", "b", "c"))

    assert right == samples([images], (0, 16), TRUTH, TRUTH, ("a", "b", "c"))
    assert right != samples([images], (0, 16), TRUTH, TRUTH[::-1], ("a", "b", "c"))
    assert right != samples([images, images], (0, 16), TRUTH, TRUTH, ("a", "b", "c"))
    colour = samples([np.repeat(images, 3, axis=3)], (0, 16), TRUTH, TRUTH, ("a", "b", "c"))
    assert _pixels(colour).shape == _pixels(right).shape
