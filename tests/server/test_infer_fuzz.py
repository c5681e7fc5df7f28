"""Bytes of any kind sent as a ModelInferRequest: a status of the table, no crash, no growth."""

import random
from pathlib import Path

import grpc
import numpy as np
import pytest
from zoo_proto import grpc_service_pb2 as pb

METHOD = "/inference.GRPCInferenceService/ModelInfer"

ALLOWED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
}


def seeds() -> list[bytes]:
    """Good requests of several kinds, to be spoilt."""
    kinds = []
    for model, datatype, data in (
        ("identity_fp32", "FP32", np.ones((2, 4), "f4").tobytes()),
        ("identity_int64", "INT64", np.ones((2, 4), "i8").tobytes()),
        ("identity_bytes", "BYTES", b"\x01\x00\x00\x00a" * 8),
    ):
        request = pb.ModelInferRequest(model_name=model, id="an id")
        request.inputs.add(name="x", datatype=datatype, shape=[2, 4])
        request.raw_input_contents.append(data)
        kinds.append(request.SerializeToString())
    typed = pb.ModelInferRequest(model_name="identity_fp32")
    tensor = typed.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([1, 2, 3, 4])
    typed.outputs.add(name="y").parameters["classification"].int64_param = 2
    typed.parameters["timeout"].int64_param = 5
    return [*kinds, typed.SerializeToString()]


def spoilt(raw: bytes, source: random.Random) -> bytes:
    """Flip, cut, insert and double bytes."""
    data = bytearray(raw)
    for _ in range(source.randint(1, 6)):
        at = source.randrange(len(data) + 1)
        kind = source.randrange(4)
        if kind == 0 and at < len(data):
            data[at] = source.randrange(256)
        elif kind == 1:
            del data[at : at + source.randint(1, 8)]
        elif kind == 2:
            data[at:at] = source.randbytes(source.randint(1, 8))
        else:
            data[at:at] = data[max(0, at - 12) : at]
    return bytes(data)


def resident_kb() -> int:
    """The memory of this process, in which the server runs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS")]
    return int(line.split()[1])


@pytest.mark.timeout(120)
def test_spoilt_requests_are_answered_or_refused(wire) -> None:
    """Thousands of them: never UNKNOWN or INTERNAL, and the server's memory stays where it was."""
    source, kinds = random.Random(7), seeds()
    ask = wire.channel.unary_unary(METHOD)
    seen: set[grpc.StatusCode] = set()

    def send(count: int) -> None:
        calls = [ask.future(spoilt(source.choice(kinds), source), timeout=30) for _ in range(count)]
        seen.update(call.code() for call in calls)

    send(1000)
    before = resident_kb()
    for _ in range(4):
        send(1000)

    assert seen <= ALLOWED
    assert grpc.StatusCode.OK in seen  # some survive, or nothing was tried
    assert resident_kb() - before < 30_000
