"""What passes are told of a graph is so, and what nobody reads goes."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from zoo.convert.passes.clean import clean
from zoo.convert.passes.constants import captures_to_initializers
from zoo.convert.passes.dead import drop_dead
from zoo.convert.passes.signature import output_dims, restore_inputs
from zoo.convert.passes.view import SMALL, View, attribute, known
from zoo.errors import CheckFailed

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_readers_are_counted_in_every_place(lab: Any) -> None:
    """By one node, by one node twice, by two, by the face, by a nested graph."""
    view = View(
        lab.parse(
            "(float[N, 3] x, bool b) => (float[N, 3] face, float[A, B] y, float[N, 3] z)"
            "{ once = Neg(x) r = Relu(once) twice = Neg(x) t = Mul(twice, twice) two = Neg(x)"
            " u = Abs(two) v = Exp(two) face = Neg(x) f = Abs(face) inside = Neg(x) g = Abs(inside)"
            " z = Sum(r, t, u, v, f, g)"
            " y = If (b) < then_branch = p () => (float[A, B] o) { o = Neg(inside) },"
            " else_branch = q () => (float[A, B] e) { e = Abs(x) }> }"
        )
    )

    assert view.only_reader("once").op_type == "Relu"
    assert [view.only_reader(name) for name in ("twice", "two", "face", "inside")] == [None] * 4
    assert view.read_inside >= {"inside", "x"}


def test_constants_are_initializers_and_constant_nodes(lab: Any) -> None:
    """And nothing else."""
    view = View(
        lab.parse(
            "(float[N, 3] x) => (float[N, 3] y)"
            "{ c = Constant<value = float {2.0}>() a = Mul(x, c) y = Add(a, w) }",
            w=np.ones(3, np.float32),
        )
    )

    assert view.constant("w").tolist() == [1, 1, 1]
    assert view.constant("c").tolist() == 2
    assert view.constant("x") is None
    assert view.constant("a") is None


def test_shapes_are_inferred_with_symbols(lab: Any) -> None:
    """A large constant's too, though its values are not copied for it."""
    view = View(
        lab.parse(
            "(float[N, 64] x) => (float[N, 32] y) { m = MatMul(x, w) y = Relu(m) }",
            w=np.zeros((64, 32), np.float32),
        )
    )

    assert SMALL < 64 * 32
    assert view.shapes["m"] == ("N", 32)
    assert view.shapes["w"] == (64, 32)
    assert view.rank("m") == 2
    assert view.rank("unheard of") is None
    assert known((1, 2))
    assert not known(("N", 2))
    assert not known(None)


def test_fresh_constants_take_no_name(lab: Any) -> None:
    """A name of a node, an input or another constant is not given twice."""
    model = lab.parse(
        "(float[N, 3] shape) => (float[N, 3] y) { shape_1 = Neg(shape) y = Add(shape_1, shape_2) }",
        shape_2=np.ones(3, np.float32),
    )
    view = View(model)

    assert view.add_constant(np.zeros(1), "shape") == "shape_3"
    assert view.add_constant(np.zeros(1), "shape") == "shape_4"
    assert view.constant("shape_4").tolist() == [0]


def test_attributes_have_defaults(lab: Any) -> None:
    """As the operator's documentation has."""
    model = lab.parse("(float[N, 3] x) => (float[3, N] y) { y = Transpose<perm=[1, 0]>(x) }")

    assert attribute(model.graph.node[0], "perm") == [1, 0]
    assert attribute(model.graph.node[0], "absent", 7) == 7


def test_what_nobody_reads_goes(lab: Any) -> None:
    """A chain to nowhere goes whole; what a nested graph or a second answer reads is read."""
    model = lab.parse(
        "(float[1, 3] x, bool b) => (float[1, 3] y, float[1, K] values)"
        "{ lost = Neg(x) further = Exp(lost) inside = Abs(x) values, places = TopK(x, two)"
        " y = If (b) < then_branch = p () => (float[1, 3] o) { o = Neg(inside) },"
        " else_branch = q () => (float[1, 3] e) { e = Abs(x) }> }",
        two=np.array([2]),
    )
    feeds = {"x": ROWS[:1], "b": np.array(True)}
    before = lab.run(model, feeds)
    drop_dead(model)

    assert lab.operators(model) == ["Abs", "TopK", "If"]
    for left, right in zip(before, lab.run(model, feeds), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_value_that_only_a_nested_answer_names_is_read(lab: Any) -> None:
    """A branch may give back an outer value without touching it."""
    model = lab.parse(
        "(float[1, 3] x, bool b) => (float[1, 3] y)"
        "{ inside = Abs(x)"
        " y = If (b) < then_branch = p () => (float[1, 3] o) { o = Neg(x) },"
        " else_branch = q () => (float[1, 3] e) { e = Abs(x) }> }"
    )
    branch = model.graph.node[1].attribute[1].g
    del branch.node[:]
    branch.output[0].name = "inside"
    drop_dead(model)

    assert lab.operators(model) == ["Abs", "If"]


def test_the_passes_together_clean_the_tutorials_flatten(lab: Any) -> None:
    """What one pass leaves, the next finds: from nine nodes to two, with equal answers."""
    model = lab.parse(
        "(float[N, 3, 2, 2] x) => (float[N, 2] y)"
        "{ t = Transpose<perm=[0, 2, 3, 1]>(x) s = Shape(t) b = Slice(s, zero, one)"
        " k = Mul(six, two) l = Concat<axis=0>(b, k) r = Reshape(t, l) m = MatMul(r, w)"
        " a = Add(m, c) y = Identity(a) }",
        zero=np.array([0]),
        one=np.array([1]),
        six=np.array([6]),
        two=np.array([2]),
        w=np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32),
        c=np.ones(2, np.float32),
    )
    feeds = {"x": np.random.default_rng(1).normal(size=(5, 3, 2, 2)).astype(np.float32)}
    (before,) = lab.run(model, feeds)
    clean(model)

    assert lab.operators(model) == ["Reshape", "Gemm"]
    np.testing.assert_allclose(lab.run(model, feeds)[0], before, atol=1e-5)


def test_inputs_that_no_node_reads_come_back_in_order(lab: Any) -> None:
    """A client that feeds what Keras takes must be able to; captures are no inputs of the model."""
    model = lab.parse("(float[N, 3] in_2) => (float[N, 3] out_0) { out_0 = Neg(in_2) }")
    dtypes = {"in_0": "float32", "in_1": "string", "in_2": "float32", "kept": "int64"}
    restore_inputs(model, dtypes, {"kept": np.zeros(1)})

    assert [value.name for value in model.graph.input] == ["in_0", "in_1", "in_2"]
    kinds = [value.type.tensor_type.elem_type for value in model.graph.input]
    assert kinds == [onnx.TensorProto.FLOAT, onnx.TensorProto.STRING, onnx.TensorProto.FLOAT]


def test_output_sizes_are_keras_s_or_the_inputs_symbol(lab: Any) -> None:
    """Then the batch, then a name of the output's own; never a symbol that no input has."""
    model = lab.parse(
        "(float[batch, time, 3] x) => (float[A, B, C, D] y)"
        "{ u = Unsqueeze(x, two) n = NonZero(x) y = Neg(u) }",
        two=np.array([2]),
    )
    model.graph.output[0].type.ClearField("tensor_type")
    model.graph.output[0].type.tensor_type.elem_type = 1
    shapes = output_dims(model, {"y": ("answer", (None, None, 1, 3))})
    strange = output_dims(model, {"n": ("places", (3, None)), "gone": ("other", (None, None))})

    assert shapes == {"y": ("batch", "time", 1, 3)}
    assert strange == {"n": (3, "places_1"), "gone": ("batch", "other_1")}


def test_captured_words_are_words(lab: Any) -> None:
    """TensorFlow hands them over as bytes."""
    model = lab.parse("(float[N] x) => (float[N] y) { y = Neg(x) }")
    model.graph.input.append(helper.make_tensor_value_info("w", onnx.TensorProto.STRING, [2]))
    captures_to_initializers(model, ("x",), {"w": np.array([b"a", b"bc"])})

    assert onnx.numpy_helper.to_array(model.graph.initializer[0]).tolist() == ["a", "bc"]


def test_an_input_of_the_model_is_no_capture(lab: Any) -> None:
    """The model's own inputs stay, whatever was captured under their names."""
    model = lab.parse("(float[N] x) => (float[N] y) { y = Neg(x) }")
    captures_to_initializers(model, ("x",), {"x": np.zeros(1, np.float32)})

    assert [value.name for value in model.graph.input] == ["x"]
    with pytest.raises(CheckFailed, match="does not have"):
        captures_to_initializers(model, (), {})
