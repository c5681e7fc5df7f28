"""Generated bad requests on every wire: a mapped status for each, no traceback, no death.

A seed is a good request; a case spoils it: bits, bytes, pieces cut out, doubled or put elsewhere. Some
hundreds a wire and transport run always, a hundred thousand with the slow tests.
"""

from __future__ import annotations

import base64
import json
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import grpc
import numpy as np
import pytest

from tests.server.protocols.grpc.http2 import OPENING, call, frame
from tests.server.web_callers import WebCaller, framed
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import tensorflow_serving_pb2 as tfs
from zoo_server.protocols.rest.errors import HTTP_STATUS

FEW, MANY = 500, 100_000

INFERENCE = "/inference.GRPCInferenceService/"
TFS = "/tensorflow.serving.PredictionService/"


def spoilt(raw: bytes, source: random.Random) -> bytes:
    """Return bytes with one to four faults."""
    held = bytearray(raw)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(held) + 1)
        size = source.choice((1, 1, 2, 4, 16, 200))
        fault = source.randrange(6)
        if fault == 0 and at < len(held):
            held[at] ^= 1 << source.randrange(8)
        elif fault == 1:
            held[at : at + size] = source.randbytes(size)
        elif fault == 2:
            del held[at : at + size]
        elif fault == 3:
            held[at:at] = held[at : at + size]
        elif fault == 4:
            held[at:at] = source.choice(
                (b"\xff" * 9 + b"\x01", b"\x00", b"-1", b'"', b"{", b"1e999")
            )
        else:
            elsewhere = source.randrange(len(held) + 1)
            held[at:at] = held[elsewhere : elsewhere + size]
    return bytes(held)


def infer_message() -> bytes:
    request = pb.ModelInferRequest(model_name="m", id="1")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    request.inputs[0].contents.fp32_contents.extend([1, 2, 3, 4])
    request.outputs.add(name="y").parameters["classification"].int64_param = 2
    request.parameters["priority"].uint64_param = 1
    return request.SerializeToString()


def raw_message() -> bytes:
    request = pb.ModelInferRequest(model_name="m")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    request.raw_input_contents.append(np.ones(4, np.float32).tobytes())
    return request.SerializeToString()


def predict_message() -> bytes:
    request = tfs.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].tensor_shape.dim.add(size=4)
    request.inputs["x"].float_val.extend([1, 2, 3, 4])
    return request.SerializeToString()


GRPC = {
    f"{INFERENCE}ModelInfer": (infer_message, raw_message),
    f"{INFERENCE}ModelMetadata": (lambda: b"\x0a\x01m\x12\x011",),
    f"{INFERENCE}ModelConfig": (lambda: b"\x0a\x01m\x12\x011",),
    f"{INFERENCE}ModelStatistics": (lambda: b"\x0a\x01m\x12\x011",),
    f"{INFERENCE}RepositoryIndex": (lambda: b"\x0a\x01m\x10\x01",),
    f"{INFERENCE}TraceSetting": (lambda: b"\x0a\x05\x0a\x01a\x12\x00\x12\x01m",),
    f"{INFERENCE}SystemSharedMemoryRegister": (lambda: b"\x0a\x01r\x12\x02/k\x18\x00\x20\x40",),
}
PREDICT = {
    f"{TFS}Predict": (predict_message,),
    f"{TFS}GetModelMetadata": (lambda: b"\x0a\x03\x0a\x01m\x12\x0dsignature_def",),
}


class Addresses(NamedTuple):
    """Where a server listens."""

    grpc: str
    http: str


def grpc_wire(methods: dict[str, tuple[Callable[[], bytes], ...]]) -> Callable[..., None]:
    """Return what sends spoilt messages, and unknown methods, sixty-four at a time."""
    seeds = [(method, make()) for method, makes in methods.items() for make in makes]

    def send(server: Addresses, count: int, source: random.Random) -> None:
        with grpc.insecure_channel(server.grpc) as channel:
            for begin in range(0, count, 64):
                calls = []
                for _ in range(min(64, count - begin)):
                    method, seed = source.choice(seeds)
                    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
                    calls.append(call.future(spoilt(seed, source), timeout=60))
                for future in calls:
                    error = future.exception()
                    if error is not None:
                        assert isinstance(error, grpc.RpcError)
                        assert error.code() in HTTP_STATUS, error
                        assert "incident" not in (error.details() or ""), error

    return send


def http_wire(server: Addresses, count: int, source: random.Random) -> None:
    """Spoil heads, paths and bodies, several to a connection."""
    host, _, port = server.http.rpartition(":")
    inputs = [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]
    body = json.dumps({"id": "1", "inputs": inputs, "outputs": [{"name": "y"}]}).encode()
    paths = (
        b"/v2/models/m/infer", b"/v2/models/m/versions/1/infer", b"/v2/repository/index",
        b"/v2/models/m/trace/setting", b"/v2/logging", b"/v2/systemsharedmemory/region/r/register",
    )  # fmt: skip
    bodies = {
        b"/v1/models/m:predict": json.dumps({"instances": [[1, 2, 3, 4], [0.5, 6, 7, 8]]}).encode(),
        b"/v1/models/m/versions/1:predict": json.dumps({"inputs": {"x": [[1, 2, 3, 4]]}}).encode(),
        **dict.fromkeys(paths, body),
    }
    sent = 0
    while sent < count:
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            parts = []
            for _ in range(source.randint(1, 8)):
                whole, path = source.random() < 0.7, source.choice(list(bodies))
                content = spoilt(bodies[path], source)
                head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (
                    path if whole else spoilt(path, source).replace(b"\n", b""),
                    len(content),
                )
                parts.append((head if whole else spoilt(head, source)) + content)
                sent += 1
            with suppress(OSError):
                connection.sendall(b"".join(parts))
                connection.shutdown(socket.SHUT_WR)
            for status in statuses(connection):
                assert status in {200, 400, 401, 404, 405, 408, 500, 501, 503, 504}, status


def web_wire(server: Addresses, count: int, source: random.Random) -> None:
    """Spoil frames of gRPC-Web, their base64, and what they hold."""
    caller = WebCaller(server.http, timeout=60)
    seeds = [(method, make()) for method, makes in (GRPC | PREDICT).items() for make in makes]
    stream = f"{INFERENCE}ModelStreamInfer"
    for _ in range(count):
        method, seed = source.choice(seeds)
        if seed in (infer_message(), raw_message()) and source.random() < 0.3:
            method = stream
        spoils = source.randrange(3)
        message = spoilt(seed, source) if spoils == 0 else seed
        body = framed(message) * (source.randint(1, 5) if method == stream else 1)
        body, text = spoilt(body, source) if spoils == 1 else body, source.random() < 0.5
        if text:
            body = base64.b64encode(body)
        body = spoilt(body, source) if spoils == 2 else body
        answer = caller.send(method, body, text=text)
        assert answer.code is grpc.StatusCode.OK or answer.code in HTTP_STATUS, answer
        assert "incident" not in answer.details, answer
    caller.close()


def statuses(connection: socket.socket) -> Iterator[int]:
    """Read to the end, and yield the statuses of the answers."""
    held = b""
    with suppress(OSError):
        while part := connection.recv(1 << 16):
            held += part
    for line in held.split(b"HTTP/1.1 ")[1:]:
        yield int(line[:3])


def frames_wire(server: Addresses, count: int, source: random.Random) -> None:
    """Spoil HTTP/2 itself: headers, settings and data of a call; the answers say nothing."""
    host, _, port = server.grpc.rpartition(":")
    message = infer_message()
    data = b"\0" + len(message).to_bytes(4, "big") + message
    for _ in range(count // 20):
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=5) as opened:
            opened.sendall(OPENING)
            for number in range(1, 41, 2):
                one = call(f"{INFERENCE}ModelInfer", number) + frame(0, 1, number, data)
                opened.sendall(spoilt(one, source) if source.random() < 0.5 else one)


WIRES = {
    "gRPC": grpc_wire(GRPC), "TensorFlow Serving": grpc_wire(PREDICT), "HTTP": http_wire,
    "HTTP/2": frames_wire, "gRPC-Web": web_wire,
}  # fmt: skip


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("wire", WIRES)
def test_bad_requests_have_a_status_and_no_consequence(
    wire, count, repository, graphs, server_process, transport
):
    """Each is answered or refused as the table says; then the server answers as before."""
    if wire in ("HTTP", "gRPC-Web") and transport == "public":
        pytest.skip("HTTP is the same beside either transport")
    repository.add("m", graphs.identity())
    process = server_process(repository.path, "--grpc-port", "0", "--http-port", "0", "--grpc-web")
    addresses = Addresses(*process.wait_for(r"ready: gRPC on (\S+), HTTP on (\S+),").groups())
    WIRES[wire](addresses, count, random.Random(7))

    with grpc.insecure_channel(addresses.grpc) as channel:
        answer = channel.unary_unary(f"{INFERENCE}ModelInfer")(raw_message(), timeout=30)
    assert pb.ModelInferResponse.FromString(answer).model_name == "m"
    process.process.terminate()
    status, log = process.finish()
    assert (status, "Traceback" in log, "incident" in log) == (0, False, False)
