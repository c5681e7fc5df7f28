"""Matrices of dense layers in 4 and 8 bits, in graphs made by hand."""

from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from zoo.parity.runtimes import OnnxRuntime
from zoo.quantize.build import CannotBuild, build
from zoo.quantize.weights import BLOCK, rounded

BITS = {"w8": 8, "w4": 4}


@pytest.fixture(scope="module")
def dense(lab: ModuleType) -> ModelProto:
    """MatMul, Gemm with a transposed matrix, with and without Relu; 70 is no whole block."""
    g = lab.Graph()
    x = g.add("Relu", g.add("MatMul", "x", g.constant(_normal(70, 64))))
    x = g.add("Relu", g.add("Gemm", x, g.weight(64, 64), g.weight(64), transB=1))
    x = g.add(
        "MatMul", g.add("MatMul", x, g.constant(_normal(64, 64))), g.constant(-_normal(64, 64))
    )
    g.add("Gemm", x, g.constant(_normal(64, 3)), to="y")
    model: ModelProto = g.model({"x": (70,)}, {"y": (3,)})
    return model


def _normal(*shape: int) -> np.ndarray:
    values = np.random.default_rng(shape[0]).normal(size=shape) / np.sqrt(shape[0])
    return values.astype(np.float32)


@pytest.mark.parametrize(("kind", "share", "size"), [("w8", 0.03, 0.4), ("w4", 0.3, 0.3)])
def test_it_answers_near_to_fp32_and_is_smaller(
    lab: ModuleType, dense: ModelProto, kind: str, share: float, size: float
) -> None:
    """Standard operators alone; small matrices and biases stay as they are."""
    variant = build(kind, dense, [])
    feeds = lab.rows(dense, 50)
    expected = OnnxRuntime().load(dense.SerializeToString())(feeds)["y"]
    answers = OnnxRuntime().load(variant.SerializeToString())(feeds)["y"]

    onnx.checker.check_model(variant, full_check=True)
    assert np.sqrt(np.mean((answers - expected) ** 2)) < share * np.std(expected)
    assert len(variant.SerializeToString()) < size * len(dense.SerializeToString())
    assert {node.domain for node in variant.graph.node} == {""}
    assert [(o.domain, o.version) for o in variant.opset_import] == [("", 21)]
    kinds = [n.op_type for n in variant.graph.node]
    assert (kinds.count("DequantizeLinear"), kinds.count("Gemm")) == (4, 2)
    assert list(variant.metadata_props) == list(dense.metadata_props)


@pytest.mark.parametrize("kind", BITS)
def test_onnxruntime_runs_the_pair_as_one(
    dense: ModelProto, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Else each run would write the matrices out again."""
    path = tmp_path_factory.mktemp("optimized") / "optimized.onnx"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(build(kind, dense, []).SerializeToString(), options)
    kinds = [node.op_type for node in onnx.load(path).graph.node]

    assert kinds.count("MatMulNBits") == 4
    assert "DequantizeLinear" not in kinds


@pytest.mark.parametrize("bits", BITS.values())
def test_numbers_are_rounded_to_the_nearest(bits: int) -> None:
    """By half a step of their block at most; zeros stay zeros, and the largest stays what it is."""
    matrix = _normal(70, 5)
    matrix[:, 0] = 0
    values, scales = rounded(matrix, bits)
    back = values.astype(np.float32) * scales.repeat(BLOCK, axis=0)[:70]

    assert scales.shape == (3, 5)
    assert np.abs(back - matrix).max(axis=0).tolist() <= (scales.max(axis=0) / 2 + 1e-7).tolist()
    assert not back[:, 0].any()
    largest = np.abs(matrix[:BLOCK]).argmax(axis=0)[1:]
    assert np.allclose(back[largest, range(1, 5)], matrix[largest, range(1, 5)], rtol=1e-6)


def test_a_graph_without_large_matrices_has_no_such_variant(lab: ModuleType) -> None:
    """The reason says how large one must be."""
    with pytest.raises(CannotBuild, match=r"no matrix of a dense layer has 1024 numbers"):
        build("w4", lab.small_cnn(), [])


@pytest.mark.parametrize("opset", [17, 22])
def test_operators_of_other_sets_stay(lab: ModuleType, opset: int) -> None:
    """Each set is there once, the standard one not lower than it was, in whatever order they came."""
    g = lab.Graph()
    table = {"keys_floats": [1.0], "values_floats": [2.0], "default_float": 0.5}
    looked_up = g.add("LabelEncoder", "x", domain="ai.onnx.ml", **table)
    g.add("MatMul", looked_up, g.constant(_normal(64, 64)), to="y")
    model = g.model({"x": (64,)}, {"y": (64,)})
    del model.opset_import[:]
    model.opset_import.extend(
        [onnx.helper.make_opsetid("ai.onnx.ml", 2), onnx.helper.make_opsetid("", opset)]
    )
    variant = build("w8", model, [])

    assert [(o.domain, o.version) for o in variant.opset_import] == [
        ("", max(21, opset)),
        ("ai.onnx.ml", 2),
    ]


def test_the_same_model_gives_the_same_bytes(dense: ModelProto) -> None:
    """Names and order depend on the graph alone."""
    first, second = (build("w4", dense, []).SerializeToString() for _ in range(2))
    tensors = [numpy_helper.to_array(t) for t in onnx.load_from_string(first).graph.initializer]

    assert first == second
    assert {t.data_type for t in onnx.load_from_string(first).graph.initializer} >= {
        TensorProto.INT4
    }
    assert len(tensors) > 6
