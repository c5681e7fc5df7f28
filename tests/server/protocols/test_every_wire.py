"""One rule on every wire: the same mistake, sent by each protocol, has the same outcome and text."""

import json
import re

import grpc
import numpy as np
import pytest

from tests.server.http_callers import HttpCaller
from tests.server.web_callers import WebCaller
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import (
    tensorflow_framework_pb2,
    tensorflow_serving_pb2,
    tensorflow_serving_pb2_grpc,
)
from zoo_server.protocols.rest.errors import HTTP_STATUS

ROW = np.ones((1, 4), np.float32)
X = ("x", "FP32", ROW, {})
REGION, OFFSET, SIZE = (f"shared_memory_{what}" for what in ("region", "offset", "byte_size"))

#: Model, version, inputs as (name, datatype, array, parameters), outputs as (name, parameters).
CASES = {
    "an unknown model": ("nobody", "", [X], []),
    "an unknown version": ("m", "7", [X], []),
    "a version beyond all numbers": ("m", "9" * 30, [X], []),
    "a model that could not be loaded": ("broken", "", [X], []),
    "no input": ("m", "", [], []),
    "an unknown input": ("m", "", [X, ("z", "FP32", ROW, {})], []),
    "another datatype": ("m", "", [("x", "INT32", ROW.astype(np.int32), {})], []),
    "another shape": ("m", "", [("x", "FP32", ROW[:, :3], {})], []),
    "no batch dimension": ("m", "", [("x", "FP32", ROW[0], {})], []),
    "a batch too large": ("m", "", [("x", "FP32", np.ones((9, 4), np.float32), {})], []),
    "an unknown output": ("m", "", [X], [("z", {})]),
    "an input's offset without a region": ("m", "", [("x", "FP32", ROW, {OFFSET: 8})], []),
    "an output's offset without a region": ("m", "", [X], [("y", {OFFSET: 8})]),
    "an output's size without a region": ("m", "", [X], [("y", {SIZE: 8})]),
    "an input's region without a size": ("m", "", [("x", "FP32", None, {REGION: "r"})], []),
    "an output's region without a size": ("m", "", [X], [("y", {REGION: "r"})]),
    "an unknown region for an input": ("m", "", [("x", "FP32", None, {REGION: "r", SIZE: 8})], []),
    "an unknown region for an output": ("m", "", [X], [("y", {REGION: "r", SIZE: 16})]),
    "classes in a region": ("m", "", [X], [("y", {REGION: "r", SIZE: 8, "classification": 1})]),
    "no classes": ("m", "", [X], [("y", {"classification": 0})]),
    "too many classes": ("m", "", [X], [("y", {"classification": 2**31})]),
}

#: What TensorFlow Serving's protocol has no words for: versions that are text, regions, classes.
NOT_IN_TENSORFLOW = re.compile("version beyond|region|classes")

#: What its REST has no words for besides: datatypes, outputs, and inputs that it passes over.
NOT_IN_ITS_REST = re.compile(f"{NOT_IN_TENSORFLOW.pattern}|unknown input|datatype|output")


@pytest.fixture(scope="module")
def served(tmp_path_factory, graphs, serve):
    """A server with a model, one that cannot be loaded, and shared memory; every wire."""
    path = tmp_path_factory.mktemp("wires") / "models"
    for name, content in (("m", graphs.identity()), ("broken", b"no graph")):
        (path / name / "1").mkdir(parents=True)
        (path / name / "1" / "model.onnx").write_bytes(content)
    (path / "m" / "config.pbtxt").write_text("max_batch_size: 8")
    with serve(path, http_port=0, allow_shared_memory=True, grpc_web=True) as wire:
        wire.http = HttpCaller(wire.server.http_address)
        wire.web = WebCaller(wire.server.http_address)
        yield wire
        wire.http.close()
        wire.web.close()


def infer_request(model, version, inputs, outputs):
    """Return the message of a case."""
    request = pb.ModelInferRequest(model_name=model, model_version=version)
    for name, datatype, array, parameters in inputs:
        tensor = request.inputs.add(name=name, datatype=datatype)
        tensor.shape.extend((1, 4) if array is None else array.shape)
        set_parameters(tensor, parameters)
        if array is not None:
            request.raw_input_contents.append(array.tobytes())
    for name, parameters in outputs:
        set_parameters(request.outputs.add(name=name), parameters)
    return request


def by_grpc(wire, *case):
    """Return the status and the text."""
    with pytest.raises(grpc.RpcError) as caught:
        wire.stub.ModelInfer(infer_request(*case), timeout=20)
    return caught.value.code(), caught.value.details()


def by_web(wire, *case):
    """Return the status and the text."""
    answer = wire.web.call("ModelInfer", infer_request(*case).SerializeToString())
    return answer.code, answer.details


def set_parameters(tensor, parameters):
    for key, value in parameters.items():
        field = "string_param" if isinstance(value, str) else "int64_param"
        setattr(tensor.parameters[key], field, value)


def by_rest(wire, model, version, inputs, outputs):
    """Return the status and the text."""
    data = [array.tobytes() if array is not None else b"" for _, _, array, _ in inputs]
    header = {
        "inputs": [
            {
                "name": name,
                "datatype": datatype,
                "shape": list((1, 4) if array is None else array.shape),
                "parameters": parameters
                if array is None
                else {**parameters, "binary_data_size": array.nbytes},
            }
            for name, datatype, array, parameters in inputs
        ],
        "outputs": [{"name": name, "parameters": parameters} for name, parameters in outputs],
    }
    head = json.dumps(header).encode()
    path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "")
    answer = wire.http.ask(
        "POST",
        f"{path}/infer",
        head + b"".join(data),
        Inference_Header_Content_Length=str(len(head)),
    )
    return answer.status, answer.error


def by_tensorflow(wire, model, version, inputs, outputs):
    """Return the status: the texts are upstream's."""
    request = tensorflow_serving_pb2.PredictRequest()
    request.model_spec.name = model
    if version:
        request.model_spec.version.value = int(version)
    for name, datatype, array, _ in inputs:
        tensor = request.inputs[name]
        tensor.dtype = tensorflow_framework_pb2.DataType.Value(
            {"FP32": "DT_FLOAT", "INT32": "DT_INT32"}[datatype]
        )
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
        tensor.tensor_content = array.tobytes()
    request.output_filter.extend(name for name, _ in outputs)
    stub = tensorflow_serving_pb2_grpc.PredictionServiceStub(wire.channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request, timeout=20)
    return caught.value.code()


def by_tensorflow_rest(wire, model, version, inputs, _):
    """Return the status: the texts are upstream's."""
    path = f"/v1/models/{model}" + (f"/versions/{version}" if version else "")
    body = json.dumps({"inputs": {name: array.tolist() for name, _, array, _ in inputs}})
    return wire.http.ask("POST", f"{path}:predict", body.encode()).status


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_the_same_on_every_wire(case, served):
    """gRPC, gRPC-Web and REST say the same; TensorFlow Serving's protocol answers the same status."""
    code, text = by_grpc(served, *CASES[case])
    status, error = by_rest(served, *CASES[case])

    assert by_web(served, *CASES[case]) == (code, text)
    assert (status, error) == (HTTP_STATUS[code], text)
    if not NOT_IN_TENSORFLOW.search(case):
        assert by_tensorflow(served, *CASES[case]) is code
    if not NOT_IN_ITS_REST.search(case):
        assert by_tensorflow_rest(served, *CASES[case]) == HTTP_STATUS[code]


def test_readiness_needs_no_token_on_any_wire(repository, graphs, serve, tmp_path):
    """ServerLive, ServerReady and ModelReady are health, and metadata is not: on either wire."""
    repository.add("m", graphs.identity())
    (tmp_path / "token").write_text("sesame\n")
    with serve(repository.path, http_port=0, token_file=tmp_path / "token") as wire:
        assert wire.stub.ServerLive(pb.ServerLiveRequest()).live
        assert wire.stub.ServerReady(pb.ServerReadyRequest()).ready
        assert wire.stub.ModelReady(pb.ModelReadyRequest(name="m")).ready
        with pytest.raises(grpc.RpcError) as caught:
            wire.stub.ModelMetadata(pb.ModelMetadataRequest(name="m"))
        caller = HttpCaller(wire.server.http_address)
        for path in ("health/live", "health/ready", "models/m/ready", "models/m/versions/1/ready"):
            assert caller.get(f"/v2/{path}").status == 200
        refused = caller.get("/v2/models/m")
        caller.close()

    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert (refused.status, refused.error) == (401, caught.value.details())
