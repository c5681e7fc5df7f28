"""The one proof: which runtimes decide, which are left out, and that each says so."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from zoo.errors import CheckFailed, MissingPackage
from zoo.parity.compare import Arrays, Case, Policy, Session, Tolerance
from zoo.parity.prove import prove
from zoo.parity.reference import REFERENCE, REFERENCE_ELEMENTS
from zoo.parity.runtimes import DECISIVE, STAND_IN

ONE = np.ones((1, 2), np.float32)
CASE = Case(name="rows", feeds={"x": ONE}, expected={"y": ONE})
POLICY = Policy()


class Fake:
    """A runtime that answers what it is told to."""

    def __init__(
        self, name: str, run: Callable[[Arrays], Arrays], version: str | None = "1"
    ) -> None:
        self.name, self._run, self._version = name, run, version

    def version(self) -> str | None:
        return self._version

    def load(self, model: Path) -> Session:
        return self._run


def _right(feeds: Arrays) -> Arrays:
    return {"y": feeds["x"]}


def _wrong(feeds: Arrays) -> Arrays:
    return {"y": feeds["x"] * np.float32(1.01)}


def _raising(feeds: Arrays) -> Arrays:
    raise NotImplementedError("no such operator")


def _file(folder: Path, *nodes: onnx.NodeProto) -> Path:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    path = folder / "model.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:])), path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A graph of one Identity."""
    return _file(tmp_path, helper.make_node("Identity", ["x"], ["y"]))


def test_both_runtimes_must_agree_with_keras(path: Path) -> None:
    """A reference that answers otherwise speaks against the file as onnxruntime does."""
    both = (Fake(DECISIVE, _right), Fake(REFERENCE, _right))
    good = prove(path, [CASE], POLICY, runtimes=both)
    bad = prove(path, [CASE], POLICY, runtimes=(Fake(DECISIVE, _right), Fake(REFERENCE, _wrong)))

    assert good.report.ok
    assert good.versions == {DECISIVE: "1", REFERENCE: "1"}
    assert good.left_out == {}
    with pytest.raises(CheckFailed, match=r"model\.onnx: onnx-reference and Keras disagree on y"):
        bad.require()


def test_what_the_decisive_runtime_refuses_is_not_proven(path: Path) -> None:
    """With its words, and whatever the reference says."""
    proof = prove(
        path, [CASE], POLICY, runtimes=(Fake(DECISIVE, _raising), Fake(REFERENCE, _right))
    )

    with pytest.raises(CheckFailed, match="onnxruntime refuses the graph: NotImplementedError"):
        proof.require()


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        (Fake(REFERENCE, _right, version=None), "not installed"),
        (Fake(REFERENCE, _raising), "cannot run the graph: NotImplementedError: no such operator"),
    ],
)
def test_a_reference_that_cannot_is_left_out_aloud(
    path: Path, reference: Fake, reason: str
) -> None:
    """It refuses nothing: what it lacks is its own limit."""
    proof = prove(path, [CASE], POLICY, runtimes=(Fake(DECISIVE, _right), reference))

    assert proof.report.ok
    assert proof.left_out == {REFERENCE: reason}
    assert proof.notes == [f"onnx-reference left out: {reason}"]
    assert proof.versions == {DECISIVE: "1"}


@pytest.mark.parametrize(("run", "proven"), [(_right, True), (_wrong, False)])
def test_onnxruntime_without_optimizations_judges_where_the_reference_cannot(
    path: Path, run: Callable[[Arrays], Arrays], proven: bool
) -> None:
    """And only there; it speaks against a file as the reference would."""
    decisive, stand_in = Fake(DECISIVE, _right), Fake(STAND_IN, run)
    alone = prove(path, [CASE], POLICY, runtimes=(decisive, Fake(REFERENCE, _raising), stand_in))
    both = prove(path, [CASE], POLICY, runtimes=(decisive, Fake(REFERENCE, _right), stand_in))

    assert alone.report.ok is proven
    assert alone.versions == {DECISIVE: "1", STAND_IN: "1"}
    assert both.versions == {DECISIVE: "1", REFERENCE: "1"}


def test_the_stand_in_runs_the_graph_as_it_is_written(tmp_path: Path) -> None:
    """A real session: a Loop, which the reference computes wrong."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["more"]), helper.make_node("Add", ["v", "v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("more", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, None),
        ],
    )
    count = helper.make_node("Constant", [], ["n"], value_int=2)
    loop = helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)
    case = Case(name="rows", feeds={"x": ONE}, expected={"y": ONE * 4})
    proof = prove(_file(tmp_path, count, loop), [case], POLICY)

    proof.require()
    assert list(proof.versions) == [DECISIVE, STAND_IN]


def test_a_reference_that_computes_an_operator_wrong_is_not_asked(tmp_path: Path) -> None:
    """It knows only the default activations, and would answer otherwise."""
    node = helper.make_node(
        "RNN", ["x", "w", "r"], ["", "y"], hidden_size=1, activations=["Softsign"]
    )
    proof = prove(
        _file(tmp_path, node),
        [CASE],
        POLICY,
        runtimes=(Fake(DECISIVE, _right), Fake(REFERENCE, _wrong)),
    )

    assert proof.report.ok
    assert proof.left_out == {REFERENCE: "it computes RNN with default activations only"}


def test_a_reference_that_would_take_minutes_is_not_asked(path: Path) -> None:
    """Rows of many elements; a case that does not concern it is no reason."""
    rows = np.ones((1, REFERENCE_ELEMENTS + 1), np.float32)
    large = Case(name="large", feeds={"x": rows}, expected={"y": rows})
    other = Case(name="whole", feeds={"x": rows}, expected={"y": rows}, runtimes=(DECISIVE,))
    runtimes = (Fake(DECISIVE, _right), Fake(REFERENCE, _right))

    left = prove(path, [large], POLICY, runtimes=runtimes)
    proof = prove(path, [CASE, other], POLICY, runtimes=runtimes)
    assert "would take minutes" in left.left_out[REFERENCE]
    assert proof.left_out == {}


def test_the_policy_brings_the_bound(path: Path) -> None:
    """A file is held to the bound that it was published under."""
    runtimes = (Fake(DECISIVE, _wrong),)

    strict = prove(path, [CASE], POLICY, runtimes=runtimes)
    wide = prove(path, [CASE], Policy(tolerance=Tolerance(scaled=0.1)), runtimes=runtimes)
    assert not strict.report.ok
    assert wide.report.ok


def test_nothing_is_proven_without_the_decisive_runtime(path: Path) -> None:
    """The reference alone is not what serves the file."""
    runtimes = (Fake(DECISIVE, _right, version=None), Fake(REFERENCE, _right))

    with pytest.raises(MissingPackage, match=r"layer-zoo\[cpu\]"):
        prove(path, [CASE], POLICY, runtimes=runtimes)


def test_the_answers_to_one_case_are_kept(path: Path) -> None:
    """The metric is measured on them."""
    again = Case(name="again", feeds={"x": ONE * 2}, expected={"y": ONE * 2})
    proof = prove(path, [CASE, again], POLICY, keep=again, runtimes=(Fake(DECISIVE, _right),))

    np.testing.assert_array_equal(proof.answers[DECISIVE]["y"], ONE * 2)


def test_what_is_no_onnx_file_is_refused_by_the_runtime(tmp_path: Path) -> None:
    """Not by ours, in a traceback."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    proof = prove(path, [CASE], POLICY)

    with pytest.raises(CheckFailed, match="onnxruntime refuses the graph"):
        proof.require()


@pytest.mark.parametrize(
    ("pooled", "adversarial", "culprit", "proven"),
    [
        (True, True, REFERENCE, True),
        (True, True, DECISIVE, False),
        (True, False, REFERENCE, False),
        (False, True, REFERENCE, False),
    ],
)
def test_a_nan_that_arises_before_a_maxpool_is_left_open_to_the_evaluator_alone(
    tmp_path: Path, pooled: bool, adversarial: bool, culprit: str, proven: bool
) -> None:
    """Inf - Inf is NaN in the graph, and neither the row nor Keras's answer has one."""
    pool = helper.make_node("MaxPool", ["nan"], ["y"], kernel_shape=[1, 2])
    last = pool if pooled else helper.make_node("Identity", ["nan"], ["y"])
    path = _file(tmp_path, helper.make_node("Sub", ["x", "x"], ["nan"]), last)
    feeds = {"x": np.array([[[[np.inf, 1.0]]]], np.float32)}
    keras = np.zeros((1, 1, 1, 1), np.float32)
    case = Case(name="one Inf", feeds=feeds, expected={"y": keras}, adversarial=adversarial)

    def nan(feeds: Arrays) -> Arrays:
        return {"y": np.full_like(keras, np.nan)}

    def finite(feeds: Arrays) -> Arrays:
        return {"y": keras}

    runtimes = [Fake(name, nan if name == culprit else finite) for name in (DECISIVE, REFERENCE)]
    proof = prove(path, [case], POLICY, runtimes=runtimes)

    assert proof.report.ok is proven
    skipped = [row.runtime for row in proof.report.comparisons if row.not_compared]
    assert skipped == ([REFERENCE] if proven else [])
