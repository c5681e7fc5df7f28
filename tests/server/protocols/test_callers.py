"""What each caller may ask for: on a clock of the test's own, and on every wire."""

import http.client
import json

import grpc
import numpy as np
import pytest

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.errors import QuotaExceeded
from zoo_server.protocols.callers import CallerLimits


class Clock:
    now = 10.0

    def __call__(self):
        return self.now


def enter(limits, peer="10.0.0.1", token=None):
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    return limits.enter(metadata, lambda: peer)


def test_so_many_are_under_way():
    refused = []
    limits = CallerLimits(2, 0, by_token=False, on_refusal=lambda: refused.append(1))
    first = enter(limits)
    enter(limits)
    with pytest.raises(QuotaExceeded, match="2 requests under way"):
        enter(limits)
    assert enter(limits, "10.0.0.2")
    assert refused == [1]

    first()
    enter(limits)
    with pytest.raises(QuotaExceeded):
        enter(limits)


def test_so_many_come_in_a_second():
    clock = Clock()
    limits = CallerLimits(0, 5, by_token=False, clock=clock)
    for _ in range(5):
        enter(limits)()
    with pytest.raises(QuotaExceeded, match="5 requests a second") as caught:
        enter(limits)
    assert caught.value.retry_ms == 201

    clock.now += 0.21
    enter(limits)
    with pytest.raises(QuotaExceeded):
        enter(limits)
    clock.now += 60
    for _ in range(5):
        enter(limits)
    with pytest.raises(QuotaExceeded):
        enter(limits)


def test_a_slow_rate_lets_one_in():
    clock = Clock()
    limits = CallerLimits(0, 0.1, by_token=False, clock=clock)
    enter(limits)
    clock.now += 9
    with pytest.raises(QuotaExceeded):
        enter(limits)
    clock.now += 1.1
    enter(limits)


def test_tokens_are_callers_only_where_the_server_asks_for_them():
    by_token = CallerLimits(1, 0, by_token=True)
    enter(by_token, token="a")
    enter(by_token, token="b")
    with pytest.raises(QuotaExceeded):
        enter(by_token, "10.0.0.9", token="a")

    by_address = CallerLimits(1, 0, by_token=False)
    enter(by_address, token="a")
    with pytest.raises(QuotaExceeded):
        enter(by_address, token="b")


def test_who_comes_through_another_program_is_not_limited():
    limits = CallerLimits(1, 1, by_token=False)
    for _ in range(5):
        enter(limits, "")


def test_callers_are_forgotten():
    clock = Clock()
    limits = CallerLimits(1, 1, by_token=False, clock=clock)
    for number in range(10_000):
        clock.now += 0.001
        enter(limits, str(number))()
    assert len(limits._accounts) < 6000  # noqa: SLF001


@pytest.fixture
def limited(repository, graphs, serve):
    repository.add("m", graphs.identity(), "max_batch_size: 4")
    limits = {"max_requests_per_second_per_caller": 0.001}
    with serve(repository.path, http_port=0, **limits) as wire:
        yield wire


def infer_request():
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    message.raw_input_contents.append(np.zeros(4, np.float32).tobytes())
    return message


def test_on_every_wire(limited):
    """One request is let in; of the others each wire says why, and what is no inference is answered."""
    assert limited.stub.ModelInfer(infer_request(), timeout=20).raw_output_contents
    with pytest.raises(grpc.RpcError, match="requests a second") as caught:
        limited.stub.ModelInfer(infer_request(), timeout=20)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    trailers = dict(caught.value.trailing_metadata())
    assert int(trailers["grpc-retry-pushback-ms"]) > 100_000
    (streamed,) = limited.stub.ModelStreamInfer(iter([infer_request()]), timeout=20)
    assert "requests a second" in streamed.error_message

    connection = http.client.HTTPConnection(limited.server.http_address, timeout=20)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0] * 4}
    connection.request("POST", "/v2/models/m/infer", json.dumps({"inputs": [tensor]}))
    answer = connection.getresponse()
    assert answer.status == 429
    assert int(answer.getheader("retry-after")) > 100
    assert "requests a second" in json.loads(answer.read())["error"]
    for path in ("/v2/health/ready", "/v2/models/m", "/v2/models/m/stats"):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()

    assert limited.stub.ServerReady(pb.ServerReadyRequest()).ready
    assert limited.server.counts.read()['nv_server_request_refused{reason="QUOTA"}'] == 3
    assert limited.server.in_flight.count == 0
