"""Metrics and naive answers, on rows small enough to check by eye."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.datasets.dataset import Rows
from zoo.recipes.dense import dense_cancer, dense_diabetes, dense_iris
from zoo.recipes.lstm import lstm_sunspots, lstm_sunspots_sequence
from zoo.training.metrics import baseline_metric, metric_value, shortfalls


def _rows(x: object, y: object, kind: type = np.float32) -> Rows:
    return Rows(x=np.array(x, np.float32), y=np.array(y, kind))


CLASSES = _rows([[0], [0], [0], [0]], [0, 1, 1, 1], np.int32)


def test_accuracy_is_the_share_of_right_answers() -> None:
    """The largest of several outputs, or one output against a half."""
    several = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.6, 0.4, 0], [0.1, 0.9, 0]])
    one = np.array([[0.4], [0.5], [0.9], [0.2]])

    assert metric_value(dense_iris, CLASSES, several) == 0.75
    assert metric_value(dense_cancer, CLASSES, one) == 0.75


def test_the_mean_absolute_error_is_in_the_units_of_y() -> None:
    """Signs do not cancel."""
    rows = _rows([[0], [0]], [[10], [20]])

    assert metric_value(dense_diabetes, rows, np.array([[11.0], [17.0]])) == 2.0


def test_the_majority_is_that_of_the_training_split() -> None:
    """Its commonest class answers every held-out row."""
    test = _rows([[0], [0], [0], [0]], [1, 0, 0, 0], np.int32)

    assert baseline_metric(dense_iris, CLASSES, test) == 0.25


def test_the_mean_is_that_of_the_training_split() -> None:
    """It answers every held-out row."""
    train, test = _rows([[0], [0]], [[10], [20]]), _rows([[0]], [[18]])

    assert baseline_metric(dense_diabetes, train, test) == 3.0


def test_the_last_value_answers_for_the_next() -> None:
    """At the end of the window, or at each of its steps."""
    one = _rows([[[1], [5]]], [[7]])
    every = _rows([[[1], [5]]], [[[5], [7]]])

    assert baseline_metric(lstm_sunspots, one, one) == 2.0
    assert baseline_metric(lstm_sunspots_sequence, every, every) == 3.0


@pytest.mark.parametrize(
    ("value", "baseline", "words"),
    [
        (0.95, 0.3, []),
        (0.1, 0.05, ["but claimed"]),
        (0.95, 0.95, ["no better than the baseline majority"]),
        (0.2, 0.3, ["no better than", "but claimed"]),
    ],
)
def test_what_was_missed_is_said_in_words(value: float, baseline: float, words: list[str]) -> None:
    """Measured beside demanded."""
    missed = shortfalls(dense_iris, value, baseline)

    assert len(missed) == len(words)
    assert all(part in whole for part, whole in zip(words, missed, strict=True))
