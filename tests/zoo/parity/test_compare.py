"""Parity: the comparison that decides whether a model is published."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from zoo.parity.compare import (
    Case,
    Report,
    Session,
    Tolerance,
    compare,
    compare_answers,
    shared_scales,
)
from zoo.parity.prove import answer
from zoo_server.repository import vectors


def _case(expected: np.ndarray, name: str = "rows") -> Case:
    return Case(name=name, feeds={"x": np.zeros((1, 1), np.float32)}, expected={"y": expected})


def _report(cases: Sequence[Case], sessions: Mapping[str, Session]) -> Report:
    rows = []
    for name, session in sessions.items():
        mine = [case for case in cases if case.concerns(name)]
        answers = [answer(session, case.feeds) for case in mine]
        rows += compare_answers(name, mine, answers, scales=shared_scales(cases))
    return Report(comparisons=tuple(rows))


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
        (100.0, 100.0 + 4e-3, True),
        (100.0, 100.0 + 6e-3, False),
        (-100.0, -100.0 - 6e-3, False),
        (1e-9, 1.05e-9, False),
    ],
)
def test_the_bound_is_relative_to_keras(expected: float, actual: float, ok: bool) -> None:
    """A single element may differ by 5e-5 of itself, whatever its scale and sign."""
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

    assert not _report([_case(tiny)], session).ok
    assert _report([_case(tiny), _case(whole)], session).comparisons[0].ok


def test_an_adversarial_case_has_a_scale_of_its_own() -> None:
    """Its large answers widen no other case's bound, and the others' scale is its least."""
    real, huge = _case(_floats(1.0, 0.5), "real"), _case(_floats(1e6, 0.0), "huge")
    hostile = replace(huge, adversarial=True)

    def off(delta: float) -> dict:
        return {"runtime": lambda feeds: {"y": feeds["y"] + np.float32(delta)}}

    cases = [
        replace(case, feeds={"y": next(iter(case.expected.values()))}) for case in (real, hostile)
    ]
    assert [row.ok for row in _report(cases, off(0.5)).comparisons] == [False, True]
    small = replace(cases[1], feeds={"y": _floats(0, 0)}, expected={"y": _floats(0, 0)})
    assert [row.ok for row in _report([cases[0], small], off(5e-7)).comparisons] == [True, True]


def test_a_case_that_says_nothing_is_recorded_and_not_counted() -> None:
    """With the difference measured, only in the runtimes named, and never instead of a success."""
    nan = _case(_floats(np.nan, 1))
    case = replace(nan, adversarial=True, undefined={"loses": "it loses NaN"})
    sessions = {
        "keeps": lambda feeds: {"y": _floats(np.nan, 1)},
        "loses": lambda feeds: {"y": _floats(0, 1)},
    }
    report = _report([case], sessions)

    assert [(r.ok, r.not_compared) for r in report.comparisons] == [
        (True, ""),
        (False, "it loses NaN"),
    ]
    assert report.ok
    assert report.to_json()[1]["max_abs"] is None
    assert not _report([case], {"loses": sessions["loses"]}).ok, "nothing was compared"
    assert not _report([case], {"other": sessions["loses"]}).ok
    assert _report([replace(case, undefined={"*": "open"})], sessions).ok


def test_a_case_asks_only_its_runtimes() -> None:
    """All held-out rows are too many for a slow evaluator."""
    case = replace(_case(_floats(1)), runtimes=("fast",))
    good = {name: lambda feeds: {"y": _floats(1)} for name in ("slow", "fast")}

    assert [row.runtime for row in _report([case], good).comparisons] == ["fast"]


@pytest.mark.parametrize(
    ("actual", "ratio"), [(100.0, 0.0), (100.0 + 2.5e-3, 0.5), (np.inf, np.inf)]
)
def test_the_ratio_is_the_share_of_the_bound(actual: float, ratio: float) -> None:
    """Half of what is allowed is 0.5; a bound of nothing is used up by any difference."""
    row = compare(np.array([[100.0]]), np.array([[actual]]), Tolerance())

    assert row["ratio"] == pytest.approx(ratio)
    zero = np.zeros((1, 1))
    assert compare(zero, zero, Tolerance())["ratio"] == 0.0
    assert compare(zero, zero + 1e-30, Tolerance())["ratio"] == np.inf


def test_a_number_in_place_of_nan_is_infinitely_far() -> None:
    """And so is NaN in place of a number, or the other infinity."""
    for expected, actual in ((np.nan, 0.0), (0.0, np.nan), (np.inf, -np.inf), (np.inf, 1e38)):
        row = compare(_floats(1, expected), _floats(1, actual), Tolerance())
        assert (row["ok"], row["max_abs"]) == (False, np.inf)
        assert "[0, 1]" in row["reason"]


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
    report = _report(cases, sessions)

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

    report = _report([_case(_floats(1))], {"broken": broken})

    assert report.worst.reason == "RuntimeError: no such operator"
    assert not report.ok


def test_nothing_compared_is_not_agreement() -> None:
    """An empty report is not ok."""
    assert not _report([], {}).ok


def test_the_server_allows_twice_what_the_proof_does() -> None:
    """Of a file without a manifest, so that the reason stands in one place."""
    assert vectors.Tolerance().scaled == 2 * Tolerance().scaled
