"""A run for which nobody waits any more is ended, on every wire; others' go on."""

import http.client
import json
from contextlib import suppress
from threading import Thread

import grpc
import numpy as np
import pytest

from tests.server.grpc_callers import infer_request
from tests.waiting import until
from zoo_proto import tensorflow_serving_pb2, tensorflow_serving_pb2_grpc

#: A loop of so many turns lasts for hours.
ENDLESS = np.array([2**50])


@pytest.fixture(scope="module")
def served(tmp_path_factory, graphs, serve):
    """A server of a loop whose length is in the data, one run at a time."""
    folder = tmp_path_factory.mktemp("cancelled") / "slow"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(graphs.slow())
    with serve(folder.parent, http_port=0, drain_seconds=0) as wire:
        yield wire


@pytest.fixture
def running(served):
    """Whether a run is under way."""
    model = served.server.catalog.find("slow", "")
    return lambda: model.scheduler.running == 1


def by_unary(wire, running):
    call = wire.stub.ModelInfer.future(infer_request("slow", n=ENDLESS))
    until(running)
    call.cancel()


def by_deadline(wire, running):
    with pytest.raises(grpc.RpcError) as caught:
        wire.stub.ModelInfer(infer_request("slow", n=ENDLESS), timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def by_stream(wire, running):
    call = wire.stub.ModelStreamInfer(iter([infer_request("slow", n=ENDLESS)]))
    until(running)
    call.cancel()


def by_predict(wire, running):
    request = tensorflow_serving_pb2.PredictRequest()
    request.model_spec.name = "slow"
    tensor = request.inputs["n"]
    tensor.dtype, tensor.tensor_content = 9, ENDLESS.tobytes()
    tensor.tensor_shape.dim.add(size=1)
    with grpc.insecure_channel(wire.server.grpc_address) as channel:
        stub = tensorflow_serving_pb2_grpc.PredictionServiceStub(channel)
        call = stub.Predict.future(request)
        until(running)
        call.cancel()


def by_rest(wire, running, padding=0):
    connection = http.client.HTTPConnection(wire.server.http_address)
    tensor = {"name": "n", "datatype": "INT64", "shape": [1], "data": [int(ENDLESS[0])]}
    body = json.dumps({"inputs": [tensor]}) + " " * padding
    connection.request("POST", "/v2/models/slow/infer", body)
    until(running)
    connection.close()


def by_large_rest(wire, running):
    by_rest(wire, running, padding=1 << 16)


@pytest.mark.parametrize(
    "leave", [by_unary, by_deadline, by_stream, by_predict, by_rest, by_large_rest]
)
def test_a_run_whose_caller_left_is_ended(served, running, leave):
    """The next caller is answered, by the same session."""
    leave(served, running)

    assert served.infer("slow", n=np.array([3]))["y"] == [3]


def test_a_batch_goes_on_for_who_still_waits(served, graphs, repository, serve):
    """Of two requests in one run, one that left ends nothing."""
    batching = "max_queue_delay_microseconds: 5000000 preferred_batch_size: [ 2 ]"
    repository.add(
        "slow", graphs.slow_rows(), f"max_batch_size: 8 dynamic_batching {{ {batching} }}"
    )
    with serve(repository.path) as wire:
        request = infer_request("slow", n=np.array([[300_000]]))
        staying, leaving = (wire.stub.ModelInfer.future(request) for _ in range(2))
        model = wire.server.catalog.find("slow", "")
        until(lambda: model.scheduler.running == 1)
        leaving.cancel()

        assert np.frombuffer(staying.result(20).raw_output_contents[0], np.int64) == [300_000]
        assert model.statistics.snapshot().execution_count == 1


def test_a_loop_without_end_does_not_keep_the_server(repository, graphs, serve):
    """Once the drain is over, who waits hears that the server leaves."""
    repository.add("slow", graphs.slow())
    outcome = []
    with serve(repository.path, drain_seconds=0.2) as wire:
        call = wire.stub.ModelInfer.future(infer_request("slow", n=ENDLESS))
        until(lambda: wire.server.catalog.find("slow", "").scheduler.running)
        stopper = Thread(target=lambda: outcome.append(wire.server.stop(0.2)))
        stopper.start()
        with suppress(grpc.RpcError):
            call.result(20)
        stopper.join()

    assert call.code() is grpc.StatusCode.UNAVAILABLE
    assert outcome == [1]
