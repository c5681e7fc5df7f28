"""Mutated models and configurations: a reason of one line or a model, never a traceback or a death.

The loads run in a server of its own process, which a mutation may end: then the test fails.
"""

import random

import grpc
import numpy as np
import pytest

from tests.server.transports import OVER_ONE_TRANSPORT
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto.grpc_service_pb2_grpc import GRPCInferenceServiceStub

CONFIG = """
name: "m" platform: "onnxruntime_onnx" max_batch_size: 8
input [{ name: "x" data_type: TYPE_FP32 dims: [ 4 ] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" }]
dynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 100
  priority_levels: 2 default_priority_level: 1
  priority_queue_policy { key: 1 value { max_queue_size: 3 } } }
instance_group [{ count: 2 kind: KIND_CPU }]
version_policy { latest { num_versions: 1 } }
parameters { key: "intra_op_thread_count" value { string_value: "1" } }
model_warmup [{ name: "w" batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ]
  zero_data: true } } }]
"""

ALLOWED = {"INVALID_ARGUMENT", "INTERNAL", "UNAVAILABLE"}


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Change a few bytes: flip, set to an extreme, take out, double, cut, or write other encodings."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        if not data:
            break
        at, kind = rng.randrange(len(data)), rng.randrange(7)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice((0, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del data[at : at + rng.randrange(1, 9)]
        elif kind == 3:
            data[at:at] = data[at : at + rng.randrange(1, 30)]
        elif kind == 4:
            data[at:at] = rng.choice(
                (b"99999999999999999999", b"-1", b"nan", b"\xff\xff\xff\xff\x0f")
            )
        elif kind == 5:
            del data[at:]
        else:
            text = bytes(data).decode("latin-1")
            data = bytearray(text.encode(rng.choice(("utf-16", "utf-8-sig", "utf-32"))))
    return bytes(data)


def hurt(repository, models, count, seed, server_process):
    """Load so many mutations into one server; return the refusals and its log."""
    rng = random.Random(seed)
    server = server_process(
        repository.path,
        *("--grpc-port", "0", "--model-control-mode", "explicit", "--model-load-timeout", "20"),
    )
    address = server.address()
    row = np.ones((1, 4), np.float32)
    refusals = []
    with grpc.insecure_channel(address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        for number in range(count):
            graph, config = rng.choice(models), CONFIG.encode()
            if number % 2:
                graph = mutated(graph, rng)
            else:
                config = mutated(config, rng)
            (repository.path / "m" / "1" / "model.onnx").write_bytes(graph)
            (repository.path / "m" / "config.pbtxt").write_bytes(config)
            try:
                stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="m"), timeout=60)
            except grpc.RpcError as error:
                refusals.append((error.code().name, error.details()))
                continue
            request = pb.ModelInferRequest(model_name="m")
            request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
            request.raw_input_contents.append(row.tobytes())
            try:
                stub.ModelInfer(request, timeout=20)
            except grpc.RpcError as error:
                refusals.append((error.code().name, ""))
        assert stub.ServerLive(pb.ServerLiveRequest(), timeout=20).live
    server.process.terminate()
    status, log = server.finish()
    assert status == 0
    return refusals, log


@pytest.fixture
def models(graphs, repository):
    """The graphs that are mutated; each takes x of four floats."""
    folder = repository.add("m", graphs.identity(), CONFIG)
    (folder / "labels.txt").write_text("a\nb")
    return [graphs.identity(), graphs.with_default(), graphs.simple(), graphs.sums()]


@OVER_ONE_TRANSPORT
@pytest.mark.parametrize(
    "count",
    [
        300,
        pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_mutations_have_reasons(count, models, repository, server_process):
    """Mapped statuses alone, no traceback in the log, no death."""
    refusals, log = hurt(repository, models, count, 7, server_process)

    assert {code for code, _ in refusals} <= ALLOWED
    assert not [text for _, text in refusals if "\n" in text or str(repository.path) in text]
    assert "failed to load: unexpected" not in log
    assert "Traceback" not in log
    assert len(refusals) > count // 4
