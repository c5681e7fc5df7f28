"""Ragged batching: requests of different sizes in one run; what Triton's L0_batch_input asserts, and mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.server.http_callers import HttpCaller
from tests.server.onnx_graphs import Graphs
from tests.server.web_callers import WebCaller
from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import tensorflow_serving_pb2 as tfs

FLOAT = TensorProto.FLOAT

#: Four rows make a run, however long they take to come.
FOUR = "max_batch_size: 4 dynamic_batching { max_queue_delay_microseconds: 60000000 }"
RAGGED = 'input [{ name: "x" data_type: TYPE_FP32 dims: [ -1 ] allow_ragged_batch: true }]'


def batch_input(kind: str, name: str, datatype: str = "FP32") -> str:
    return (
        f'batch_input [{{ kind: BATCH_{kind} target_name: "{name}" data_type: TYPE_{datatype} '
        f'source_input: "x" }}]'
    )


def told(graphs: Graphs, shape: tuple = (None,), kind: int = FLOAT) -> bytes:
    """x of all and what is told of it, each in every request's row: the graph of Triton's test."""
    nodes = [
        helper.make_node("Shape", ["count"], ["rows"]),
        helper.make_node("Shape", ["told"], ["length"]),
        helper.make_node("Size", ["x"], ["size"]),
        helper.make_node("Unsqueeze", ["size", "first"], ["sizes"]),
        helper.make_node("ReduceProd", ["length"], ["flat_length"], keepdims=1),
        helper.make_node("Concat", ["rows", "sizes"], ["all_x"], axis=0),
        helper.make_node("Concat", ["rows", "flat_length"], ["all_told"], axis=0),
        helper.make_node("Expand", ["x", "all_x"], ["seen"]),
        helper.make_node("Reshape", ["told", "flat"], ["flat_told"]),
        helper.make_node("Expand", ["flat_told", "all_told"], ["said"]),
    ]
    constants = (
        numpy_helper.from_array(np.array([0]), "first"),
        numpy_helper.from_array(np.array([-1]), "flat"),
    )
    value = graphs.value
    return graphs.model(
        nodes,
        [
            value("x", FLOAT, [None]),
            value("count", FLOAT, [None]),
            value("told", kind, list(shape)),
        ],
        [value("seen", FLOAT, [None, None]), value("said", kind, [None, None])],
        constants,
    )


def sums(graphs: Graphs) -> bytes:
    """The sum of each request's elements, from where they begin and end."""
    nodes = [
        helper.make_node("CumSum", ["x", "axis"], ["summed"]),
        helper.make_node("Concat", ["nought", "summed"], ["upto"], axis=0),
        helper.make_node("Gather", ["upto", "ends"], ["at"]),
        helper.make_node("Slice", ["at", "one", "far"], ["to"]),
        helper.make_node("Slice", ["at", "none", "last"], ["begun"]),
        helper.make_node("Sub", ["to", "begun"], ["flat"]),
        helper.make_node("Unsqueeze", ["flat", "one"], ["y"]),
    ]
    constants = {
        "axis": np.array(0), "nought": np.zeros(1, np.float32), "one": np.array([1]),
        "none": np.array([0]), "far": np.array([2**40]), "last": np.array([-1]),
    }  # fmt: skip
    value = graphs.value
    return graphs.model(
        nodes,
        [value("x", FLOAT, [None]), value("ends", TensorProto.INT32, [None])],
        [value("y", FLOAT, [None, 1])],
        tuple(numpy_helper.from_array(array, name) for name, array in constants.items()),
    )


SUMS = f"{RAGGED} {batch_input('ACCUMULATED_ELEMENT_COUNT_WITH_ZERO', 'ends', 'INT32')}"


def rows(*lengths: int) -> list[np.ndarray]:
    """Rows that have their length as values."""
    return [np.full((1, length), length, np.float32) for length in lengths]


def ask_all(wire: Any, requests: list[Any]) -> list[Any]:
    """Send requests, each once the one before it waits, and return their answers."""
    model = wire.server.catalog.find("m", "")
    asked = []
    for number, request in enumerate(requests):
        until(lambda number=number: model.waiting == number)
        asked.append(wire.stub.ModelInfer.future(request, timeout=60))
    return [one.result() for one in asked]


def of(make_request: Callable[..., Any], arrays: list[np.ndarray]) -> list[Any]:
    return [make_request("m", x=array) for array in arrays]


def array_of(response: Any, name: str, dtype: Any = np.float32) -> np.ndarray:
    index = [output.name for output in response.outputs].index(name)
    raw = response.raw_output_contents[index]
    return np.frombuffer(raw, dtype).reshape(response.outputs[index].shape)


KINDS = {
    "ELEMENT_COUNT": [2, 4, 1, 3],
    "ACCUMULATED_ELEMENT_COUNT": [2, 6, 7, 10],
    "ACCUMULATED_ELEMENT_COUNT_WITH_ZERO": [0, 2, 6, 7, 10],
    "ITEM_SHAPE_FLATTEN": [2, 4, 1, 3],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("datatype", ["FP32", "INT32"])
def test_the_graph_is_told_of_every_request(
    kind, datatype, repository, graphs, serve, make_request
):
    """Four requests of one run: their elements one after the other, and the counts of Triton's test."""
    count = batch_input("ELEMENT_COUNT", "count")
    number = FLOAT if datatype == "FP32" else TensorProto.INT32
    config = f"{FOUR} {RAGGED} {count} {batch_input(kind, 'told', datatype)}"
    repository.add("m", told(graphs, kind=number), config)
    with serve(repository.path) as wire:
        answers = ask_all(wire, of(make_request, rows(2, 4, 1, 3)))
    for answer in answers:
        assert array_of(answer, "seen").tolist() == [[2, 2, 4, 4, 4, 4, 1, 3, 3, 3]]
        said = array_of(answer, "said", np.float32 if datatype == "FP32" else np.int32)
        assert said.tolist() == [KINDS[kind]]


def test_the_largest_request_is_told_by_a_shape(repository, graphs, serve, make_request):
    """Of four: its values mean nothing."""
    count = batch_input("ELEMENT_COUNT", "count")
    config = f"{FOUR} {RAGGED} {count} {batch_input('MAX_ELEMENT_COUNT_AS_SHAPE', 'told')}"
    repository.add("m", told(graphs), config)
    with serve(repository.path) as wire:
        answers = ask_all(wire, of(make_request, rows(2, 4, 1, 3)))
    assert [array_of(answer, "said").shape for answer in answers] == [(1, 4)] * 4


@pytest.mark.parametrize("flat", [False, True])
def test_items_have_shapes(flat, repository, graphs, serve, make_request):
    """One a row, also of a request of two; one below the other, or in one dimension."""
    kind = "ITEM_SHAPE_FLATTEN" if flat else "ITEM_SHAPE"
    shape = (None,) if flat else (None, 2)
    config = (
        f"{FOUR} {RAGGED.replace('-1', '-1, -1')} {batch_input(kind, 'told')} "
        'input [{ name: "count" data_type: TYPE_FP32 dims: [] }]'
    )
    repository.add("m", told(graphs, shape), config)
    shapes = [(2, 1, 2), (1, 1, 3), (1, 2, 2)]
    with serve(repository.path) as wire:
        answers = ask_all(
            wire,
            [
                make_request("m", x=np.ones(shape, "f4"), count=np.ones(shape[0], "f4"))
                for shape in shapes
            ],
        )
    for answer, (batch, *_) in zip(answers, shapes, strict=True):
        assert array_of(answer, "said").tolist() == [[1, 2, 1, 2, 1, 3, 2, 2]] * batch


def test_an_output_is_split_by_the_shapes_of_an_input(repository, graphs, serve, make_request):
    """Triton's ragged_io: to each the elements that it sent, in its shape."""
    scatter = (
        'output [{ name: "y" data_type: TYPE_FP32 dims: [ -1 ] }] batch_output [{ target_name: "y" '
        'kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" }]'
    )
    repository.add("m", graphs.identity(shape=("n",)), f"{FOUR} {RAGGED} {scatter}")
    sent = [*rows(2, 4), np.arange(6, dtype=np.float32).reshape(2, 3)]
    with serve(repository.path) as wire:
        answers = ask_all(wire, of(make_request, sent))
        metadata = wire.stub.ModelMetadata(pb.ModelMetadataRequest(name="m"))
        config = wire.stub.ModelConfig(pb.ModelConfigRequest(name="m")).config
    for array, answer in zip(sent, answers, strict=True):
        assert array_of(answer, "y").tolist() == array.tolist()
    assert [list(tensor.shape) for tensor in (*metadata.inputs, *metadata.outputs)] == [
        [-1, -1]
    ] * 2
    assert (config.input[0].allow_ragged_batch, len(config.batch_output)) == (True, 1)


def by_grpc(wire, array, make_request):
    return array_of(wire.stub.ModelInfer(make_request("m", x=array), timeout=20), "y").item()


def by_web(wire, array, make_request):
    caller = WebCaller(wire.server.http_address, timeout=20)
    answer = caller.call("ModelInfer", make_request("m", x=array).SerializeToString())
    caller.close()
    return array_of(pb.ModelInferResponse.FromString(answer.messages[0]), "y").item()


def by_rest(wire, array, _):
    caller = HttpCaller(wire.server.http_address, timeout=20)
    tensor = {"name": "x", "datatype": "FP32", "shape": array.shape, "data": array.tolist()}
    answer = caller.ask("POST", "/v2/models/m/infer", json.dumps({"inputs": [tensor]}).encode())
    caller.close()
    return answer.json["outputs"][0]["data"][0]


def by_tensorflow(wire, array, _):
    request = tfs.PredictRequest(model_spec=tfs.ModelSpec(name="m"))
    request.inputs["x"].dtype = 1
    for size in array.shape:
        request.inputs["x"].tensor_shape.dim.add(size=size)
    request.inputs["x"].tensor_content = array.tobytes()
    method = wire.channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        tfs.PredictRequest.SerializeToString,
        tfs.PredictResponse.FromString,
    )
    return method(request, timeout=20).outputs["y"].float_val[0]


def test_requests_of_every_wire_share_a_run(repository, graphs, serve, make_request):
    """Four wires, four lengths, one run: each hears its own sum."""
    repository.add("m", sums(graphs), f"{FOUR} {SUMS}")
    wires = (by_grpc, by_web, by_rest, by_tensorflow)
    arrays = [np.full((1, 10**k), k + 1, np.float32) for k in range(4)]
    with serve(repository.path, http_port=0, grpc_web=True) as wire, ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(by, wire, array, make_request)
            for by, array in zip(wires, arrays, strict=True)
        ]
        answers = [one.result(60) for one in asked]
        statistics = wire.server.catalog.find("m", "").statistics.snapshot()
    assert answers == [1, 20, 300, 4000]
    assert (statistics.inference_count, statistics.execution_count) == (4, 1)


@pytest.mark.parametrize(
    "more",
    [
        "",
        'parameters { key: "isolation" value { string_value: "process" } }',
        'model_warmup [{ name: "w" batch_size: 2 inputs { key: "x" value { data_type: TYPE_FP32 '
        "dims: [ 7 ] random_data: true } } }]",
    ],
    ids=["alone", "isolated", "warmed up"],
)
def test_one_request_is_a_run_too(more, repository, graphs, serve, make_request):
    """Of one row and of several; none at all, and some without elements, are what the graph makes of them."""
    repository.add("m", sums(graphs), f"max_batch_size: 4 {SUMS} {more}")
    with serve(repository.path) as wire:
        for shape in ((1, 1), (1, 5), (1, 0)):
            answer = wire.stub.ModelInfer(make_request("m", x=np.ones(shape, "f4")), timeout=20)
            assert array_of(answer, "y").tolist() == [[shape[1]]]
        with pytest.raises(grpc.RpcError) as caught:  # two rows, and the graph gives one a request
            wire.stub.ModelInfer(make_request("m", x=np.ones((2, 3), "f4")), timeout=20)
    assert caught.value.code() is grpc.StatusCode.INTERNAL


def test_a_step_of_an_ensemble(repository, graphs, serve, make_request):
    """It gets its part as any caller does."""
    repository.add("m", sums(graphs), f"max_batch_size: 4 {SUMS}")
    repository.add(
        "e",
        None,
        """
        platform: "ensemble" max_batch_size: 4
        input [{ name: "in" data_type: TYPE_FP32 dims: [ -1 ] }]
        output [{ name: "out" data_type: TYPE_FP32 dims: [ 1 ] }]
        ensemble_scheduling { step [{ model_name: "m" model_version: -1
          input_map { key: "x" value: "in" } output_map { key: "y" value: "out" } }] }""",
    )
    request = pb.ModelInferRequest(model_name="e")
    request.inputs.add(name="in", datatype="FP32", shape=[1, 3])
    request.raw_input_contents.append(np.array([1, 2, 4], np.float32).tobytes())
    with serve(repository.path) as wire:
        assert array_of(wire.stub.ModelInfer(request, timeout=20), "out").tolist() == [[7]]


def test_what_cannot_be_counted_is_the_callers_mistake(
    repository, graphs, serve, make_request, caplog
):
    """A shape beyond the type, of a tensor without elements, has words and no traceback; others go on."""
    config = f"max_batch_size: 4 {RAGGED.replace('-1', '-1, -1')} {batch_input('ITEM_SHAPE', 'told', 'INT32')}"
    nodes = [helper.make_node("Identity", ["told"], ["y"]), helper.make_node("Size", ["x"], ["z"])]
    graph = graphs.model(
        nodes,
        [graphs.value("x", FLOAT, [None]), graphs.value("told", TensorProto.INT32, [None, 2])],
        [graphs.value("y", TensorProto.INT32, [None, 2])],
    )
    repository.add("m", graph, config)
    with serve(repository.path) as wire:
        empty = make_request("m", x=np.ones((1, 0, 1), np.float32))
        empty.inputs[0].shape[:] = [1, 0, 2**40]
        with pytest.raises(grpc.RpcError) as caught:
            wire.stub.ModelInfer(empty, timeout=20)
        good = wire.stub.ModelInfer(make_request("m", x=np.ones((1, 2, 3), "f4")), timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "counts to 2147483647" in caught.value.details()
    assert array_of(good, "y", np.int32).tolist() == [[2, 3]]
    assert not [record for record in caplog.records if record.exc_info]


def test_an_output_that_is_not_of_the_inputs_size(repository, graphs, serve, make_request):
    """The graph's mistake: INTERNAL, and the next request is answered."""
    scatter = (
        'output [{ name: "y" data_type: TYPE_FP32 dims: [ 2, -1 ] }] batch_output [{ target_name: "y" '
        'kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" }]'
    )
    config = f"max_batch_size: 4 {RAGGED.replace('-1', '-1, -1')} {scatter}"
    repository.add("m", graphs.identity(shape=("n",)), config)
    with serve(repository.path) as wire:
        with pytest.raises(grpc.RpcError) as caught:
            wire.stub.ModelInfer(make_request("m", x=np.ones((1, 3, 2), "f4")), timeout=20)
        answer = wire.stub.ModelInfer(make_request("m", x=np.ones((1, 2, 5), "f4")), timeout=20)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert array_of(answer, "y").shape == (1, 2, 5)
