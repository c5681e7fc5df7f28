"""Empty tensors that end onnxruntime's process are refused, at the door and inside of the graph.

Each would end the process of the tests if it were run.
"""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from zoo_proto import onnx_graph_pb2 as pb
from zoo_server.backends.onnxruntime.runtime import Runtime
from zoo_server.errors import ExecutionError, InvalidRequest
from zoo_server.inference.cancellation import Cancellation
from zoo_server.repository.graph_file import GUARD, read_graph

RNG = np.random.default_rng(0)


def _weights(name, *shape):
    return numpy_helper.from_array(RNG.standard_normal(shape).astype(np.float32), name)


def _save(path, nodes, inputs, outputs, weights=(), opset=17):
    values = [
        helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()
    ]
    ends = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(nodes, "tiny", values, ends, initializer=list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


GRU = [_weights("W", 1, 15, 4), _weights("R", 1, 15, 5)]
STEPS = {"x": (TensorProto.FLOAT, ["time", "batch", 4])}
GRU_NODE = helper.make_node("GRU", ["x", "W", "R"], ["y"], hidden_size=5)


@pytest.fixture(scope="module")
def runtime():
    return Runtime(provider="cpu", threads=1)


def test_a_request_without_elements_is_refused_by_name(repository, serve, tmp_path):
    """Sixty bytes: a GRU of any length, asked with none; a graph that can is asked on."""
    gru = _save(tmp_path / "gru.onnx", [GRU_NODE], STEPS, ["y"], GRU).read_bytes()
    repository.add("gru", gru, "max_batch_size: 0")
    with serve(repository.path) as wire:
        for shape in ((0, 1, 4), (3, 0, 4)):
            with pytest.raises(Exception, match=r"operator GRU of model 'gru' takes one or more"):
                wire.infer("gru", x=np.zeros(shape, np.float32))

        assert wire.infer("gru", x=np.zeros((3, 1, 4), np.float32))["y"].shape == (3, 1, 1, 5)


def test_a_short_input_that_a_pool_leaves_nothing_of_is_refused(runtime, tmp_path):
    """Conv, pool, GRU: what reaches the GRU is known in the run alone; the answers stay the same."""
    nodes = [
        helper.make_node("Slice", ["x", "two", "last", "axis"], ["rest"]),
        helper.make_node("GRU", ["rest", "W", "R"], ["y"], hidden_size=5),
    ]
    bounds = {"two": 2, "last": 2**62, "axis": 0}
    constants = [numpy_helper.from_array(np.array([v]), name) for name, v in bounds.items()]
    path = _save(tmp_path / "m.onnx", nodes, STEPS, ["y"], [*GRU, *constants])
    plain = _save(tmp_path / "plain.onnx", [GRU_NODE], STEPS, ["y"], GRU)
    session, longer = (
        runtime.open(path, 1, Cancellation()),
        RNG.standard_normal((5, 2, 4)).astype(np.float32),
    )

    for length in (1, 2):
        with pytest.raises(InvalidRequest, match="leaves operator GRU a tensor without elements"):
            session.run(["y"], {"x": longer[:length]})
    expected = runtime.open(plain, 1, Cancellation()).run(["y"], {"x": longer[2:]})
    np.testing.assert_array_equal(session.run(["y"], {"x": longer})[0], expected[0])


def test_what_the_data_leaves_nothing_of_is_refused(runtime, tmp_path):
    """Einsum over the rows that a mask keeps."""
    nodes = [
        helper.make_node("Compress", ["x", "mask"], ["kept"], axis=1),
        helper.make_node("Einsum", ["kept", "kept"], ["y"], equation="bij,bkj->bik"),
    ]
    inputs = {"x": (TensorProto.FLOAT, [2, 3, 4]), "mask": (TensorProto.BOOL, [3])}
    session = runtime.open(_save(tmp_path / "m.onnx", nodes, inputs, ["y"]), 1, Cancellation())
    x = np.ones((2, 3, 4), np.float32)

    assert session.run(["y"], {"x": x, "mask": np.array([1, 0, 0], bool)})[0].shape == (2, 1, 1)
    with pytest.raises(InvalidRequest, match="operator Einsum"):
        session.run(["y"], {"x": x, "mask": np.zeros(3, bool)})
    assert session.traits.open_ended == "Compress"


def test_a_graph_that_needs_no_guard_is_left_as_it_is(tmp_path):
    """The door is enough where nothing on the way can become empty."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["t", "W", "R"], ["y"], hidden_size=5),
    ]
    file = read_graph(_save(tmp_path / "m.onnx", nodes, STEPS, ["y"], GRU))

    assert file.traits.ends_on_empty == "GRU"
    assert not file.traits.open_ended
    assert file.guarded is None


def test_a_guard_inside_of_a_branch(runtime, tmp_path):
    """Subgraphs are walked, and see what lies outside of them."""
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    inner = [
        helper.make_node("Compress", ["x", "mask"], ["kept"], axis=0),
        helper.make_node("Unique", ["kept"], ["y"], axis=1),
    ]
    other = [helper.make_node("Identity", ["x"], ["y"])]
    branches = {
        "then_branch": helper.make_graph(inner, "then", [], [value]),
        "else_branch": helper.make_graph(other, "else", [], [value]),
    }
    nodes = [helper.make_node("If", ["c"], ["y"], **branches)]
    inputs = {
        "x": (TensorProto.FLOAT, [2, 2]),
        "mask": (TensorProto.BOOL, [2]),
        "c": (TensorProto.BOOL, []),
    }
    path = _save(tmp_path / "m.onnx", nodes, inputs, ["y"])
    session = runtime.open(path, 1, Cancellation())
    x, none = np.array([[2, 1], [3, 4]], np.float32), np.zeros(2, bool)

    assert GUARD.encode() in (read_graph(path).guarded or b"")
    assert session.traits.open_ended == "If"
    with pytest.raises(InvalidRequest, match="operator Unique"):
        session.run(["y"], {"x": x, "mask": none, "c": np.array(True)})
    np.testing.assert_array_equal(
        session.run(["y"], {"x": x, "mask": none, "c": np.array(False)})[0], x
    )


def test_weights_in_another_file_are_found_by_a_guarded_graph(runtime, tmp_path):
    """A guarded graph is loaded from memory, and its weights from where it lay."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["at"]),
        helper.make_node("Cast", ["at"], ["steps"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["steps", "zero"], ["rows"]),
        helper.make_node("GRU", ["rows", "W", "R"], ["y"], hidden_size=5),
    ]
    weights = [
        _weights("W", 1, 15, 3), GRU[1], numpy_helper.from_array(np.array([0]), "zero"),
    ]  # fmt: skip
    path = _save(tmp_path / "m.onnx", nodes, {"x": (TensorProto.FLOAT, [3])}, ["y"], weights)
    model = onnx.load(path)
    onnx.save_model(model, path, save_as_external_data=True, size_threshold=64, location="w.bin")
    session = runtime.open(path, 1, Cancellation())

    assert session.run(["y"], {"x": np.ones(3, np.float32)})[0].shape == (1, 1, 1, 5)
    assert len(pb.ModelProto.FromString(path.read_bytes()).graph.node) == 4


def test_a_run_is_ended_between_two_nodes(runtime, tmp_path, graphs):
    """And the session is usable at once after."""
    path = tmp_path / "slow.onnx"
    path.write_bytes(graphs.slow())
    session, cancellation = runtime.open(path, 1, Cancellation()), Cancellation()
    cancellation.cancel()

    with pytest.raises(ExecutionError):
        session.run(["y"], {"n": np.array([2**60])}, cancellation=cancellation)
    assert session.run(["y"], {"n": np.array([3])})[0] == [3]
