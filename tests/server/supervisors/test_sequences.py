"""Sequences with several workers: kept by one of them, whichever a caller is connected to."""

import http.client
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.server.slow_runs import trips_for
from tests.server.transports import OVER_ONE_TRANSPORT
from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import grpc_service_pb2_grpc, tensorflow_serving_pb2, tensorflow_serving_pb2_grpc

MUST_START = "must specify the START flag"


@pytest.fixture
def sums(repository, graphs):
    """y = x + before, after = y: a running sum, in the repository as `sums`; kept for a minute."""
    rows = ["batch", 1]
    model = graphs.model(
        [
            helper.make_node("Add", ["x", "before"], ["after"]),
            helper.make_node("Identity", ["after"], ["y"]),
        ],
        [graphs.value(name, TensorProto.FLOAT, rows) for name in ("x", "before")],
        [graphs.value(name, TensorProto.FLOAT, rows) for name in ("y", "after")],
    )
    state = 'input_name: "before" output_name: "after" data_type: TYPE_FP32 dims: [ 1 ]'
    repository.add(
        "sums",
        model,
        "max_batch_size: 8 sequence_batching { max_sequence_idle_microseconds: 60000000"
        f" oldest {{ max_candidate_sequences: 64 }} state [{{ {state} }}] }}",
    )


def stub_of(channel):
    return grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)


def request(value, sequence, *, start=False, end=False, rows=1):
    message = pb.ModelInferRequest(model_name="sums", id=str(value))
    message.inputs.add(name="x", datatype="FP32", shape=[rows, 1])
    message.raw_input_contents.append(np.full(rows, value, np.float32).tobytes())
    message.parameters["sequence_id"].int64_param = sequence
    message.parameters["sequence_start"].bool_param = start
    message.parameters["sequence_end"].bool_param = end
    return message


def value_of(response):
    (value,) = np.frombuffer(response.raw_output_contents[0], np.float32).tolist()
    return value


def ask(channel, *arguments, **flags):
    return value_of(stub_of(channel).ModelInfer(request(*arguments, **flags), timeout=20))


def refusal(channel, message):
    with pytest.raises(grpc.RpcError) as caught:
        stub_of(channel).ModelInfer(message, timeout=20)
    return caught.value.code(), caught.value.details()


def refusals_until_answered(channel):
    """Ask on one connection until it reaches a worker that keeps sequences; return what it was told.

    Each connection by itself: the kernel closes a killed process's connections before its listening
    socket, so that a client which connects again at once may reach it once more and be reset. Then
    gRPC waits a second before its next attempt, while another worker has long taken the place.
    """
    told = []

    def is_answered():
        told.append(refusal(channel, request(1, 7)))
        return told[-1][0] is not grpc.StatusCode.UNAVAILABLE

    until(is_answered, 60)
    return told


@OVER_ONE_TRANSPORT
def test_a_sequence_is_one_whichever_worker_it_reaches(two, sums, connected):
    """Each request of two sequences comes over another connection, and finds the state of before."""
    address = two().address()
    with connected(address) as channels:
        first = [
            ask(channel, 1, 7, start=number == 0, end=number == len(channels) - 1)
            for number, channel in enumerate(channels)
        ]
        with ThreadPoolExecutor(len(channels)) as pool:
            many = list(
                pool.map(
                    lambda number: [
                        ask(channels[(number + step) % 16], number, 100 + number, start=step == 0)
                        for step in range(20)
                    ],
                    range(16),
                )
            )
        ready = [stub.ServerReady(pb.ServerReadyRequest()).ready for stub in map(stub_of, channels)]
        counts = {
            stub_of(channel)
            .ModelStatistics(pb.ModelStatisticsRequest(name="sums"))
            .model_stats[0]
            .inference_count
            for channel in channels
        }

    assert first == list(range(1, len(channels) + 1))
    assert many == [[number * step for step in range(1, 21)] for number in range(16)]
    assert all(ready)
    assert counts == {len(channels) + 16 * 20}


def test_streams_stay_in_order_in_both_workers(two, sums, connected):
    """Hundreds of requests at once on each of sixteen streams, and ordinary ones between them."""
    address, count = two().address(), 200

    def requests(sequence):
        for number in range(count):
            yield request(1, sequence, start=number == 0, end=number == count - 1)
            plain = pb.ModelInferRequest(model_name="m")
            plain.inputs.add(name="x", datatype="FP32", shape=[1, 4])
            plain.raw_input_contents.append(np.zeros(4, np.float32).tobytes())
            yield plain

    with connected(address) as channels:
        calls = [
            stub_of(channel).ModelStreamInfer(requests(number + 1), timeout=60)
            for number, channel in enumerate(channels)
        ]
        responses = [[answer.infer_response for answer in call] for call in calls]

    for answers in responses:
        assert [value_of(answer) for answer in answers[::2]] == list(range(1, count + 1))
        assert [answer.model_name for answer in answers[1::2]] == ["m"] * count


def test_errors_are_those_of_one_process(two, sums, connected):
    """Whichever worker is asked, a mistake has the same code and text, in a stream too."""
    wrong = pb.ModelInferRequest(model_name="sums")
    wrong.inputs.add(name="z", datatype="FP32", shape=[1, 1])
    wrong.raw_input_contents.append(bytes(4))
    unknown = request(1, 3, start=True)
    unknown.model_version = "9"
    cases = [
        (request(1, 99), "INVALID_ARGUMENT", MUST_START),
        (request(1, 0), "INVALID_ARGUMENT", "must specify a non-zero or non-empty correlation ID"),
        (request(1, 5, start=True, rows=2), "INVALID_ARGUMENT", "must specify batch-size 1"),
        (wrong, "INVALID_ARGUMENT", "unexpected inference input 'z'"),
        (unknown, "NOT_FOUND", "version 9 is not found"),
    ]
    with connected(two().address()) as channels:
        for message, code, words in cases:
            refusals = {refusal(channel, message) for channel in channels}
            ((status, text),) = refusals
            assert (status.name, words in text) == (code, True), text
        for channel in channels:
            answers = list(stub_of(channel).ModelStreamInfer(iter([request(1, 99)]), timeout=20))
            assert [MUST_START in answer.error_message for answer in answers] == [True]


@OVER_ONE_TRANSPORT
def test_rest_and_predict_know_sequences_too(two, sums, connected):
    """Over HTTP a sequence goes on that began over gRPC; Predict has no sequence id, and says so."""
    process = two("--http-port", "0")
    addresses = process.wait_for(r"ready: gRPC on (\S+), HTTP on (\S+), 2 models")
    body = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [5]}],
        "parameters": {"sequence_id": 4},
    }
    with connected(addresses.group(1)) as channels:
        assert [ask(channel, 1, 4, start=channel is channels[0]) for channel in channels][-1] == 16
        connection = http.client.HTTPConnection(addresses.group(2), timeout=20)
        connection.request("POST", "/v2/models/sums/infer", json.dumps(body))
        rest = json.loads(connection.getresponse().read())
        connection.close()
        assert ask(channels[0], 1, 4) == 22
        predict = tensorflow_serving_pb2.PredictRequest()
        predict.model_spec.name = "sums"
        predict.inputs["x"].dtype = 1
        predict.inputs["x"].float_val.append(1)
        for _ in range(2):
            predict.inputs["x"].tensor_shape.dim.add(size=1)
        texts = set()
        for channel in channels:
            stub = tensorflow_serving_pb2_grpc.PredictionServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.Predict(predict, timeout=20)
            texts.add((caught.value.code().name, caught.value.details()))

    assert rest["outputs"][0]["data"] == [21.0]
    ((code, text),) = texts
    assert (code, "correlation ID" in text) == ("INVALID_ARGUMENT", True)


@OVER_ONE_TRANSPORT
def test_sequences_end_with_the_worker_that_keeps_them(two, sums, connected):
    """After kill -9 a caller is told to come again, then to START again, and never waits for ever."""
    process = two()
    address = process.address()
    with connected(address) as channels:
        assert [ask(channel, 1, 7, start=channel is channels[0]) for channel in channels][-1] == 16
        os.kill(process.workers()[0], signal.SIGKILL)
        told = [refusals_until_answered(channel) for channel in channels]
        process.wait_for("worker 1 serves")
        last = {refusal(channel, request(1, 7)) for channel in channels}
        again = [ask(channel, 1, 7, start=channel is channels[0]) for channel in channels]

    assert {code.name for each in told for code, _ in each} <= {"UNAVAILABLE", "INVALID_ARGUMENT"}
    assert [(code.name, MUST_START in text) for code, text in last] == [("INVALID_ARGUMENT", True)]
    assert again == list(range(1, len(channels) + 1))


@OVER_ONE_TRANSPORT
def test_sequences_outlive_the_other_worker(two, sums, connected):
    """Where a worker dies that only hands on, a sequence goes on over another connection."""
    process = two()
    address = process.address()
    with connected(address, 1) as (channel,):
        assert ask(channel, 1, 7, start=True) == 1
        os.kill(process.workers()[1], signal.SIGKILL)
    process.wait_for("worker 2 serves")
    with connected(address) as channels:
        assert [ask(channel, 1, 7) for channel in channels] == list(range(2, 18))


def slow(sequence, count):
    message = pb.ModelInferRequest(model_name="slow")
    message.inputs.add(name="n", datatype="INT64", shape=[1])
    message.raw_input_contents.append(np.array([count], np.int64).tobytes())
    message.parameters["sequence_id"].int64_param = sequence
    message.parameters["sequence_start"].bool_param = True
    message.parameters[
        "sequence_end"
    ].bool_param = True  # without a batch there is one place for all
    return message


def begun(channels, seconds):
    """Have a slow request under way on each connection, one a sequence; together they take so long."""
    stub = stub_of(channels[0])
    count = trips_for(seconds / len(channels), lambda count: stub.ModelInfer(slow(1, count)))
    calls = [
        stub_of(channel).ModelInfer.future(slow(number + 2, count), timeout=60)
        for number, channel in enumerate(channels)
    ]
    until(lambda: any(call.done() for call in calls))
    return calls


@OVER_ONE_TRANSPORT
@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_handed_on_is_answered_at_the_end_too(way, two, repository, graphs, connected):
    """A server that leaves finishes it; if the sequence worker is killed its callers are told at once."""
    repository.add("slow", graphs.slow(), "sequence_batching { direct {} }")
    process = two()
    with connected(process.address()) as channels:
        calls = begun(channels, 2.0)
        if way is signal.SIGTERM:
            process.send(way)
            assert process.finish(60)[0] == 0
        else:
            os.kill(process.workers()[0], way)
        ends = [call.exception(timeout=30) for call in calls]

    failed = [end for end in ends if end is not None]
    assert len(failed) < len(ends)
    assert {end.code().name for end in failed} <= {"UNAVAILABLE"}
    if way is signal.SIGTERM:
        assert not failed
    else:
        assert any("worker 1 has ended" in end.details() for end in failed)
