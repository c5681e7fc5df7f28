"""What the files of a model are held against, beside the bound itself."""

from dataclasses import replace

import numpy as np

from zoo.datasets.dataset import Rows
from zoo.parity.cases import held_out_metric, unstable
from zoo.parity.compare import Case
from zoo.parity.prove import with_undefined
from zoo.recipes.registry import Registry

IRIS = Registry.default().get("dense_iris")
DIABETES = Registry.default().get("dense_diabetes")


def _case(output: str, expected: np.ndarray, name: str = "rows") -> Case:
    feeds = {"x": np.zeros((len(expected), 1), np.float32)}
    return Case(name=name, feeds=feeds, expected={output: expected})


def test_a_share_of_rows_must_be_the_very_same() -> None:
    """One row that decides otherwise is another accuracy, whatever the probabilities' distance."""
    sure = np.eye(3, dtype=np.float32)
    rows = Rows(x=np.zeros((3, 4), np.float32), y=np.arange(3, dtype=np.int32))
    whole = _case("probabilities", sure)
    flipped = sure[[0, 2, 2]]

    same = held_out_metric(IRIS, rows, whole, {"onnxruntime": {"probabilities": sure}})
    other = held_out_metric(IRIS, rows, whole, {"onnxruntime": {"probabilities": flipped}})
    assert (same["ok"], same["keras"], same["allowed"], same["rows"]) == (True, 1.0, 0.0, 3)
    assert not other["ok"]
    assert other["runtimes"]["onnxruntime"] < same["keras"]


def test_an_error_may_differ_by_the_parity_bound() -> None:
    """A mean absolute error is a number like an answer, of the answers' scale."""
    (output,) = DIABETES.outputs
    truth = np.full((4, 1), 100.0, np.float32)
    rows = Rows(x=np.zeros((4, 10), np.float32), y=truth)
    whole = _case(output, truth + 10)
    near, far = ({"onnxruntime": {output: truth + 10 + delta}} for delta in (1e-4, 1e-2))

    assert held_out_metric(DIABETES, rows, whole, near)["ok"]
    assert not held_out_metric(DIABETES, rows, whole, far)["ok"]


def test_keras_of_two_minds_defines_no_answer() -> None:
    """An answer that the last place of the input decides is not compared; a steady one is."""
    one = _case("y", np.array([[1.0, 0.0]], np.float32))
    swapped = _case("y", np.array([[0.0, 1.0]], np.float32))
    nan = _case("y", np.array([[np.nan, 0.0]], np.float32))

    assert unstable(one, one, {"y": 1.0}) == ""
    assert unstable(nan, nan, {"y": 1.0}) == ""
    assert "one unit in the last place" in unstable(one, swapped, {"y": 1.0})
    assert unstable(one, nan, {"y": 1.0})


def test_what_is_left_open_depends_on_the_graph() -> None:
    """The same NaN counts against a file of plain operators, and not against an LSTM's."""
    nan = replace(_case("y", np.array([[np.nan]], np.float32), "NaN everywhere"), adversarial=True)
    plain = _case("y", np.ones((1, 1), np.float32))

    assert with_undefined([nan], ["Gemm", "Tanh"])[0].undefined == {}
    (case,) = with_undefined([nan], ["LSTM", "Gemm"])
    assert case.undefined_in("onnxruntime")
    assert case.undefined_in("onnx-reference") == ""
    assert with_undefined([plain], ["LSTM"]) == [plain]
