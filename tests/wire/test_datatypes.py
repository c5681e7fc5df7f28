"""Every datatype over every wire: what goes in comes out, bit for bit, or is refused in words."""

import http.client
import json
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.utils.shared_memory as shm

from tests.server.byte_strings import parse_bytes
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import grpc_service_pb2_grpc, tensorflow_serving_pb2_grpc
from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_proto import tensorflow_serving_pb2 as serving
from zoo_server.datatypes import DATA_TYPES, DataType, serialize_bytes

ROWS = 2
SHAPE = (ROWS, 4)
STRINGS = [b"", b"a\0b", "übung ß 𝄞".encode(), b"0", b" ", b"\0", b"x" * 300, b"end"]
#: Two wires have no form for 16 bit floats, and say which one to take.
HALVES = ("FP16", "BF16")


class Refused(Exception):
    """A status that is not OK: its code and the text."""


def bits(kind: DataType) -> np.ndarray:
    """Return eight elements: zero, the ends of the range, and what floats have besides."""
    if kind.wire == "BF16":  # 0, -0, 1, -2, largest, smallest, infinity, not a number
        return np.array([0, 0x8000, 0x3F80, 0xC000, 0x7F7F, 0x0001, 0x7F80, 0x7FC1], "<u2")
    if kind.wire == "BOOL":
        return np.array([1, 0, 0, 1, 1, 1, 0, 0], bool)
    if kind.numpy.kind == "f":
        ends = np.finfo(kind.numpy)
        special = [0.0, -0.0, 1.5, ends.max, ends.min, ends.smallest_subnormal, np.inf, np.nan]
        return np.array(special, kind.numpy)
    ends = np.iinfo(kind.numpy)
    return np.array([0, 1, ends.max, ends.min, 5, 6, 7, ends.max - 1], kind.numpy)


def raw_of(kind: DataType) -> bytes:
    """Return the same in wire form."""
    return serialize_bytes(STRINGS) if kind.wire == "BYTES" else bits(kind).tobytes()


def values_of(kind: DataType) -> list[Any]:
    """Return the same as values of a typed field."""
    return STRINGS if kind.wire == "BYTES" else bits(kind).tolist()


def model_of(kind: DataType) -> str:
    return f"identity_{kind.wire.lower()}"


# -- the wires: each sends elements to a model, and returns what came back in wire form -------------


def infer_request(kind: DataType, model: str, *, typed: bool) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=model, id="1")
    tensor = request.inputs.add(name="x", datatype=kind.wire, shape=SHAPE)
    if typed:
        # FP16 and BF16 have no field of their own; a caller might try this one.
        getattr(tensor.contents, kind.contents or "fp32_contents").extend(values_of(kind))
    else:
        request.raw_input_contents.append(raw_of(kind))
    return request


def answered(response: pb.ModelInferResponse, kind: DataType) -> bytes:
    (output,) = response.outputs
    assert (output.name, output.datatype, tuple(output.shape)) == ("y", kind.wire, SHAPE)
    (raw,) = response.raw_output_contents
    return raw


def unary(server: Any, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    with grpc.insecure_channel(server.grpc_address) as channel:
        try:
            stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
            return stub.ModelInfer(request, timeout=20)
        except grpc.RpcError as error:
            raise Refused(error.code().name, error.details()) from None


def stream(server: Any, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        (answer,) = stub.ModelStreamInfer(iter([request]), timeout=20)
    if answer.error_message:
        raise Refused("in the stream", answer.error_message)
    assert answer.infer_response.parameters["triton_final_response"].bool_param
    return answer.infer_response


def grpc_raw(server: Any, kind: DataType, model: str) -> bytes:
    return answered(unary(server, infer_request(kind, model, typed=False)), kind)


def grpc_typed(server: Any, kind: DataType, model: str) -> bytes:
    return answered(unary(server, infer_request(kind, model, typed=True)), kind)


def stream_raw(server: Any, kind: DataType, model: str) -> bytes:
    return answered(stream(server, infer_request(kind, model, typed=False)), kind)


def stream_typed(server: Any, kind: DataType, model: str) -> bytes:
    return answered(stream(server, infer_request(kind, model, typed=True)), kind)


def post(
    server: Any, kind: DataType, model: str, body: bytes, length: int | None
) -> tuple[dict, bytes]:
    """Return the JSON of an HTTP answer, and the bytes after it."""
    headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
    connection = http.client.HTTPConnection(server.http_address, timeout=20)
    try:
        connection.request("POST", f"/v2/models/{model}/infer", body, headers)
        response = connection.getresponse()
        data = response.read()
    finally:
        connection.close()
    end = int(response.headers.get("Inference-Header-Content-Length") or len(data))
    answer = json.loads(data[:end])
    if response.status != 200:
        raise Refused(str(response.status), answer["error"])
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], tuple(output["shape"])) == ("y", kind.wire, SHAPE)
    return output, data[end:]


def rest_json(server: Any, kind: DataType, model: str) -> bytes:
    values = values_of(kind)
    if kind.wire == "BYTES":
        values = [element.decode() for element in values]
    tensor = {"name": "x", "datatype": kind.wire, "shape": SHAPE, "data": values}
    output, _ = post(server, kind, model, json.dumps({"inputs": [tensor]}).encode(), None)
    if kind.wire == "BYTES":
        return serialize_bytes(output["data"])
    return np.array(output["data"], kind.numpy).tobytes()


def rest_binary(server: Any, kind: DataType, model: str) -> bytes:
    raw = raw_of(kind)
    tensor = {
        "name": "x", "datatype": kind.wire, "shape": SHAPE,
        "parameters": {"binary_data_size": len(raw)},
    }  # fmt: skip
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    output, data = post(server, kind, model, header + raw, len(header))
    assert output["parameters"]["binary_data_size"] == len(data)
    return data


def shared_memory(server: Any, kind: DataType, model: str) -> bytes:
    raw = raw_of(kind)
    key = f"/zoo-wire-{id(server):x}-{kind.wire}"
    region = shm.create_shared_memory_region(key, key, 2 * len(raw))
    try:
        shm.set_shared_memory_region(region, [np.frombuffer(raw, np.uint8)])
        with grpc.insecure_channel(server.grpc_address) as channel:
            stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
            stub.SystemSharedMemoryRegister(
                pb.SystemSharedMemoryRegisterRequest(name=key, key=key, byte_size=2 * len(raw))
            )
            try:
                response = unary(server, _in_region(kind, model, key, len(raw)))
            finally:
                stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest(name=key))
        assert answered(response, kind) == b""
        both = shm.get_contents_as_numpy(region, np.uint8, [2 * len(raw)])
        return both[len(raw) :].tobytes()
    finally:
        shm.destroy_shared_memory_region(region)


def _in_region(kind: DataType, model: str, key: str, size: int) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=model)
    tensors = (
        (request.inputs.add(name="x", datatype=kind.wire, shape=SHAPE), 0),
        (request.outputs.add(name="y"), size),
    )
    for tensor, offset in tensors:
        tensor.parameters["shared_memory_region"].string_param = key
        tensor.parameters["shared_memory_byte_size"].int64_param = size
        tensor.parameters["shared_memory_offset"].int64_param = offset
    return request


def _predict(server: Any, kind: DataType, model: str, **values: Any) -> bytes:
    dims = [tf.TensorShapeProto.Dim(size=size) for size in SHAPE]
    tensor = tf.TensorProto(
        dtype=kind.tf_enum, tensor_shape=tf.TensorShapeProto(dim=dims), **values
    )
    spec = serving.ModelSpec(name=model)
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = tensorflow_serving_pb2_grpc.PredictionServiceStub(channel)
        request = serving.PredictRequest(model_spec=spec, inputs={"x": tensor})
        try:
            answer = stub.Predict(request, timeout=20).outputs["y"]
        except grpc.RpcError as error:
            raise Refused(error.code().name, error.details()) from None
    assert answer.dtype == kind.tf_enum
    assert tuple(dim.size for dim in answer.tensor_shape.dim) == SHAPE
    elements = getattr(answer, kind.tf_values)
    if kind.wire == "BYTES":
        return serialize_bytes(elements)
    return np.array(elements, "<u2" if kind.wire in HALVES else kind.numpy).tobytes()


def tfs_content(server: Any, kind: DataType, model: str) -> bytes:
    if kind.wire != "BYTES":
        return _predict(server, kind, model, tensor_content=raw_of(kind))
    lengths = b"".join(_varint(len(element)) for element in STRINGS)
    return _predict(server, kind, model, tensor_content=lengths + b"".join(STRINGS))


def _varint(size: int) -> bytes:
    return bytes([size]) if size < 128 else bytes([size & 127 | 128]) + _varint(size >> 7)


def tfs_typed(server: Any, kind: DataType, model: str) -> bytes:
    values = bits(kind).view("<u2").tolist() if kind.wire in HALVES else values_of(kind)
    return _predict(server, kind, model, **{kind.tf_values: values})


WIRES: dict[str, Callable[[Any, DataType, str], bytes]] = {
    "gRPC raw": grpc_raw,
    "gRPC typed": grpc_typed,
    "stream raw": stream_raw,
    "stream typed": stream_typed,
    "REST JSON": rest_json,
    "REST binary": rest_binary,
    "shared memory": shared_memory,
    "TFS content": tfs_content,
    "TFS typed": tfs_typed,
}

#: What a wire cannot carry, and what is said then.
REFUSALS = {
    "gRPC typed": ("INVALID_ARGUMENT", "unexpected explicit tensor data for input tensor 'x'"),
    "stream typed": ("in the stream", "unexpected explicit tensor data for input tensor 'x'"),
    "REST JSON": ("400", "data via JSON is not supported. Please use the binary data format"),
}


@pytest.mark.parametrize("kind", DATA_TYPES, ids=lambda kind: kind.wire)
@pytest.mark.parametrize("wire", WIRES)
def test_every_datatype_over_every_wire(server: Any, wire: str, kind: DataType) -> None:
    """The model's answer is what was sent, bit for bit; what a wire cannot carry is refused."""
    if wire in REFUSALS and kind.wire in HALVES:
        with pytest.raises(Refused) as caught:
            WIRES[wire](server, kind, model_of(kind))
        code, words = REFUSALS[wire]
        assert caught.value.args[0] == code
        assert words in caught.value.args[1]
        return
    answer = WIRES[wire](server, kind, model_of(kind))
    if kind.wire == "BYTES":
        assert parse_bytes(answer, len(STRINGS)) == STRINGS
    else:
        assert answer == raw_of(kind)


#: How a refusal shows, by the first word of the wire; where it is no status of gRPC.
REFUSED_AS = {"stream": "in the stream", "REST": "400"}


@pytest.mark.parametrize("kind", DATA_TYPES, ids=lambda kind: kind.wire)
@pytest.mark.parametrize("wire", WIRES)
def test_another_datatype_than_the_models_is_refused(
    server: Any, wire: str, kind: DataType
) -> None:
    """As invalid, with both names: over no wire are the bytes read as something else."""
    other = next(
        row for row in DATA_TYPES if row.wire == ("FP32" if kind.wire == "FP64" else "FP64")
    )
    with pytest.raises(Refused) as caught:
        WIRES[wire](server, other, model_of(kind))
    code, text = caught.value.args

    assert code == REFUSED_AS.get(wire.split()[0], "INVALID_ARGUMENT")
    assert (
        f"data-type is '{other.wire}', but model '{model_of(kind)}' expects '{kind.wire}'" in text
    )
