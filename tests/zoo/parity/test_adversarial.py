"""Hostile rows: what they hold, and when an answer to one says nothing about a file."""

import numpy as np

from zoo.parity.adversarial import ALL, FAR, FLOAT, nudged, probes, undefined

ROWS = np.array([[1.0, -2.0], [3.0, 0.5], [-4.0, 0.25]], np.float32)


def _named(*inputs: np.ndarray) -> dict[str, tuple[np.ndarray, ...]]:
    return {probe.name: probe.inputs for probe in probes(inputs)}


def test_the_ends_of_the_data_are_per_place() -> None:
    """Each feature's own lowest and highest value, and a thousand times those."""
    cases = _named(ROWS)

    assert cases["the lowest held-out values"][0].tolist() == [[-4.0, -2.0]]
    assert cases["the highest held-out values × 1000"][0].tolist() == [[3000.0, 500.0]]
    assert cases["the highest held-out values × -1000"][0].tolist() == [[-3000.0, -500.0]]


def test_the_ends_of_float32_are_there() -> None:
    """Smallest normal, denormal and largest numbers, in float32 and exact."""
    cases = _named(ROWS)

    assert cases["the smallest normal float32"][0][0, 0] == FLOAT.tiny
    (denormal,) = cases["a denormal float32"]
    assert 0 < denormal.max() < FLOAT.tiny
    assert cases["the largest negative float32"][0].min() == FLOAT.min
    assert all(array.dtype == np.float32 for arrays in cases.values() for array in arrays)
    assert all(len(array) == 1 for arrays in cases.values() for array in arrays)


def test_one_special_stands_in_a_real_row() -> None:
    """All other places keep their values, and the data itself is left as it was."""
    before = ROWS.copy()
    (row,) = _named(ROWS)["one -Inf in a held-out row"]

    assert row.tolist() == [[1.0, -np.inf]]
    assert np.array_equal(ROWS, before)


def test_inputs_that_are_not_floats_keep_real_rows() -> None:
    """Integers take zeros and the ends of the data, words nothing; without floats that is all."""
    numbers = np.array([[5], [9]], np.int64)
    words = np.array([["a"], ["b"]], object)
    mixed = _named(ROWS[:2], numbers, words)

    assert [array.tolist() for array in mixed["zeros"]] == [[[0.0, 0.0]], [[0]], [["a"]]]
    assert [array.tolist() for array in mixed["NaN everywhere"][1:]] == [[[5]], [["a"]]]
    assert len(_named(numbers)) == 3


def test_nudging_moves_every_finite_number_by_the_least_there_is() -> None:
    """Towards zero; zeros, infinities and NaN stay."""
    (moved,) = nudged([np.array([1.0, -1.0, 0.0, np.inf, np.nan, FLOAT.max], np.float32)])

    assert np.array_equal(moved[2:5], np.array([0.0, np.inf, np.nan]), equal_nan=True)
    assert 0 < 1 - moved[0] < 1e-7
    assert 0 < moved[1] + 1 < 1e-7
    assert moved[5] < FLOAT.max
    assert moved.dtype == np.float32


def test_nan_is_left_open_only_by_some_operators() -> None:
    """An infinity counts everywhere; NaN does unless MaxPool or a recurrent operator meets it."""
    nan, number = np.array([[np.nan]], np.float32), np.ones((1, 1), np.float32)
    infinity = np.array([[np.inf]], np.float32)

    assert undefined([number, infinity], ["MaxPool", "LSTM", "Gemm"]) == {}
    assert undefined([nan, nan], ["Gemm", "Relu"]) == {}
    assert undefined([nan, number], ["Conv", "MaxPool"]).keys() == {ALL}
    assert undefined([number, nan], ["LSTM", "Gemm"]).keys() == {"onnxruntime"}


def test_the_order_of_sums_that_may_overflow_is_left_open() -> None:
    """The same products, added in two orders, come to a number and to an infinity."""
    huge, far = np.full((1, 3), FLOAT.max), np.full((1, 3), FAR * FAR, np.float32)
    terms = huge[0] * np.array([0.7, 0.7, -0.9], np.float32)
    with np.errstate(over="ignore"):
        sums = [(terms[a] + terms[b]) + terms[c] for a, b, c in ((0, 1, 2), (0, 2, 1))]

    assert [bool(np.isfinite(value)) for value in sums] == [False, True]
    assert undefined([huge, far], ["LSTM"]).keys() == {ALL}
    assert undefined([far, huge], ["Relu", "Gemm"]).keys() == {ALL}
    assert undefined([huge, huge], ["Relu", "MaxPool"]) == {}
    assert undefined([far, far], ["Gemm", "LSTM"]) == {}
