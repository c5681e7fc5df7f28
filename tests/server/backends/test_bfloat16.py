"""bfloat16, which numpy lacks: graphs compute with it, beside other types, in batches and alone."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.server.byte_strings import parse_bytes
from zoo_proto import grpc_service_pb2 as pb


@pytest.fixture
def mixed(graphs):
    """y = x + a in FP32, z the same in BF16, t the same in words; x is BF16, a FP32."""
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["wide", "a"], ["y"]),
        helper.make_node("Cast", ["y"], ["z"], to=TensorProto.BFLOAT16),
        helper.make_node("Cast", ["y"], ["t"], to=TensorProto.STRING),
    ]
    rows = ["batch", "n"]
    kinds = {
        "x": TensorProto.BFLOAT16, "a": TensorProto.FLOAT, "y": TensorProto.FLOAT,
        "z": TensorProto.BFLOAT16, "t": TensorProto.STRING,
    }  # fmt: skip
    values = {name: graphs.value(name, kind, rows) for name, kind in kinds.items()}
    return graphs.model(nodes, [values[k] for k in "xa"], [values[k] for k in "yzt"])


def upper_half(values):
    """The bits of numbers that bfloat16 holds exactly."""
    return (np.asarray(values, np.float32).view("<u4") >> 16).astype("<u2")


def request(values, rows=1):
    count = len(values) // rows if values else 0
    message = pb.ModelInferRequest(model_name="m")
    for name, kind, raw in (
        ("x", "BF16", upper_half(values).tobytes()),
        ("a", "FP32", np.full(len(values), 0.5, np.float32).tobytes()),
    ):
        message.inputs.add(name=name, datatype=kind, shape=[rows, count])
        message.raw_input_contents.append(raw)
    return message


def test_a_graph_computes_with_it(repository, mixed, serve):
    """Inputs and outputs of three types at once, on rows, on one row and on none of an element."""
    repository.add("m", mixed, "max_batch_size: 8")
    with serve(repository.path) as wire:
        for values, rows in (([1, -2, 64, 0.25], 2), ([3], 1), ([], 2)):
            answer = wire.stub.ModelInfer(request(values, rows))
            y, z, t = answer.raw_output_contents
            expected = np.asarray(values, np.float32) + np.float32(0.5)
            assert y == expected.tobytes()
            assert z == upper_half(expected).tobytes()
            assert parse_bytes(t, len(values)) == [b"%g" % value for value in expected]
            assert [output.datatype for output in answer.outputs] == ["FP32", "BF16", "BYTES"]


def test_callers_in_one_batch_get_their_own(repository, mixed, serve):
    """Requests that are joined to a run have their rows of its bits."""
    repository.add("m", mixed, "max_batch_size: 8 dynamic_batching { }")
    with serve(repository.path) as wire, ThreadPoolExecutor(8) as pool:
        numbers = list(range(64))
        answers = list(pool.map(lambda n: wire.stub.ModelInfer(request([n])), numbers))

    outputs = [answer.raw_output_contents[1] for answer in answers]
    assert outputs == [upper_half([n + 0.5]).tobytes() for n in numbers]


def test_strings_beside_it_are_refused_at_load(repository, graphs, serve):
    """onnxruntime makes no OrtValue of strings, and says so only in a run: we say so before."""
    kinds = {"x": TensorProto.BFLOAT16, "s": TensorProto.STRING}
    values = {name: graphs.value(name, kind, ["n"]) for name, kind in kinds.items()}
    outputs = [graphs.value("y", kinds["x"], ["n"]), graphs.value("t", kinds["s"], ["n"])]
    nodes = [
        helper.make_node("Identity", ["x"], ["y"]),
        helper.make_node("Identity", ["s"], ["t"]),
    ]
    repository.add("m", graphs.model(nodes, list(values.values()), outputs))
    with serve(repository.path) as wire:
        (entry,) = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models

    assert entry.state == "UNAVAILABLE"
    assert "input 's' is BYTES in a graph that has BF16" in entry.reason


def test_it_has_no_classes(repository, graphs, serve):
    """Bits have no order that means anything: INVALID_ARGUMENT, as for FP16."""
    repository.add("m", graphs.identity(TensorProto.BFLOAT16))
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype="BF16", shape=[1, 4])
    message.raw_input_contents.append(bytes(8))
    message.outputs.add(name="y").parameters["classification"].int64_param = 1
    with serve(repository.path) as wire, pytest.raises(grpc.RpcError) as caught:
        wire.stub.ModelInfer(message)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "class result not available for output due to unsupported type 'BF16'" in (
        caught.value.details()
    )
