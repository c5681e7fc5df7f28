"""What tf2onnx writes wrong of convolutions: forgotten groups, negative padding."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from zoo.convert.passes.groups import set_groups
from zoo.convert.passes.output_padding import negative_pads_to_output_padding
from zoo.convert.passes.view import View

RANDOM = np.random.default_rng(0)


def _group(model: onnx.ModelProto) -> int:
    return next((int(a.i) for a in model.graph.node[0].attribute if a.name == "group"), 1)


def _convolution(taken: int, attributes: str = "", channels: str = "4") -> onnx.ModelProto:
    """A graph as tf2onnx writes it, which no checker has seen."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> graph '
        f"(float[N, {channels}, 5, 5] x) => (float[N, 6, 4, 4] y) {{ y = Conv{attributes}(x, w) }}"
    )
    weight = RANDOM.normal(size=(6, taken, 2, 2)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    return model


def test_missing_groups_are_counted(lab: Any) -> None:
    """Four channels, two of which each output takes: two groups, and the answer of two halves."""
    model = _convolution(2)
    rows = RANDOM.normal(size=(3, 4, 5, 5)).astype(np.float32)

    assert set_groups(View(model))
    assert _group(model) == 2
    whole = lab.run(model, {"x": rows})[0]
    for half in (0, 1):
        part = lab.parse(
            "(float[N, 2, 5, 5] x) => (float[N, 3, 4, 4] y) { y = Conv(x, w) }",
            w=onnx.numpy_helper.to_array(model.graph.initializer[0])[3 * half : 3 * half + 3],
        )
        (answer,) = lab.run(part, {"x": np.ascontiguousarray(rows[:, 2 * half : 2 * half + 2])})
        np.testing.assert_allclose(whole[:, 3 * half : 3 * half + 3], answer, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        _convolution(4),  # takes all
        _convolution(2, "<group=2>"),  # says so
        _convolution(3),  # three of four are no fraction
        _convolution(2, channels="C"),  # nobody knows how many there are
    ],
    ids=["one group", "said", "no fraction", "unknown"],
)
def test_other_convolutions_are_left_alone(model: onnx.ModelProto) -> None:
    """What is right, and what only the checker can refuse."""
    before = model.SerializeToString()

    assert not set_groups(View(model))
    assert model.SerializeToString() == before


def test_a_group_of_one_is_corrected_not_repeated() -> None:
    """An attribute may occur once."""
    model = _convolution(2, "<group=1>")

    assert set_groups(View(model))
    assert [a.name for a in model.graph.node[0].attribute] == ["group"]


def _transposed(**attributes: list[int]) -> onnx.ModelProto:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], **attributes)
    x, y = (
        helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["N", 1, "H", "W"]) for n in "xy"
    )
    weight = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    graph = helper.make_graph([node], "g", [x], [y], [onnx.numpy_helper.from_array(weight, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_negative_padding_is_output_padding(lab: Any) -> None:
    """One row and column more, which no input reaches; the rest is as without it."""
    model = _transposed(strides=[2, 2], pads=[0, 0, -1, -1])
    rows = RANDOM.normal(size=(2, 1, 4, 5)).astype(np.float32)

    assert negative_pads_to_output_padding(View(model))
    onnx.checker.check_model(model, full_check=True)
    (answer,) = lab.run(model, {"x": rows})
    (plain,) = lab.run(_transposed(strides=[2, 2]), {"x": rows})
    assert answer.shape == (2, 1, 10, 12)
    np.testing.assert_allclose(answer[:, :, :-1, :-1], plain, atol=1e-5)
    np.testing.assert_array_equal(answer[:, :, -1], 0)
    np.testing.assert_array_equal(answer[:, :, :, -1], 0)
    assert not negative_pads_to_output_padding(View(model))


def test_one_axis_alone_is_mended(lab: Any) -> None:
    """The other one's padding, and output padding that was there, are kept."""
    model = _transposed(strides=[2, 3], pads=[0, 0, 1, -1], output_padding=[0, 1])

    assert negative_pads_to_output_padding(View(model))
    attributes = {a.name: list(a.ints) for a in model.graph.node[0].attribute}
    assert attributes["pads"] == [0, 0, 1, 0]
    assert attributes["output_padding"] == [0, 2]


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2, 2], "pads": [0, 0, 1, 1]},
        {"strides": [2, 2], "pads": [-1, 0, -1, 0]},  # a beginning would shift everything
        {"strides": [1, 1], "pads": [0, 0, -1, -1]},  # ONNX allows less than the stride
        {"strides": [2, 2]},
    ],
)
def test_other_padding_is_left_to_the_checker(attributes: dict[str, list[int]]) -> None:
    """What is right stays, and what has no equal is refused later."""
    model = _transposed(**attributes)
    before = model.SerializeToString()

    assert not negative_pads_to_output_padding(View(model))
    assert model.SerializeToString() == before
