"""Long tensors of strings in onnxruntime: they go in and come out in parts, and are the same."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from zoo_server.backends.onnxruntime.strings import StringRun, has_strings
from zoo_server.datatypes import STRINGS_AT_ONCE, object_array

LONG = 2 * STRINGS_AT_ONCE + 1

#: What stands between strings on their way.
SEPARATORS = ["\x1f", "\x1e", "\x1d", "\x1c", "\x02", "\x03"]


@pytest.fixture(scope="module")
def session():
    """y = x, strings of any shape; z = a + 1."""
    shape = ["rows", "n"]
    kinds = {"x": TensorProto.STRING, "a": TensorProto.FLOAT}
    values = {
        name: helper.make_tensor_value_info(name, kind, shape) for name, kind in kinds.items()
    }
    outputs = [
        helper.make_tensor_value_info("y", TensorProto.STRING, shape),
        helper.make_tensor_value_info("z", TensorProto.FLOAT, shape),
    ]
    one = helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])
    nodes = [
        helper.make_node("Identity", ["x"], ["y"]),
        helper.make_node("Add", ["a", "one"], ["z"]),
    ]
    graph = helper.make_graph(nodes, "g", list(values.values()), outputs, [one])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize(
    "words",
    [
        ["ab", "", "é\0", "𝄞"],
        [""],
        ["a\x1fb", "c"],
        SEPARATORS,
        ["a much longer one " * 9, "\x1f\x1e"],
    ],
    ids=["text", "empty", "a separator", "all separators", "long"],
)
@pytest.mark.parametrize("shape", [(1, LONG), (LONG, 1), (3, 1), (0, 4)], ids=str)
def test_strings_come_back_as_they_went_in(session, words, shape):
    """Whatever they hold, however many there are, beside a tensor of numbers."""
    count = shape[0] * shape[1]
    x = object_array([words[index % len(words)] for index in range(count)], shape)
    a = np.arange(count, dtype=np.float32).reshape(shape)

    y, z = StringRun(session, onnxruntime)(["y", "z"], {"x": x, "a": a}, None)

    assert has_strings(session)
    assert y.shape == shape
    assert y.tolist() == x.tolist()
    assert np.array_equal(z, a + 1)
