"""perf_analyzer's calls in its order (docs/protocol.md 2.5), and what it needs of the answers.

Its binary needs a newer C library than many machines have; its order of calls needs none. In a window
it keeps several requests under way and reads the statistics before and after.
"""

import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper

from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import (
    grpc_service_pb2_grpc,
    tensorflow_framework_pb2,
    tensorflow_serving_pb2,
    tensorflow_serving_pb2_grpc,
)
from zoo_server.config import TRANSPORTS, ServerConfig
from zoo_server.server import running

pytestmark = pytest.mark.interop

NAMES = ("INPUT0", "INPUT1")
OUTPUTS = ("OUTPUT0", "OUTPUT1")
BATCH, REQUESTS, CONCURRENCY = 2, 40, 4
ROWS = np.arange(BATCH * 16, dtype=np.int32).reshape(BATCH, 16)
SUM, DIFFERENCE = ROWS + ROWS, ROWS - ROWS

CONFIG = """
max_batch_size: 8 dynamic_batching {}
input [{ name: "INPUT0" data_type: TYPE_INT32 dims: [ 16 ] },
       { name: "INPUT1" data_type: TYPE_INT32 dims: [ 16 ] }]
output [{ name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 16 ] },
        { name: "OUTPUT1" data_type: TYPE_INT32 dims: [ 16 ] }]
"""


@pytest.fixture(params=TRANSPORTS)
def served(request, tmp_path):
    """Serve Triton's example model on every port, over each transport; yield server and channel."""
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", 16])
        for name in (*NAMES, *OUTPUTS)
    }
    nodes = [
        helper.make_node(kind, list(NAMES), [output])
        for kind, output in zip(("Add", "Sub"), OUTPUTS, strict=True)
    ]
    graph = helper.make_graph(
        nodes, "simple", [values[name] for name in NAMES], [values[name] for name in OUTPUTS]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder = tmp_path / "models" / "simple"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "config.pbtxt").write_text(CONFIG)
    config = ServerConfig(
        repository=folder.parent,
        grpc_port=0,
        http_port=None,
        metrics_port=0,
        transport=request.param,
        allow_shared_memory=True,
    )
    with running(config) as server, grpc.insecure_channel(server.grpc_address) as channel:
        yield server, channel


@pytest.fixture
def shared():
    """Return a function that makes a shared memory object; it is removed with the test."""
    files = []

    def make(content):
        files.append(Path("/dev/shm") / f"layer-zoo-test-{uuid.uuid4().hex}")
        files[-1].write_bytes(content)
        return files[-1]

    yield make
    for file in files:
        file.unlink()


def learn(stub):
    """Ask what it asks before its first window, and check what its model parser needs."""
    metadata = stub.ModelMetadata(pb.ModelMetadataRequest(name="simple"))
    config = stub.ModelConfig(pb.ModelConfigRequest(name="simple")).config
    server = stub.ServerMetadata(pb.ServerMetadataRequest())

    assert (metadata.name, [int(version) for version in metadata.versions]) == ("simple", [1])
    # It drops the first dimension of every tensor where there are batches, and sends its own.
    assert config.max_batch_size >= BATCH
    for tensor in (*metadata.inputs, *metadata.outputs):
        assert (tensor.datatype, list(tensor.shape)) == ("INT32", [-1, 16])
    assert {each.name for each in config.input} == {each.name for each in metadata.inputs}
    assert {each.name for each in config.output} == {each.name for each in metadata.outputs}
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
    assert not config.model_transaction_policy.decoupled
    assert not config.response_cache.enable
    assert "statistics" in server.extensions


def share(stub, shared):
    """Clear both kinds of regions whether or not there are any, and register its own."""
    stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest(name=""))
    stub.CudaSharedMemoryUnregister(pb.CudaSharedMemoryUnregisterRequest(name=""))
    files = {}
    for name in (*NAMES, *OUTPUTS):
        files[name] = shared(ROWS.tobytes() if name in NAMES else bytes(ROWS.nbytes))
        stub.SystemSharedMemoryRegister(
            pb.SystemSharedMemoryRegisterRequest(
                name=f"{name}_data", key=f"/{files[name].name}", byte_size=ROWS.nbytes
            )
        )
    assert len(stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest()).regions) == 4
    return files


def request(number, *, in_regions=False):
    message = pb.ModelInferRequest(model_name="simple", id=str(number))
    for name in NAMES:
        tensor = message.inputs.add(name=name, datatype="INT32", shape=ROWS.shape)
        if in_regions:
            _in_region(tensor, name)
        else:
            message.raw_input_contents.append(ROWS.tobytes())
    for name in OUTPUTS if in_regions else ():
        _in_region(message.outputs.add(name=name), name)
    return message


def _in_region(tensor, name):
    tensor.parameters["shared_memory_region"].string_param = f"{name}_data"
    tensor.parameters["shared_memory_byte_size"].int64_param = ROWS.nbytes


def check(answer):
    assert [tensor.name for tensor in answer.outputs] == list(OUTPUTS)
    for raw, expected in zip(answer.raw_output_contents, (SUM, DIFFERENCE), strict=True):
        np.testing.assert_array_equal(np.frombuffer(raw, np.int32).reshape(ROWS.shape), expected)


def statistics(stub):
    (model_statistics,) = stub.ModelStatistics(pb.ModelStatisticsRequest(name="simple")).model_stats
    return model_statistics


def windows(stub, send, count=2):
    """Send what it sends in each window, and check what it makes of the statistics around it."""
    before = statistics(stub)
    for _ in range(count):
        send()
        after = statistics(stub)
        assert int(after.version) == 1
        grown = {
            name: getattr(after.inference_stats, name).count
            - getattr(before.inference_stats, name).count
            for name in (
                "success", "queue", "compute_input", "compute_infer", "compute_output", "fail",
                "cache_hit", "cache_miss",
            )
        }  # fmt: skip
        spent = {
            name: getattr(after.inference_stats, name).ns - getattr(before.inference_stats, name).ns
            for name in ("success", "queue", "compute_input", "compute_infer", "compute_output")
        }
        # Of the versions it takes the one whose queue count rose; unequal compute counts end it.
        assert [grown[name] for name in ("success", "queue")] == [REQUESTS] * 2
        assert {grown[name] for name in grown if name.startswith("compute")} == {REQUESTS}
        assert (grown["fail"], grown["cache_hit"], grown["cache_miss"]) == (0, 0, 0)
        assert after.inference_count - before.inference_count == REQUESTS * BATCH
        assert 0 < after.execution_count - before.execution_count <= REQUESTS
        assert after.last_inference >= before.last_inference
        assert all(ns >= 0 for ns in spent.values())
        # What it prints as queue and compute are parts of the request's time.
        assert sum(ns for name, ns in spent.items() if name != "success") <= spent["success"]
        before = after


def test_grpc(served):
    """-i grpc: unary calls, several under way."""
    _, channel = served
    stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
    learn(stub)

    def send():
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            answers = pool.map(lambda number: stub.ModelInfer(request(number)), range(REQUESTS))
            for number, answer in enumerate(answers):
                assert answer.id == str(number)
                check(answer)

    windows(stub, send)


def test_grpc_streaming(served):
    """-i grpc --streaming: it knows its requests by their ids, and the last answer by its parameter."""
    _, channel = served
    stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
    learn(stub)

    def send():
        answers = list(stub.ModelStreamInfer(map(request, range(REQUESTS)), timeout=60))
        for number, answer in enumerate(answers):
            assert answer.error_message == ""
            assert answer.infer_response.id == str(number)
            assert answer.infer_response.parameters["triton_final_response"].bool_param
            check(answer.infer_response)
        assert len(answers) == REQUESTS

    windows(stub, send)


def test_grpc_shared_memory(served, shared):
    """-i grpc --shared-memory system: regions of before are cleared, answers lie in its own."""
    _, channel = served
    stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
    learn(stub)
    files = share(stub, shared)

    def send():
        for name in OUTPUTS:
            with files[name].open("r+b") as file:
                file.write(b"\xff" * ROWS.nbytes)
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            message = request(0, in_regions=True)
            answers = list(pool.map(lambda _: stub.ModelInfer(message), range(REQUESTS)))
        assert not any(raw for answer in answers for raw in answer.raw_output_contents)
        for name, expected in zip(OUTPUTS, (SUM, DIFFERENCE), strict=True):
            assert files[name].read_bytes() == expected.tobytes()

    windows(stub, send)
    for name in files:
        stub.SystemSharedMemoryUnregister(
            pb.SystemSharedMemoryUnregisterRequest(name=f"{name}_data")
        )
    assert not stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest()).regions


def test_collect_metrics(served):
    """--collect-metrics: the page reads as Prometheus's text, and counts what was sent."""
    server, channel = served
    stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
    learn(stub)
    windows(stub, lambda: [stub.ModelInfer(request(number)) for number in range(REQUESTS)], 1)
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))

    assert all(float(value) >= 0 for value in samples.values())
    labels = '{model="simple",version="1"}'
    assert float(samples[f"nv_inference_request_success{labels}"]) == REQUESTS
    assert float(samples[f"nv_inference_count{labels}"]) == REQUESTS * BATCH


@pytest.mark.parametrize("version", ["", "1"])
def test_tfserving(served, version):
    """--service-kind tfserving: a version is sent as a label, values in their typed lists."""
    _, channel = served
    stub = tensorflow_serving_pb2_grpc.PredictionServiceStub(channel)
    metadata_request = tensorflow_serving_pb2.GetModelMetadataRequest(
        metadata_field=["signature_def"]
    )
    metadata_request.model_spec.name = "simple"
    if version:
        metadata_request.model_spec.version_label = version
    signatures = tensorflow_serving_pb2.SignatureDefMap()
    assert stub.GetModelMetadata(metadata_request).metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["serving_default"]
    assert set(signature.inputs) == set(NAMES)
    for tensor in signature.inputs.values():
        # With -b it ends unless the first dimension is open; the others it sends as they are.
        assert tensor.dtype == tensorflow_framework_pb2.DT_INT32
        assert not tensor.tensor_shape.unknown_rank
        assert [dim.size for dim in tensor.tensor_shape.dim] == [-1, 16]

    predict_request = tensorflow_serving_pb2.PredictRequest()
    predict_request.model_spec.CopyFrom(metadata_request.model_spec)
    predict_request.model_spec.signature_name = "serving_default"
    for name in NAMES:
        predict_request.inputs[name].dtype = signature.inputs[name].dtype
        for size in ROWS.shape:
            predict_request.inputs[name].tensor_shape.dim.add(size=size)
        predict_request.inputs[name].int_val.extend(ROWS.ravel().tolist())
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        answers = list(pool.map(lambda _: stub.Predict(predict_request), range(REQUESTS)))
    for answer in answers:
        assert set(answer.outputs) == set(OUTPUTS)
        assert list(answer.outputs["OUTPUT0"].int_val) == SUM.ravel().tolist()
        assert list(answer.outputs["OUTPUT1"].int_val) == DIFFERENCE.ravel().tolist()
