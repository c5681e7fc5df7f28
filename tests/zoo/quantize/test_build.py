"""int8 and fp16 files from graphs made by hand: valid, close, reproducible, and made in silence."""

import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from zoo.convert.passes.precision import drop_round_trips
from zoo.parity.runtimes import OnnxRuntime
from zoo.quantize.build import WEIGHTED, CannotBuild, build, float_edges

GRAPHS = Path(__file__).with_name("graphs.py")
KINDS = ("int8", "fp16")


def _answers(model: ModelProto, feeds: dict[str, np.ndarray], folder: Path) -> np.ndarray:
    path = folder / "asked.onnx"
    path.write_bytes(model.SerializeToString())
    (answer,) = OnnxRuntime().load(path)(feeds).values()
    return answer


def _variant(lab: ModuleType, name: str, kind: str) -> ModelProto:
    model = lab.SMALL[name]()
    return build(kind, model, lab.batches(model))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "share"), [("small_cnn", 0.02), ("unlike_columns", 0.05)])
def test_a_variant_answers_close_to_fp32(
    lab: ModuleType, tmp_path: Path, name: str, share: float, kind: str
) -> None:
    """On rows that calibration did not see, within a share of the answers' range.

    Columns of unlike size are scaled inside the graph: quantised as they come in, the small one
    would be gone.
    """
    model = lab.SMALL[name]()
    feeds = lab.rows(model, 200, seed=9)
    expected = _answers(model, feeds, tmp_path)
    answers = _answers(_variant(lab, name, kind), feeds, tmp_path)

    assert answers.dtype == np.float32
    assert np.sqrt(np.mean((answers - expected) ** 2)) < share * np.ptp(expected)
    assert not np.array_equal(answers, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["small_cnn", "unlike_columns"])
def test_a_variant_has_the_models_face(lab: ModuleType, name: str, kind: str) -> None:
    """Inputs, outputs, opset, IR version and metadata are the model's; the checker is content."""
    model, variant = lab.SMALL[name](), _variant(lab, name, kind)

    onnx.checker.check_model(variant, full_check=True)
    assert list(variant.graph.input) == list(model.graph.input)
    assert list(variant.graph.output) == list(model.graph.output)
    assert list(variant.metadata_props) == list(model.metadata_props)
    assert [(o.domain, o.version) for o in variant.opset_import] == [("", 17)]
    assert (variant.ir_version, variant.producer_name) == (model.ir_version, model.producer_name)
    assert not variant.graph.value_info


def test_int8_weights_have_a_scale_for_each_channel(lab: ModuleType) -> None:
    """Convolution weights are int8 with as many scales as outputs, and no float copy is left."""
    graph = _variant(lab, "small_cnn", "int8").graph
    tensors = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    kernels = {n: a for n, a in tensors.items() if a.ndim == 4}
    scales = {
        node.input[0]: tensors[node.input[1]].shape
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in kernels
    }

    assert {a.dtype for a in kernels.values()} == {np.dtype(np.int8)}
    assert sorted(scales.values()) == [(16,), (32,)]


def test_scaling_and_softmax_stay_float(lab: ModuleType) -> None:
    """The first operator reads the input as it is, and nothing is quantised behind the last Gemm."""
    for kind in KINDS:
        nodes = {n.op_type: n for n in _variant(lab, "small_cnn", kind).graph.node}
        makers = {
            o: n.op_type for n in _variant(lab, "small_cnn", kind).graph.node for o in n.output
        }
        assert nodes["Mul"].input[0] == "image", kind
        assert nodes["Softmax"].output[0] == "probabilities", kind
        assert makers[nodes["Softmax"].input[0]] in ("DequantizeLinear", "Cast"), kind


def test_fp16_halves_the_weights_and_casts_no_more_than_it_must(lab: ModuleType) -> None:
    """Weights between the edges are float16; one cast in, one cast out."""
    graph = _variant(lab, "small_cnn", "fp16").graph
    kinds = {t.data_type for t in graph.initializer if len(t.dims) > 1}

    assert kinds == {TensorProto.FLOAT16}
    assert [n.op_type for n in graph.node].count("Cast") == 2


def test_the_same_model_gives_the_same_bytes(lab: ModuleType) -> None:
    """Twice here, and in a process that orders its sets otherwise."""
    first = lab.digests()
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, str(GRAPHS)], capture_output=True, text=True, env=environment, check=True
    )

    assert lab.digests() == first
    assert json.loads(done.stdout) == first


@pytest.mark.parametrize("kind", KINDS)
def test_building_is_silent_and_leaves_nothing(
    lab: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    """Nothing on the terminal, no handler in the root logger, no file in the temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    handlers, disabled = list(logging.root.handlers), logging.root.manager.disable
    _variant(lab, "small_cnn", kind)

    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert logging.root.handlers == handlers
    assert logging.root.manager.disable == disabled


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_without_weights_has_no_smaller_variant(lab: ModuleType, kind: str) -> None:
    """The reason names the operators that could have been smaller."""
    model = lab.no_weights()

    with pytest.raises(CannotBuild, match=r"the graph has none of Conv, .*MatMul"):
        build(kind, model, lab.batches(model))


def test_a_body_that_reads_outside_has_no_half_precision() -> None:
    """The converter would change what it reads; int8 leaves bodies alone, and so does the rule."""
    inner = helper.make_graph(
        [_node("Add", "sum", "outside", "outside")],
        "branch",
        [],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, None)],
    )
    condition = numpy_helper.from_array(np.array(True), "yes")
    model = _plain(
        _node("MatMul", "outside", "x", "w"),
        helper.make_node("If", ["yes"], ["z"], name="if", then_branch=inner, else_branch=inner),
        _node("MatMul", "last", "z", "w", gives="y"),
    )
    model.graph.initializer.append(condition)

    assert float_edges(model, WEIGHTED["fp16"]) == ["if"]
    with pytest.raises(CannotBuild, match=r"^if \(If\) has a body that reads values from outside"):
        build("fp16", model, [])


def test_what_the_tools_raise_is_the_reason(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line of it, whatever its type."""
    model = lab.small_cnn()
    wrong = [{"image": np.zeros((16, 1, 9, 8), np.float32)}]

    with pytest.raises(CannotBuild, match="image") as caught:
        build("int8", model, wrong)
    assert "\n" not in str(caught.value)


def _plain(*nodes: Any, weights: tuple[str, ...] = ("w",)) -> ModelProto:
    face = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 2]) for n in ("x", "y")]
    tensors = [numpy_helper.from_array(np.eye(2, dtype=np.float32), name) for name in weights]
    graph = helper.make_graph(list(nodes), "g", face[:1], face[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _node(kind: str, name: str, *inputs: str, gives: str = "", **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, [gives or name], name=name, **attributes)


@pytest.mark.parametrize(
    ("model", "edges"),
    [
        (
            _plain(
                _node("Neg", "in", "x"),
                _node("MatMul", "first", "in", "w"),
                _node("Relu", "between", "first"),
                _node("MatMul", "second", "between", "w"),
                _node("Tanh", "out", "second", gives="y"),
            ),
            ["in", "out"],
        ),
        (
            _plain(
                _node("MatMul", "only", "x", "w"),
                _node("Neg", "beside", "x"),
                _node("Add", "sum", "only", "beside", gives="y"),
            ),
            ["beside", "sum"],
        ),
        (
            _plain(
                _node("MatMul", "first", "x", "w"),
                _node("Neg", "beside", "x"),
                _node("Add", "residual", "first", "beside"),
                _node("MatMul", "second", "residual", "w", gives="y"),
            ),
            ["beside"],
        ),
    ],
)
def test_edges_are_what_does_not_lie_between_weights(model: ModelProto, edges: list[str]) -> None:
    """Before the first, behind the last, or beside them all."""
    assert float_edges(model, WEIGHTED["int8"]) == edges


def test_an_embedding_counts_as_weights_and_arithmetic_on_shapes_does_not() -> None:
    """Gather of a float table does; Gather of a computed value does not."""
    table = _plain(
        _node("Gather", "embedding", "w", "x"), _node("Neg", "out", "embedding", gives="y")
    )
    picked = _plain(_node("Gather", "picked", "x", "w", gives="y"), weights=("w",))

    assert float_edges(table, WEIGHTED["int8"]) == ["out"]
    with pytest.raises(CannotBuild, match="none of"):
        float_edges(picked, WEIGHTED["int8"])


FLOAT, HALF = {"to": TensorProto.FLOAT}, {"to": TensorProto.FLOAT16}


@pytest.mark.parametrize(
    ("nodes", "left"),
    [
        (
            [
                _node("Neg", "a", "x"),
                _node("Cast", "half", "a", **HALF),
                _node("Cast", "back", "half", **FLOAT),
                _node("Abs", "b", "back", gives="y"),
            ],
            [("Neg", "x", "a"), ("Abs", "a", "y")],
        ),
        (
            [
                _node("Neg", "a", "x"),
                _node("Cast", "half", "a", **HALF),
                _node("Cast", "back", "half", gives="y", **FLOAT),
            ],
            [("Neg", "x", "y")],
        ),
        (
            # Something works in half precision in between: both casts are needed.
            [
                _node("Cast", "half", "x", **HALF),
                _node("Neg", "a", "half"),
                _node("Cast", "back", "a", gives="y", **FLOAT),
            ],
            [("Cast", "x", "half"), ("Neg", "half", "a"), ("Cast", "a", "y")],
        ),
        (
            # The half value has another reader, which keeps it.
            [
                _node("Cast", "half", "x", **HALF),
                _node("Cast", "back", "half", **FLOAT),
                _node("Neg", "a", "half"),
                _node("Cast", "b", "a", **FLOAT),
                _node("Add", "sum", "back", "b", gives="y"),
            ],
            [
                ("Cast", "x", "half"),
                ("Neg", "half", "a"),
                ("Cast", "a", "b"),
                ("Add", "x", "y"),
            ],
        ),
    ],
)
def test_casts_to_half_and_straight_back_go(nodes: list[Any], left: list[Any]) -> None:
    """Where nothing works in half precision between them; the output keeps its name."""
    model = _plain(*nodes)
    drop_round_trips(model)

    assert [(n.op_type, n.input[0], n.output[0]) for n in model.graph.node] == left
