"""Requests of any kind, as bytes and as messages: a status of the table, no crash, no growth."""

import random
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from onnx import TensorProto, helper

from tests.server.protocols.grpc.infer_requests import Sent, requests
from tests.server.transports import OVER_ONE_TRANSPORT
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import grpc_service_pb2_grpc
from zoo_proto import tensorflow_serving_pb2 as tfs

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


def resident_kb(pid: int | str = "self") -> int:
    """The memory of a process at present; this one's is also that of a server in it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS")]
    return int(line.split()[1])


#: What the memory of a server may rise by while thousands of requests are answered.
BOUND_KB = 10_000

#: The same where the process is also that of the client and of the test.
BOUND_BESIDE_CLIENT_KB = 30_000


def risen_kb(send: Callable[[int], object], pid: int | str = "self") -> int:
    """Return by how much memory rises while four thousand are sent, after the first thousand."""
    send(1000)
    before = resident_kb(pid)
    for _ in range(4):
        send(1000)
    return resident_kb(pid) - before


@pytest.mark.timeout(120)
def test_spoilt_requests_are_answered_or_refused(wire) -> None:
    """Thousands of them: never UNKNOWN or INTERNAL, and the server's memory stays where it was."""
    source, kinds = random.Random(7), seeds()
    ask = wire.channel.unary_unary(METHOD)
    seen: set[grpc.StatusCode] = set()

    def send(count: int) -> None:
        calls = [ask.future(spoilt(source.choice(kinds), source), timeout=30) for _ in range(count)]
        seen.update(call.code() for call in calls)

    risen = risen_kb(send)

    assert seen <= ALLOWED
    assert grpc.StatusCode.OK in seen  # some survive, or nothing was tried
    assert risen < BOUND_BESIDE_CLIENT_KB


#: Lets a server remember every kind of request that it is sent.
WITHOUT_BOUNDS = "import zoo_server.protocols.grpc.infer as path; path._MOST_TEMPLATES = 10**9"


@OVER_ONE_TRANSPORT
@pytest.mark.timeout(120)
@pytest.mark.parametrize("first", ["", WITHOUT_BOUNDS], ids=["as it is", "without bounds"])
def test_the_check_of_memory_can_fail(first, server_process, repository, graphs) -> None:
    """Five thousand kinds of requests leave a server as it is where it was, and not one that leaks."""
    repository.add("identity_fp32", graphs.identity())
    process = server_process(repository.path, "--grpc-port", "0", first=first)
    request = pb.ModelInferRequest(model_name="identity_fp32", raw_input_contents=[bytes(16)])
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    kinds = iter(range(10_000))
    with grpc.insecure_channel(process.address()) as channel:
        ask = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer

        def send(count: int) -> None:
            for begin in range(0, count, 250):
                calls = []
                for _ in range(begin, min(begin + 250, count)):
                    number = next(kinds)
                    for key in range(12):
                        text = f"{number}-{key}".ljust(120, "x")
                        request.parameters[f"key {key}"].string_param = text
                    calls.append(ask.future(request, timeout=30))
                assert {call.code() for call in calls} == {grpc.StatusCode.OK}

        risen = risen_kb(send, process.process.pid)

    if first:
        assert risen > BOUND_KB
    else:
        assert risen < BOUND_KB


# -- messages of about the right form -------------------------------------------------------------


@pytest.fixture
def key():
    """The key of an object of shared memory, of a page."""
    file = Path("/dev/shm") / f"layer-zoo-fuzz-{uuid.uuid4().hex}"
    file.write_bytes(bytes(4096))
    yield f"/{file.name}"
    file.unlink()


@pytest.fixture
def fuzzed(server_process, repository, graphs, key):
    """A server in a process of its own with every model of MODELS, and a region of shared memory."""
    for name, kind in (("fp32", 1), ("bytes", 8), ("int8", 3), ("fp16", 10)):
        repository.add(f"identity_{name}", graphs.identity(kind))
    repository.add("simple", graphs.simple(), "max_batch_size: 8")
    repository.add("scalar", graphs.identity(shape=()))
    repository.add(
        "unbatched", graphs.identity(TensorProto.UINT64, ("n", "m")), "max_batch_size: 0"
    )
    repository.add(
        "optional",
        graphs.with_default(),
        'max_batch_size: 4 input [{ name: "x" data_type: TYPE_FP32 dims: [ 4 ] },'
        ' { name: "bias" data_type: TYPE_FP32 dims: [ 4 ] optional: true }]',
    )
    rows = ["batch", 1]
    names = (("x", "before"), ("y", "after"))
    inputs, outputs = [[graphs.value(n, TensorProto.FLOAT, rows) for n in two] for two in names]
    nodes = [
        helper.make_node("Add", ["x", "before"], ["after"]),
        helper.make_node("Identity", ["after"], ["y"]),
    ]
    repository.add(
        "sequence",
        graphs.model(nodes, inputs, outputs),
        "max_batch_size: 8 sequence_batching { max_sequence_idle_microseconds: 1000 state"
        ' [{ input_name: "before" output_name: "after" data_type: TYPE_FP32 dims: [ 1 ] }] }',
    )
    repository.add(
        "urgent",
        graphs.identity(),
        "max_batch_size: 8 dynamic_batching { priority_levels: 3 default_priority_level: 2"
        " max_queue_delay_microseconds: 100 default_queue_policy { allow_timeout_override: true } }",
    )
    process = server_process(repository.path, "--grpc-port", "0", "--allow-shared-memory")
    with grpc.insecure_channel(process.address()) as channel:
        wire = Wire(channel, process.process.pid)
        wire.stub.SystemSharedMemoryRegister(
            pb.SystemSharedMemoryRegisterRequest(name="r", key=key, byte_size=4096)
        )
        yield wire


class Wire:
    """Sends one request in each way, and says what came of it."""

    def __init__(self, channel: grpc.Channel, pid: int) -> None:
        self.pid = pid
        self.stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self._predict = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            tfs.PredictRequest.SerializeToString,
            tfs.PredictResponse.FromString,
        )

    def infer(self, request: pb.ModelInferRequest) -> tuple[grpc.StatusCode, str]:
        return _outcome(self.stub.ModelInfer.future(request, timeout=10))

    def predict(self, request: tfs.PredictRequest) -> tuple[grpc.StatusCode, str]:
        return _outcome(self._predict.future(request, timeout=10))

    def stream(self, request: pb.ModelInferRequest) -> str:
        """Return the error message of the one answer, "" if it is none."""
        (answer,) = self.stub.ModelStreamInfer(iter([request]), timeout=10)
        assert answer.infer_response.id == request.id
        return answer.error_message


def _outcome(call: Any) -> tuple[grpc.StatusCode, str]:
    return call.code(), call.details() or ""


def check(code: grpc.StatusCode, details: str) -> None:
    """1c's statuses, each with words; UNAVAILABLE and INTERNAL only where that is the answer."""
    if code is grpc.StatusCode.OK:
        return
    assert details
    assert "incident" not in details
    if code is grpc.StatusCode.UNAVAILABLE:
        assert details in ("Request timeout expired", "Exceeds maximum queue size")
    elif code is grpc.StatusCode.INTERNAL:
        assert "should be at least" in details  # an output that does not fit its region
    else:
        assert code in ALLOWED, (code, details)


#: Behind a transport a request's way is one: over the second one the first of them are enough.
EXAMPLES = {"fast": 400, "public": 100}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_any_infer_request(fuzzed, transport, times) -> None:
    """Of nearly right requests each has a mapped status, soon, in every way that it can be sent."""
    examples = times * EXAMPLES[transport]
    seen: dict[grpc.StatusCode, int] = {}
    resident: list[int] = []

    @given(requests())
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow],
    )
    def ask(sent: Sent) -> None:
        code, details = fuzzed.infer(sent.infer)
        check(code, details)
        message = fuzzed.stream(sent.infer)
        assert "incident" not in message
        if sent.steady:
            assert (message == "") is (code is grpc.StatusCode.OK), (code, details, message)
            assert message == details
        check(*fuzzed.predict(sent.predict))
        seen[code] = seen.get(code, 0) + 1
        resident.append(resident_kb(fuzzed.pid))

    ask()
    good = pb.ModelInferRequest(model_name="identity_fp32", raw_input_contents=[bytes(16)])
    good.inputs.add(name="x", datatype="FP32", shape=[1, 4])

    assert fuzzed.infer(good) == (grpc.StatusCode.OK, "")
    assert len(resident) >= examples
    assert resident[-1] - resident[min(100, examples // 4)] < BOUND_KB
    # Enough of them are good, and enough are not: a strategy that only finds one kind shows little.
    assert seen[grpc.StatusCode.OK] > examples // 20, seen
    assert seen[grpc.StatusCode.INVALID_ARGUMENT] > examples // 8, seen
    assert seen[grpc.StatusCode.NOT_FOUND] > examples // 80, seen
