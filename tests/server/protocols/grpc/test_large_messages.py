"""Messages near what gRPC can carry at all: 2 GiB."""

import re
from pathlib import Path

import grpc
import pytest

from zoo_proto import grpc_service_pb2 as pb

METHOD = "/inference.GRPCInferenceService/ModelInfer"

UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))

#: Both ends hold the message several times: as values, as bytes, as gRPC's slices.
NEEDED_KB = 12 << 20


def available_kb():
    lines = Path("/proc/meminfo").read_text()
    return int(re.search(r"^MemAvailable:\s+(\d+) kB", lines, re.MULTILINE).group(1))


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["fast"], indirect=True)
def test_more_than_a_gibibyte_each_way(serve, repository, graphs):
    """A tensor of 1.1 GB comes back as it was sent."""
    if available_kb() < NEEDED_KB:
        pytest.skip("12 GiB of memory are not free: messages beyond 1 GiB are not shown")
    repository.add("m", graphs.identity(shape=("batch", "length")))
    raw = bytes(range(256)) * (280_000_000 * 4 // 256)
    request = pb.ModelInferRequest(model_name="m", raw_input_contents=[raw])
    request.inputs.add(name="x", datatype="FP32", shape=[1, len(raw) // 4])
    sent = request.SerializeToString()
    del request
    with serve(repository.path) as wire, grpc.insecure_channel(wire.address, UNLIMITED) as channel:
        answer = channel.unary_unary(METHOD)(sent, timeout=120)

    assert len(raw) > 1 << 30
    assert answer.endswith(raw)
