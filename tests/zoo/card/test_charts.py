"""The charts of a card: SVG that follows from the figures alone, for every kind of task."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from zoo.card.charts import ENGLISH, HISTORY_KEYS, held_out, history

HISTORY = {"loss": [1.0, 0.5, 0.25], "val_loss": [1.1, 0.7, 0.8], "best_epoch": 2}

TRUTH = np.array([0, 0, 1, 1, 2, 2])
SHARES = np.eye(3)[[0, 1, 1, 1, 2, 0]]


def _held_out(
    task: str, y: Any = TRUTH, outputs: Any = SHARES, classes: Any = ("a", "b", "c")
) -> bytes:
    drawn = held_out(task, y, outputs, classes=classes, units="mm", words=ENGLISH)
    return drawn.document()


def _texts(document: bytes) -> list[str | None]:
    root = ElementTree.fromstring(document)
    return [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_same_figures_make_the_same_bytes() -> None:
    """A card's checksum may depend on nothing else."""
    draw = history(HISTORY, ENGLISH)

    assert draw.document() == history(HISTORY, ENGLISH).document()
    assert _held_out("multiclass") == _held_out("multiclass")


def test_other_figures_make_another_picture() -> None:
    """The epoch whose weights were kept is drawn, too."""
    other = history(HISTORY | {"best_epoch": 3}, ENGLISH)

    assert history(HISTORY, ENGLISH).document() != other.document()
    assert _held_out("multiclass") != _held_out("multiclass", outputs=np.eye(3)[TRUTH])


def test_a_file_brings_its_colours_and_names_its_lines() -> None:
    """Light and dark; a page has both of its own, and gets the lines alone."""
    chart = history(HISTORY, ENGLISH)

    assert b"prefers-color-scheme:dark" in chart.document()
    assert {ENGLISH[key] for _, key in HISTORY_KEYS} <= set(_texts(chart.document()))
    assert "<style>" not in chart.element()
    assert chart.element().count("<polyline") == chart.document().count(b"<polyline") == 2
    assert ">validation<" not in chart.element()


@pytest.mark.parametrize(
    ("task", "y", "outputs", "marks"),
    [
        ("multiclass", TRUTH, SHARES, ["1", "1", "2", "1", "1"]),
        ("binary", TRUTH % 2, SHARES[:, 1:2], ["3", "1", "2"]),
        ("regression", TRUTH * 1.5, SHARES[:, :1], 6),
        ("forecast", TRUTH[:, None, None] * [[[1], [2]]], SHARES[:, :2, None], 2),
    ],
)
def test_every_task_has_its_chart(task: str, y: Any, outputs: Any, marks: Any) -> None:
    """Counts of a confusion matrix, a dot a row, or a line for the truth and one for the answers."""
    classes = {"multiclass": ("a", "b", "c"), "binary": ("no", "yes")}.get(task, ())
    document = _held_out(task, y, outputs, classes)
    root = ElementTree.fromstring(document)
    kinds = [element.attrib.get("class", "") for element in root.iter()]

    if classes:
        counts = [e.text for e in root.iter() if "count" in e.attrib.get("class", "")]
        assert sorted(counts) == sorted(marks)
    else:
        drawn = "dot" if task == "regression" else ("series-a", "series-b")
        lines = [
            e
            for e in root.iter("{http://www.w3.org/2000/svg}polyline")
            if e.attrib["class"] in drawn
        ]
        assert (kinds.count("dot") if drawn == "dot" else len(lines)) == marks


def test_one_half_decides_for_the_second_class() -> None:
    """A binary answer is the probability of the second class."""
    truth, answers = np.array([0, 1]), np.array([[0.49], [0.5]])
    decided = np.array([[0.0], [1.0]])

    def drawn(outputs: np.ndarray) -> bytes:
        return _held_out("binary", truth, outputs, ("no", "yes"))

    assert drawn(answers) == drawn(decided)
    assert drawn(answers) != drawn(1 - decided)


def test_a_long_series_is_drawn_from_its_end() -> None:
    """Its beginning changes nothing in the picture."""
    truth = np.sin(np.arange(200.0))[:, None]
    other = truth.copy()
    other[:80] = 0.5

    assert _held_out("forecast", truth, truth, ()) == _held_out("forecast", other, other, ())


def test_losses_that_reach_zero_have_a_plain_axis() -> None:
    """A logarithm of zero has no place on one."""
    document = history(HISTORY | {"loss": [1.0, 0.5, 0.0]}, ENGLISH).document()

    assert "0" in _texts(document)


def test_a_name_of_the_users_is_escaped() -> None:
    """Classes and units come from a recipe."""
    texts = _texts(_held_out("multiclass", classes=("<a>", '"b"', "c & d")))

    assert {"<a>", '"b"', "c & d"} <= {part for text in texts for part in (text or "").split(" · ")}
