"""Answers are compared by the metric that their kind has, on rows that gave no ranges."""

import math
from collections.abc import Mapping

import numpy as np
import pytest

from zoo.datasets.dataset import Rows
from zoo.errors import UsageError
from zoo.quantize import evidence
from zoo.quantize.comparison import (
    adds_nonfinite,
    agreement,
    answers,
    distance,
    flips,
    looks_like_classes,
    max_difference,
)
from zoo.recipes.registry import Registry

Arrays = Mapping[str, np.ndarray]


def test_answers_come_in_parts_of_the_graphs_own_size() -> None:
    """All rows where any batch goes; whole batches alone where one is fixed."""
    sizes: list[int] = []

    def session(feeds: Arrays) -> Arrays:
        sizes.append(len(feeds["x"]))
        return {"y": feeds["x"] * 2}

    rows = {"x": np.arange(1100.0)}
    whole, fixed = answers(session, rows), answers(session, rows, batch=300)

    assert np.array_equal(whole["y"], rows["x"] * 2)
    assert np.array_equal(fixed["y"], rows["x"][:900] * 2)
    assert sizes == [512, 512, 76, 300, 300, 300]


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("base", "answers", "delta", "lost"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5, False),
        ([1.0, NAN], [1.0, NAN], 0.0, False),
        ([1.0, 2.0], [1.0, NAN], INF, True),
        ([1.0, 2.0], [1.0, INF], INF, True),
        ([1.0, INF], [1.0, 2.0], INF, False),
    ],
)
def test_answers_that_are_no_numbers_are_noticed(
    base: list[float], answers: list[float], delta: float, lost: bool
) -> None:
    """Where fp32 answers a number, a variant must; what fp32 itself cannot say is not its fault."""
    left, right = {"y": np.array(base)}, {"y": np.array(answers)}

    assert max_difference(left, right) == delta
    assert adds_nonfinite(left, right) is lost


def test_flips_are_counted_by_the_task() -> None:
    """Another class, another side of one half; a regression has none."""
    left, right = np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([[0.4, 0.6], [0.3, 0.7]])

    assert flips(left, right, "multiclass") == 1
    assert flips(left[:, :1], right[:, :1], "binary") == 1
    assert flips(left, right, "regression") == 0


@pytest.mark.parametrize(
    ("array", "classes"),
    [
        ([[0.2, 0.8], [1.0, 0.0]], True),
        ([[0.2, 0.7], [1.0, 0.0]], False),
        ([[1.2, -0.2], [1.0, 0.0]], False),
        ([[1.0], [1.0]], False),
    ],
)
def test_probabilities_are_recognised(array: list[list[float]], classes: bool) -> None:
    """Rows of two or more that are no less than 0 and sum to 1."""
    assert looks_like_classes(np.array(array)) is classes


def test_agreement_and_distance_are_taken_to_fp32() -> None:
    """The share of rows with its class; the error in units of its spread, of the worst output."""
    left, right = np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([[0.4, 0.6], [0.3, 0.7]])
    base = {"a": np.array([0.0, 2.0]), "b": np.array([5.0, 5.0])}
    answers = {"a": np.array([0.1, 2.1]), "b": np.array([5.0, 5.0])}

    assert agreement(left, right) == 0.5
    assert distance(base, answers) == pytest.approx(0.1)
    assert distance(base, base) == 0
    assert distance({"b": base["b"]}, {"b": base["b"] + 1}) == pytest.approx(0.2)
    assert distance({"z": np.zeros(2)}, {"z": np.ones(2)}) == INF


@pytest.mark.parametrize(
    ("count", "batch", "sizes"),
    [(1000, None, [16] * 16), (100, None, [16] * 6), (7, None, [7]), (70, 32, [32, 32])],
)
def test_calibration_batches_are_of_one_size(
    count: int, batch: int | None, sizes: list[int]
) -> None:
    """256 rows at most, none twice, the same for the same seed and others for another."""
    rows = {"x": np.arange(count), "also": np.arange(count) * 2}
    chosen = evidence.calibration(rows, 3, "rows", batch)
    again = evidence.calibration(rows, 3, "rows", batch)
    other = evidence.calibration(rows, 4, "rows", batch)
    seen = np.concatenate([part["x"] for part in chosen.batches])

    assert [len(part["x"]) for part in chosen.batches] == sizes
    assert len(np.unique(seen)) == len(seen) == chosen.rows
    assert all(np.array_equal(part["also"], part["x"] * 2) for part in chosen.batches)
    assert np.array_equal(seen, np.concatenate([part["x"] for part in again.batches]))
    if count > sum(sizes):
        assert not np.array_equal(seen, np.concatenate([part["x"] for part in other.batches]))


def test_rows_to_measure_on_did_not_give_the_ranges() -> None:
    """One half each, chosen by the seed."""
    rows = {"x": np.arange(64.0)[:, None]}
    gathered = evidence.of_rows(rows, 0)
    calibrated = np.concatenate([part["x"] for part in gathered.calibration.batches])

    assert not np.intersect1d(calibrated, gathered.rows["x"]).size
    assert len(gathered.rows["x"]) == 32


def test_a_users_rows_are_judged_by_what_the_answers_look_like() -> None:
    """Agreement of each output that chooses a class, distance of the others."""
    gathered = evidence.of_rows({"x": np.arange(64.0)}, 0)
    classes = {"p": np.array([[0.6, 0.4], [0.3, 0.7]])}
    numbers = {"y": np.array([[1.0], [3.0]])}

    of_classes, of_numbers = gathered.judges({**classes, **numbers})

    assert of_classes.metric.name == "p: agreement with fp32's classes"
    assert (of_classes.metric.kind, of_numbers.metric.kind) == ("share", "distance")
    assert of_classes.value(classes, {"p": classes["p"][::-1]}) == 0
    assert of_numbers.value(numbers, {"y": numbers["y"] + 0.1}) == pytest.approx(0.1)
    assert [judge.metric.kind for judge in gathered.judges(numbers)] == ["distance"]
    assert gathered.tasks(classes) == {"p": "multiclass"}
    assert gathered.tasks(numbers) == {}


def test_a_recipe_of_several_outputs_is_judged_on_each() -> None:
    """Its own metric first, then each further output by its task."""
    recipe = Registry.default().get("cnn_digit_pair")
    images = np.zeros((40, 8, 8, 1), np.float32)
    (second,), (total,) = recipe.more_inputs, recipe.more_outputs
    truth = np.arange(40) % 2
    rows = Rows(
        x=images,
        y=truth.astype(np.int32),
        more_x={second: images},
        more_y={total: np.full((40, 1), 9.0, np.float32)},
    )
    first, other = evidence.of_recipe(recipe, rows, rows).judges({})
    answers = {
        recipe.output_name: np.where(np.arange(40) < 30, truth, 1 - truth)[:, None] * 0.9,
        total: np.full((40, 1), 9.5, np.float32),
    }

    assert (first.metric.name, first.metric.kind, first.metric.rows) == ("accuracy", "share", 40)
    assert first.value({}, answers) == 0.75
    assert (other.metric.name, other.metric.kind) == (f"{total}: mean absolute error", "error")
    assert other.value({}, answers) == 0.5


@pytest.mark.parametrize(
    ("count", "batch", "words"),
    [
        (31, None, "wants 32 rows of --samples or more, .* these are 31"),
        (40, 30, "20 rows to measure on, and the model takes 30 at a time"),
    ],
)
def test_too_few_rows_are_refused(count: int, batch: int | None, words: str) -> None:
    """With the number wanted and the number seen."""
    with pytest.raises(UsageError, match=words):
        evidence.of_rows({"x": np.arange(count)}, 0, batch)
