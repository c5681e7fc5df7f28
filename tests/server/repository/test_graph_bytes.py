"""A file is read without the values of its weights; what is no message is said to be none."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from zoo_server.repository import graph_bytes
from zoo_server.repository.graph_bytes import read_model, with_weights_in_place, without_weights


def weighty():
    weights = [
        numpy_helper.from_array(np.ones((64, 64), np.float32), "raw"),
        helper.make_tensor("typed", onnx.TensorProto.FLOAT, [1000], np.ones(1000)),
        numpy_helper.from_array(np.array([2, -1], np.int64), "shape"),
    ]
    node = helper.make_node("Add", ["x", "raw"], ["y"])
    value = helper.make_tensor_value_info("x", 1, ["n", 64])
    graph = helper.make_graph(
        [node], "g", [value], [helper.make_empty_tensor_value_info("y")], weights
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_all_but_the_values_is_there(tmp_path):
    """Names, dimensions and short values stay."""
    model = weighty()
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    for tensor in model.graph.initializer[:2]:
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")

    assert onnx.ModelProto.FromString(without_weights(path)) == model


def test_weights_are_external_data_in_the_file_itself(tmp_path):
    """They are read from there, and the model is the same."""
    model = weighty()
    del model.graph.initializer[1]
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    placed = onnx.ModelProto.FromString(with_weights_in_place(path))
    assert not placed.graph.initializer[0].raw_data

    onnx.load_external_data_for_model(placed, str(tmp_path))
    for tensor in placed.graph.initializer:
        tensor.ClearField("data_location")
    assert placed == model


def test_values_that_are_not_raw_bytes_have_no_place(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(weighty(), path)
    with pytest.raises(ValueError, match="not raw bytes"):
        with_weights_in_place(path)


@pytest.mark.parametrize("cut", range(1, 200, 13))
def test_what_is_cut_off_is_refused(tmp_path, cut):
    """Wherever it ends."""
    path = tmp_path / "m.onnx"
    path.write_bytes(weighty().SerializeToString()[:-cut])
    with pytest.raises(ValueError, match="cut off"):
        onnx.ModelProto.FromString(without_weights(path))


@pytest.mark.parametrize("content", [b"\xff" * 40, b"\x0b\x0c", b"hello"])
def test_what_is_no_message_is_refused(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no protobuf message"):
        without_weights(path)


def test_what_reaches_beyond_its_message_is_refused(tmp_path):
    """The graph is three bytes long, of which the last begins a number that ends behind it."""
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x3a\x03\x0a\x00\x08\x01")
    with pytest.raises(ValueError, match="cut off"):
        without_weights(path)


def test_a_small_file_is_read_whole(tmp_path, monkeypatch):
    """A large one without its weights, and what is no message not at all."""
    path = tmp_path / "m.onnx"
    onnx.save(weighty(), path)
    assert onnx.ModelProto.FromString(read_model(path).SerializeToString()) == weighty()

    monkeypatch.setattr(graph_bytes, "_SMALL_FILE", 0)
    bare = onnx.ModelProto.FromString(without_weights(path))
    assert onnx.ModelProto.FromString(read_model(path).SerializeToString()) == bare
    path.write_bytes(b"hello")
    assert read_model(path) is None
