"""Figures of classes, calibration and errors, against cases that can be counted by hand."""

import numpy as np
import pytest

from zoo.card.evaluation import evaluation


def test_figures_of_each_class() -> None:
    """Of three rows of "a" two are found, and one "b" is called "a"; nobody is called "c"."""
    truth = np.array([0, 0, 0, 1, 2])
    outputs = np.eye(3, dtype=np.float32)[[0, 0, 1, 0, 1]]
    a, b, c = evaluation("multiclass", truth, outputs, ("a", "b", "c"))["classes"]

    assert (a["rows"], a["precision"], a["recall"]) == (3, 0.6667, 0.6667)
    assert (b["precision"], b["recall"], b["f1"]) == (0, 0, 0)
    assert (c["precision"], c["recall"]) == (None, 0)


def test_calibration_is_the_gap_between_confidence_and_truth() -> None:
    """Four rows of 0.75 of which two are right, and one that is sure and right."""
    outputs = np.array([[0.75], [0.75], [0.25], [0.25], [1.0]], np.float32)
    calibration = evaluation("binary", np.array([1, 0, 0, 1, 1]), outputs, ("no", "yes"))[
        "calibration"
    ]

    low, sure = calibration["bins"]
    assert (low["from"], low["rows"], low["confidence"], low["right"]) == (0.7, 4, 0.75, 0.5)
    assert (sure["to"], sure["rows"], sure["right"]) == (1.0, 1, 1.0)
    assert calibration["error"] == pytest.approx(0.8 * 0.25)


def test_errors_of_numbers_have_their_spread() -> None:
    truth = np.arange(11, dtype=np.float32)
    errors = evaluation("regression", truth, np.zeros((11, 1), np.float32), ())["errors"]

    assert errors == {"median": 5, "nine_tenths": 9, "largest": 10}
