"""Parity: the comparison that decides whether a model is published."""

import numpy as np
import pytest

from zoo.verify import Case, Tolerance, compare, verify


def _case(expected: np.ndarray, name: str = "rows") -> Case:
    return Case(name=name, feeds={"x": np.zeros((1, 1), np.float32)}, expected={"y": expected})


def _floats(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_equal_answers_agree() -> None:
    """Bit-equal answers are ok with no difference."""
    row = compare(_floats(1, 2), _floats(1, 2), Tolerance())

    assert row["ok"]
    assert row["max_abs"] == 0.0


@pytest.mark.parametrize(
    ("expected", "actual", "ok"),
    [
        (100.0, 100.0 + 0.9e-3, True),
        (100.0, 100.0 + 1.3e-3, False),
        (-100.0, -100.0 - 1.3e-3, False),
        (1e-9, 1.05e-9, False),
    ],
)
def test_the_bound_is_relative_to_keras(expected: float, actual: float, ok: bool) -> None:
    """A single element may differ by 1.1e-5 of itself, whatever its scale and sign."""
    left, right = np.array([[expected]]), np.array([[actual]])

    assert compare(left, right, Tolerance())["ok"] is ok


def test_a_small_element_may_differ_by_the_scale_of_its_neighbours() -> None:
    """Cancellation beside large values is rounding; the same difference alone is not."""
    tolerance = Tolerance()

    assert compare(np.array([[1000.0, 0.0]]), np.array([[1000.0, 9e-4]]), tolerance)["ok"]
    assert not compare(np.array([[1.0, 0.0]]), np.array([[1.0, 9e-4]]), tolerance)["ok"]


def test_the_scale_is_the_outputs_over_all_rows_compared() -> None:
    """A batch of tiny probabilities is held to the precision of probabilities."""
    tiny, whole = _floats(1.6e-5), _floats(0.9)
    session = {"runtime": lambda feeds: {"y": tiny + np.float32(5e-8)}}

    assert not verify([_case(tiny)], session).ok
    assert verify([_case(tiny), _case(whole)], session).comparisons[0].ok


def test_a_flip_fails_even_within_the_bound() -> None:
    """Deciding for another class is wrong, however close the two were."""
    expected, actual = _floats(0.5, 0.5000001), _floats(0.5000001, 0.5)
    row = compare(expected, actual, Tolerance(), argmax=True)

    assert not row["ok"]
    assert row["flips"] == 1
    assert "another class" in row["reason"]


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_specials_must_be_where_keras_has_them(special: float) -> None:
    """NaN and infinities agree only with themselves, in place."""
    same, other = _floats(1, special), _floats(1, 2)

    assert compare(same, same, Tolerance())["ok"]
    assert not compare(same, other, Tolerance())["ok"]
    assert not compare(other, same, Tolerance())["ok"]


@pytest.mark.parametrize(
    ("actual", "reason"),
    [
        (None, "missing"),
        (np.zeros((1, 3), np.float32), r"float32[1, 3] where Keras gives float32[1, 2]"),
        (np.zeros((1, 2), np.float64), r"float64[1, 2] where Keras gives float32[1, 2]"),
    ],
)
def test_the_wrong_kind_of_answer_is_named(actual: np.ndarray | None, reason: str) -> None:
    """A missing output, another shape and another type each say so."""
    row = compare(_floats(1, 2), actual, Tolerance())

    assert not row["ok"]
    assert reason in row["reason"]


def test_the_reason_says_where_the_difference_is_largest() -> None:
    """The message names the element, the value seen and Keras's."""
    row = compare(_floats(1, 2, 3), _floats(1, 2.5, 3.1), Tolerance())

    assert "[0, 1]" in row["reason"]
    assert "2.5 where Keras gives 2.0" in row["reason"]


def test_every_runtime_meets_every_case() -> None:
    """The report has a row for each runtime, case and output."""
    cases = [_case(_floats(1), "one"), _case(_floats(2), "two")]
    sessions = {"good": lambda feeds: {"y": _floats(1)}, "bad": lambda feeds: {}}
    report = verify(cases, sessions)

    assert [(row.runtime, row.case, row.ok) for row in report.comparisons] == [
        ("good", "one", True),
        ("good", "two", False),
        ("bad", "one", False),
        ("bad", "two", False),
    ]
    assert not report.ok


def test_a_runtime_that_raises_fails_with_its_own_words() -> None:
    """A crash of a runtime is its verdict on the file, not ours."""

    def broken(feeds: object) -> dict[str, np.ndarray]:
        raise RuntimeError("no such operator\nlong trace")

    report = verify([_case(_floats(1))], {"broken": broken})

    assert report.worst.reason == "RuntimeError: no such operator"
    assert not report.ok


def test_nothing_compared_is_not_agreement() -> None:
    """An empty report is not ok."""
    assert not verify([], {}).ok
