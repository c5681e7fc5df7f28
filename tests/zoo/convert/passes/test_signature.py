"""The passes over an exported graph, on small graphs made by hand."""

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from zoo.convert.passes.canonical import canonicalize
from zoo.convert.passes.constants import captures_to_initializers
from zoo.convert.passes.order import order_nodes
from zoo.convert.passes.signature import write_signature
from zoo.errors import CheckFailed


def _graph(prefix: str = "sequential_3/dense_7", order: int = 1) -> onnx.ModelProto:
    """x -> x * scale + offset, with names as tf2onnx makes them."""
    scale = numpy_helper.from_array(np.array([2.0], np.float32), f"{prefix}/scale:0")
    offset = numpy_helper.from_array(np.array([1.0], np.float32), f"{prefix}/offset:0")
    unused = numpy_helper.from_array(np.array([9.0], np.float32), f"{prefix}/unused:0")
    nodes = [
        helper.make_node("Mul", ["x", f"{prefix}/scale:0"], [f"{prefix}/mul:0"], f"{prefix}/mul"),
        helper.make_node("Add", [f"{prefix}/mul:0", f"{prefix}/offset:0"], ["y"], f"{prefix}/add"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["unk__1", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["unk__2", 2])
    inner = helper.make_tensor_value_info(f"{prefix}/mul:0", TensorProto.FLOAT, ["unk__3", 2])
    graph = helper.make_graph(
        nodes,
        "tf2onnx",
        [x],
        [y],
        [scale, unused, offset][::order],
        doc_string=f"function {prefix}",
        value_info=[inner],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _run(model: onnx.ModelProto) -> np.ndarray:
    rows = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    (result,) = ReferenceEvaluator(model).run(None, {"x": rows})
    return result


def test_canonical_names_do_not_depend_on_the_process() -> None:
    """Two exports of one model differ in counters and in the order of weights; their bytes do not."""
    left, right = _graph("sequential_3/dense_7"), _graph("sequential/dense", order=-1)
    for model in (left, right):
        write_signature(model, {"x": (None, 2), "y": (None, 2)})
        canonicalize(model)

    assert left.SerializeToString(deterministic=True) == right.SerializeToString(deterministic=True)
    assert "dense" not in str(left)


def _branches(*order: int) -> onnx.ModelProto:
    """y = (-x) + If(x's sum > 0: exp(|x|), else |x|), z = sqrt(|x|), the nodes in another order."""
    value = helper.make_tensor_value_info
    inner = [
        helper.make_graph(
            [helper.make_node(kind, ["size"], [f"{kind}:0"])],
            kind,
            [],
            [value(f"{kind}:0", TensorProto.FLOAT, None)],
        )
        for kind in ("Exp", "Identity")
    ]
    zero = numpy_helper.from_array(np.array(0, np.float32), "zero")
    nodes = [
        helper.make_node("Neg", ["x"], ["less"]),
        helper.make_node("Abs", ["x"], ["size"]),
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["positive"]),
        helper.make_node(
            "If", ["positive"], ["chosen"], then_branch=inner[0], else_branch=inner[1]
        ),
        helper.make_node("Sqrt", ["size"], ["z"]),
        helper.make_node("Add", ["less", "chosen"], ["y"]),
    ]
    graph = helper.make_graph(
        [nodes[at] for at in order],
        "branches",
        [value("x", TensorProto.FLOAT, ["batch", 2])],
        [value("y", TensorProto.FLOAT, ["batch", 2]), value("z", TensorProto.FLOAT, ["batch", 2])],
        [zero],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_order_of_branches_is_the_graphs_own() -> None:
    """Whatever order the nodes come in: what the outputs need, depth first, nested reads too."""
    rows = np.array([[1.0, 2.0], [3.0, -4.0]], np.float32)
    orders = ((0, 1, 2, 3, 4, 5, 6), (2, 3, 1, 5, 0, 4, 6), (1, 5, 2, 3, 4, 0, 6))
    models = [_branches(*order) for order in orders]
    wanted = ReferenceEvaluator(models[0]).run(None, {"x": rows})
    for model in models:
        canonicalize(model)
        onnx.checker.check_model(model, full_check=True)
        outputs = ReferenceEvaluator(model).run(None, {"x": rows})
        for left, right in zip(wanted, outputs, strict=True):
            np.testing.assert_array_equal(left, right)

    assert len({model.SerializeToString(deterministic=True) for model in models}) == 1
    assert [node.op_type for node in models[0].graph.node] == [
        "Neg", "ReduceSum", "Greater", "Abs", "If", "Add", "Sqrt",
    ]  # fmt: skip


def test_a_deep_graph_is_ordered_too() -> None:
    """Thousands of nodes in a row, given backwards: no limit of Python's stands in the way."""
    names = ["x", *(f"n{at}" for at in range(3000)), "y"]
    nodes = [helper.make_node("Neg", [left], [right]) for left, right in pairwise(names)]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes[::-1],
        "deep",
        [value("x", TensorProto.FLOAT, [1])],
        [value("y", TensorProto.FLOAT, [1])],
    )
    order_nodes(graph)

    assert [node.output[0] for node in graph.node] == names[1:]


def _repeated(first: int) -> onnx.ModelProto:
    """A branch whose two outputs are one value; one is an Identity of the other, and which may vary.

    So may the order of the branch's weights, as that of y and z outside.
    """
    value = helper.make_tensor_value_info
    names = ["a", "b"][:: 1 if first == 0 else -1]
    one, two = (
        numpy_helper.from_array(np.array([n], np.float32), name) for n, name in ((1, "w"), (2, "v"))
    )
    then = helper.make_graph(
        [
            helper.make_node("Add", ["x", "w"], ["sum"]),
            helper.make_node("Mul", ["sum", "v"], [names[0]]),
            helper.make_node("Identity", [names[0]], [names[1]]),
        ],
        "then",
        [],
        [value(name, TensorProto.FLOAT, None) for name in ("a", "b")],
        [one, two][:: 1 if first == 0 else -1],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["c"]), helper.make_node("Abs", ["x"], ["d"])],
        "else",
        [],
        [value(name, TensorProto.FLOAT, None) for name in ("c", "d")],
    )
    outer = ["y", "z"][:: 1 if first == 0 else -1]
    nodes = [
        helper.make_node("If", ["yes"], ["p", "q"], then_branch=then, else_branch=other),
        helper.make_node("Sub", ["p", "q"], [outer[0]]),
        helper.make_node("Identity", [outer[0]], [outer[1]]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, [1]), value("yes", TensorProto.BOOL, [])],
        [value(name, TensorProto.FLOAT, [1]) for name in ("y", "z")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_outputs_that_are_one_value_come_out_in_one_order() -> None:
    """A Loop's state that is its answer too: which has an Identity must not vary by hash seed."""
    left, right = _repeated(0), _repeated(1)
    for model in (left, right):
        canonicalize(model)
        onnx.checker.check_model(model, full_check=True)

    assert left.SerializeToString(deterministic=True) == right.SerializeToString(deterministic=True)
    assert [value.name for value in left.graph.output] == ["y", "z"]
    feeds = {"x": np.array([3.0], np.float32), "yes": np.array(False)}
    results = ReferenceEvaluator(left).run(None, feeds)
    np.testing.assert_array_equal(results, [[-6.0], [-6.0]])


def test_canonicalizing_keeps_the_answer_and_the_face() -> None:
    """Inputs and outputs keep their names; unused weights and operator sets go."""
    model = _graph()
    before = _run(model)
    canonicalize(model)

    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_array_equal(_run(model), before)
    assert [v.name for v in (*model.graph.input, *model.graph.output)] == ["x", "y"]
    assert len(model.graph.initializer) == 2
    assert [o.domain for o in model.opset_import] == [""]


def test_sizes_in_nested_graphs_have_no_names(lab: Any) -> None:
    """Those of tf2onnx's loops are counted through the process: a second export had other bytes."""
    left, right = (_looped(f"unk__{number}") for number in (363, 730))
    for model in (left, right):
        canonicalize(model)
        onnx.checker.check_model(model, full_check=True)

    assert left.SerializeToString(deterministic=True) == right.SerializeToString(deterministic=True)
    assert lab.run(left, {"x": np.array([3.0], np.float32)})[0].tolist() == [24.0]


def _looped(size: str) -> onnx.ModelProto:
    """A Loop that doubles its state three times, of a size that has a name."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Add", ["state", "state"], ["twice"]),
        ],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("state", TensorProto.FLOAT, [size]),
        ],
        [value("on", TensorProto.BOOL, []), value("twice", TensorProto.FLOAT, [size])],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)],
        "g",
        [value("x", TensorProto.FLOAT, ["batch"])],
        [value("y", TensorProto.FLOAT, ["batch"])],
        [numpy_helper.from_array(np.array(3), "count")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_names_in_nested_graphs_follow() -> None:
    """A branch that reads an outer value still reads it after renaming."""
    then = helper.make_graph(
        [helper.make_node("Neg", ["long/name:0"], ["then/out:0"])],
        "then",
        [],
        [helper.make_tensor_value_info("then/out:0", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["long/name:0"], ["else/out:0"])],
        "else",
        [],
        [helper.make_tensor_value_info("else/out:0", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Abs", ["x"], ["long/name:0"]),
        helper.make_node("ReduceMin", ["x"], ["least:0"], keepdims=0),
        helper.make_node("Less", ["least:0", "zero:0"], ["negative:0"]),
        helper.make_node("If", ["negative:0"], ["y"], then_branch=then, else_branch=other),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(np.array(0.0, np.float32), "zero:0")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    canonicalize(model)

    onnx.checker.check_model(model, full_check=True)
    for rows in (np.array([[-1.0, 2.0]], np.float32), np.array([[1.0, 2.0]], np.float32)):
        (result,) = ReferenceEvaluator(model).run(None, {"x": rows})
        np.testing.assert_array_equal(result, -abs(rows) if rows.min() < 0 else rows)


def test_the_signature_names_the_batch_and_drops_inner_shapes() -> None:
    """Input and output share one batch; nothing else carries a shape."""
    model = _graph()
    write_signature(model, {"x": (None, 2), "y": (None, 2)})
    dims = [
        [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in model.graph.input
    ]

    assert dims == [["batch", 2]]
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert not model.graph.value_info


@pytest.mark.parametrize(
    "shapes", [{"x": (None, 3), "y": (None, 2)}, {"x": (None, 2, 2), "y": (None, 2)}]
)
def test_a_shape_that_contradicts_keras_is_refused(
    shapes: dict[str, tuple[int | None, ...]],
) -> None:
    """A silently different size or rank is the worst export of all."""
    with pytest.raises(CheckFailed, match="in the exported graph and"):
        write_signature(_graph(), shapes)


def test_a_renamed_output_is_refused() -> None:
    """The graph's names must be the model's."""
    with pytest.raises(CheckFailed, match=r"where the model has"):
        write_signature(_graph(), {"x": (None, 2), "z": (None, 2)})


def _leaking() -> onnx.ModelProto:
    """The same graph with its offset leaked as an input, as Normalization's mean is."""
    model = _graph()
    leaked = model.graph.initializer[2]
    model.graph.input.append(helper.make_tensor_value_info(leaked.name, TensorProto.FLOAT, [1]))
    del model.graph.initializer[2]
    return model


def test_a_captured_constant_becomes_an_initializer() -> None:
    """The only inputs left are the model's, and the answer is the one with the constant."""
    model = _leaking()
    name = model.graph.input[1].name
    captures_to_initializers(model, ("x",), {name: np.array([1.0], np.float32)})

    assert [value.name for value in model.graph.input] == ["x"]
    np.testing.assert_array_equal(_run(model), _run(_graph()))


def test_an_unknown_extra_input_is_refused_by_name() -> None:
    """An input that nobody could feed is an error, not a file."""
    with pytest.raises(CheckFailed, match=r"offset:0"):
        captures_to_initializers(_leaking(), ("x",), {})
