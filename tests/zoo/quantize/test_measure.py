"""Times are compared in rounds, and answers by the metric that their kind has."""

import math
from collections.abc import Mapping

import numpy as np
import pytest

from zoo.datasets.dataset import Rows
from zoo.errors import UsageError
from zoo.quantize import evidence
from zoo.quantize.measure import (
    FEW_ROUNDS,
    ROUNDS,
    agreement,
    answers,
    distance,
    flips,
    largest_difference,
    looks_like_classes,
    median_interval,
    spoiled,
    timed,
)
from zoo.recipes.registry import Registry

Arrays = Mapping[str, np.ndarray]
FEEDS = {"x": np.zeros((1, 2), np.float32)}


class Machine:
    """A clock that only sessions move; from time to time everything takes thrice as long."""

    def __init__(self, seconds: Mapping[str, float], slow_every: int = 0) -> None:
        self.now = 0.0
        self.runs: list[str] = []
        self.slow_every = slow_every
        self.sessions = {kind: self._session(kind, s) for kind, s in seconds.items()}

    def clock(self) -> float:
        return self.now

    def _session(self, kind: str, seconds: float):
        def run(feeds: Arrays) -> Arrays:
            self.runs.append(kind)
            turn = len(self.runs) // 40
            slow = self.slow_every and turn % self.slow_every == 0
            self.now += seconds * (3 if slow else 1)
            return feeds

        return run


def test_times_are_ratios_within_a_round() -> None:
    """A variant that needs half the time needs half the time; fp32 is its own unit."""
    machine = Machine({"fp32": 0.002, "int8": 0.001, "fp16": 0.003})
    found = timed(machine.sessions, FEEDS, machine.clock)

    assert found["int8"].ratio.median == pytest.approx(0.5)
    assert found["int8"].ratio.faster
    assert found["fp16"].ratio.slower
    assert found["fp32"].ratio.median == 1
    assert not found["fp32"].ratio.faster
    assert found["fp16"].microseconds == pytest.approx(3000)


def test_everyone_has_a_turn_in_every_round_and_nobody_is_always_first() -> None:
    """So that a machine that slows down for a while slows all alike."""
    machine = Machine({"fp32": 0.004, "int8": 0.004, "fp16": 0.004})
    timed(machine.sessions, FEEDS, machine.clock)
    turns = machine.runs[-3 * ROUNDS :]
    rounds = [turns[i : i + 3] for i in range(0, len(turns), 3)]

    assert all(set(turn) == set(machine.sessions) for turn in rounds)
    assert [turn[0] for turn in rounds[:3]] == ["fp32", "int8", "fp16"]


def test_slow_models_have_fewer_rounds_and_quick_ones_more_runs_in_each() -> None:
    """A run of 0.1 s is timed seven times; one of 10 µs two hundred times a turn."""
    slow, quick = Machine({"fp32": 0.1}), Machine({"fp32": 1e-5})
    timed(slow.sessions, FEEDS, slow.clock)
    timed(quick.sessions, FEEDS, quick.clock)

    assert len(slow.runs) - 3 == FEW_ROUNDS
    assert len(quick.runs) - 3 == ROUNDS * 200


def test_bursts_of_other_work_widen_the_interval_and_leave_the_median() -> None:
    """Noise that hits some turns decides nothing."""
    machine = Machine({"fp32": 0.001, "int8": 0.001}, slow_every=7)
    ratio = timed(machine.sessions, FEEDS, machine.clock)["int8"].ratio

    assert ratio.low <= 1 <= ratio.high
    assert not ratio.faster
    assert not ratio.slower


@pytest.mark.parametrize(
    ("count", "at"),
    [(15, (3, 11)), (7, (0, 6)), (6, (0, 5)), (3, (0, 2)), (1, (0, 0)), (101, (40, 60))],
)
def test_the_interval_is_the_sign_tests(count: int, at: tuple[int, int]) -> None:
    """Order statistics between which the median lies in 95 of 100 repetitions or more.

    The places for 15 and 101 values are those of the usual tables (4th, and 41st, from either
    end); below 6 values no interval is that sure, and the whole range stands for it.
    """
    values = [float(v) for v in np.random.default_rng(1).permutation(count)]
    ratio = median_interval(values)

    assert (ratio.low, ratio.high) == (float(at[0]), float(at[1]))
    assert ratio.median == (count - 1) / 2


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
    ("base", "given", "delta", "lost"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5, False),
        ([1.0, NAN], [1.0, NAN], 0.0, False),
        ([1.0, 2.0], [1.0, NAN], INF, True),
        ([1.0, 2.0], [1.0, INF], INF, True),
        ([1.0, INF], [1.0, 2.0], INF, False),
    ],
)
def test_answers_that_are_no_numbers_are_noticed(
    base: list[float], given: list[float], delta: float, lost: bool
) -> None:
    """Where fp32 answers a number, a variant must; what fp32 itself cannot say is not its fault."""
    left, right = {"y": np.array(base)}, {"y": np.array(given)}

    assert largest_difference(left, right) == delta
    assert spoiled(left, right) is lost


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
    given = {"a": np.array([0.1, 2.1]), "b": np.array([5.0, 5.0])}

    assert agreement(left, right) == 0.5
    assert distance(base, given) == pytest.approx(0.1)
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
    made = evidence.of_rows(rows, 0)
    calibrated = np.concatenate([part["x"] for part in made.calibration.batches])

    assert not np.intersect1d(calibrated, made.rows["x"]).size
    assert len(made.rows["x"]) == 32


def test_a_users_rows_are_judged_by_what_the_answers_look_like() -> None:
    """Agreement of each output that chooses a class, distance of the others."""
    made = evidence.of_rows({"x": np.arange(64.0)}, 0)
    classes = {"p": np.array([[0.6, 0.4], [0.3, 0.7]])}
    numbers = {"y": np.array([[1.0], [3.0]])}

    of_classes, of_numbers = made.judges({**classes, **numbers})

    assert of_classes.metric.name == "p: agreement with fp32's classes"
    assert (of_classes.metric.kind, of_numbers.metric.kind) == ("share", "distance")
    assert of_classes.value(classes, {"p": classes["p"][::-1]}) == 0
    assert of_numbers.value(numbers, {"y": numbers["y"] + 0.1}) == pytest.approx(0.1)
    assert [judge.metric.kind for judge in made.judges(numbers)] == ["distance"]
    assert made.tasks(classes) == {"p": "multiclass"}
    assert made.tasks(numbers) == {}


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
    given = {
        recipe.output_name: np.where(np.arange(40) < 30, truth, 1 - truth)[:, None] * 0.9,
        total: np.full((40, 1), 9.5, np.float32),
    }

    assert (first.metric.name, first.metric.kind, first.metric.rows) == ("accuracy", "share", 40)
    assert first.value({}, given) == 0.75
    assert (other.metric.name, other.metric.kind) == (f"{total}: mean absolute error", "error")
    assert other.value({}, given) == 0.5


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
