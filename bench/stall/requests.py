"""The requests of bench.stall as bytes, and what sends them."""

import urllib.request
from collections.abc import Callable, Sequence

import grpc
import numpy as np

from bench.messages import INFER, STREAM_INFER
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_proto import tensorflow_serving_pb2 as tfs

PREDICT = "/tensorflow.serving.PredictionService/Predict"

#: Sends one request and waits for its answer, which may be an error; it gets a channel and the HTTP port.
Send = Callable[[grpc.Channel, int], object]


def request(
    model: str, datatype: str, shape: Sequence[int], raw: bytes | None
) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype=datatype, shape=shape)
    if raw is not None:
        message.raw_input_contents.append(raw)
    return message


def raw(model: str, array: np.ndarray) -> bytes:
    return request(model, "FP32", array.shape, array.tobytes()).SerializeToString()


def raw_text(size: int) -> bytes:
    """Return a request of strings of two bytes, in raw form."""
    count = size // 6
    return request("text", "BYTES", [count], b"\x02\0\0\0ab" * count).SerializeToString()


def typed(model: str, datatype: str, field: str, values: np.ndarray) -> bytes:
    message = request(model, datatype, values.shape, None)
    getattr(message.inputs[0].contents, field).extend(values)
    return message.SerializeToString()


def predict(model: str, tensor: tf.TensorProto) -> bytes:
    message = tfs.PredictRequest()
    message.model_spec.name = model
    message.inputs["x"].CopyFrom(tensor)
    return message.SerializeToString()


def shape(count: int) -> tf.TensorShapeProto:
    return tf.TensorShapeProto(dim=[tf.TensorShapeProto.Dim(size=count)])


def unary(message: bytes, method: str = INFER, expected: grpc.StatusCode | None = None) -> Send:
    """Return what sends a message; `expected` is the status of one that is to be refused."""

    def send(opened: grpc.Channel, _: int) -> None:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(method)
        try:
            call(message, timeout=60)
        except grpc.RpcError as error:
            if error.code() is not expected:
                raise

    return send


def stream(message: bytes) -> Send:
    def send(opened: grpc.Channel, _: int) -> None:
        call: grpc.StreamStreamMultiCallable[bytes, bytes] = opened.stream_stream(STREAM_INFER)
        for _answer in call(iter([message] * 2), timeout=60):
            pass

    return send


def http(path: str, body: bytes, headers: dict[str, str]) -> Send:
    def send(_: grpc.Channel, port: int) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()

    return send


def rest_echo(size: int) -> Send:
    head = (
        f'{{"inputs":[{{"name":"x","datatype":"FP32","shape":[{size // 4}],"parameters":'
        f'{{"binary_data_size":{size}}}}}],"parameters":{{"binary_data_output":true}}}}'
    ).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return http("/v2/models/echo/infer", head + bytes(size), headers)


def rest_json(count: int) -> Send:
    data = ",".join(["0.125"] * count)
    body = f'{{"inputs":[{{"name":"x","datatype":"FP32","shape":[{count}],"data":[{data}]}}]}}'
    return http("/v2/models/echo/infer", body.encode(), {})


def turns(count: int) -> bytes:
    raw = np.array([count], np.int64).tobytes()
    return request("loop", "INT64", [1], raw).SerializeToString()


def rest_loop(turns: int) -> Send:
    body = f'{{"inputs":[{{"name":"x","datatype":"INT64","shape":[1],"data":[{turns}]}}]}}'
    return http("/v2/models/loop/infer", body.encode(), {})


def typed_text(count: int) -> bytes:
    message = request("text", "BYTES", [count], None)
    message.inputs[0].contents.bytes_contents.extend([b"ab"] * count)
    return message.SerializeToString()


def float_tensor(count: int) -> tf.TensorProto:
    values = np.zeros(count, np.float32)
    return tf.TensorProto(dtype=tf.DT_FLOAT, tensor_shape=shape(count), float_val=values)


def string_tensor(count: int) -> tf.TensorProto:
    values = [b"ab"] * count
    return tf.TensorProto(dtype=tf.DT_STRING, tensor_shape=shape(count), string_val=values)
