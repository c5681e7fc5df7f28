"""ModelStreamInfer: order, errors as messages, statuses where asked for, the end of a stream."""

import queue
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_server.protocols.grpc.stream import InferStreams

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)


class Conversation:
    """An open stream that is fed one request at a time."""

    def __init__(self, wire, **options):
        self._requests = queue.SimpleQueue()
        self.answers = wire.stub.ModelStreamInfer(
            iter(self._requests.get, None), timeout=20, **options
        )

    def ask(self, *requests):
        for request in requests:
            self._requests.put(request)

    def end(self):
        self._requests.put(None)


@pytest.fixture
def converse(wire):
    """Open streams; all are ended with the test."""
    opened = []

    def start(**options):
        opened.append(Conversation(wire, **options))
        return opened[-1]

    yield start
    for conversation in opened:
        conversation.end()
        conversation.answers.cancel()


def stream_request(make_request, number, model="identity_fp32", **more):
    request = make_request(model, x=ROW + number)
    request.id = str(number)
    for key, value in more.items():
        setattr(request, key, value)
    return request


def test_answers_come_in_the_order_of_the_requests(converse, make_request):
    """Many requests at once: each is answered, in order, as final, by what it sent."""
    stream = converse()
    stream.ask(*(stream_request(make_request, number) for number in range(600)))
    stream.end()
    answers = list(stream.answers)

    assert [answer.infer_response.id for answer in answers] == [str(n) for n in range(600)]
    for number, answer in enumerate(answers):
        response = answer.infer_response
        assert answer.error_message == ""
        assert response.model_name == "identity_fp32"
        assert response.parameters["triton_final_response"].bool_param is True
        assert np.array_equal(np.frombuffer(response.raw_output_contents[0], "f4"), ROW[0] + number)


def test_an_error_is_a_message_and_the_stream_goes_on(converse, make_request):
    """A bad request is answered with its id and a text; the next one is answered as ever."""
    stream = converse()
    stream.ask(
        stream_request(make_request, 1, model_name="absent"),
        stream_request(make_request, 2, model_version="x"),
        stream_request(make_request, 3),
    )
    first, second, third = (next(stream.answers) for _ in range(3))

    assert first.error_message == "Request for unknown model: 'absent' is not found"
    assert first.infer_response.id == "1"
    for answer in (first, second, third):
        assert answer.infer_response.parameters["triton_final_response"].bool_param is True
    assert "failed to get model version" in second.error_message
    assert third.error_message == ""
    assert third.infer_response.id == "3"


def test_statuses_for_who_wants_them(converse, make_request):
    """With the header triton_grpc_error the first error is the stream's status, and its end."""
    stream = converse(metadata=(("triton_grpc_error", "true"),))
    stream.ask(stream_request(make_request, 1))
    assert next(stream.answers).infer_response.id == "1"
    stream.ask(stream_request(make_request, 2, model_name="absent"))
    with pytest.raises(grpc.RpcError) as caught:
        next(stream.answers)

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_bytes_that_are_no_request(wire):
    """A message that cannot be parsed is answered like any other bad one."""
    stream = wire.channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        response_deserializer=pb.ModelStreamInferResponse.FromString,
    )
    (answer,) = stream(iter([b"\xff\xff"]), timeout=10)

    assert "cannot be parsed" in answer.error_message


def test_a_stream_ends_when_the_server_leaves(transport, serve, repository, graphs, make_request):
    """An idle stream does not hold up a shutdown: it is UNAVAILABLE, by grpcio's own server in
    the core's words, since nobody can interrupt a handler there."""
    repository.add("identity_fp32", graphs.identity())
    with serve(repository.path) as wire:
        stream = Conversation(wire)
        stream.ask(stream_request(make_request, 1))
        assert next(stream.answers).infer_response.id == "1"
        time.sleep(0.2)  # until it is idle; one that is just answered hears the former either way
        began = time.monotonic()
        wire.server.stop(60)
        took = time.monotonic() - began
        with pytest.raises(grpc.RpcError) as caught:
            next(stream.answers)
        stream.end()

    words = {"fast": {"Server exiting"}, "public": {"Cancelling all calls", "Socket closed"}}
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() in words[transport]
    assert took < 30  # the grace is not waited for


def test_a_stream_is_answered_before_the_server_leaves(serve, repository, graphs):
    """What is under way on it is finished; then it ends with the server's own words."""
    repository.add("slow", graphs.slow())
    slow = pb.ModelInferRequest(model_name="slow")
    slow.inputs.add(name="n", datatype="INT64", shape=[1])
    slow.raw_input_contents.append(np.array([1_000_000], np.int64).tobytes())
    with serve(repository.path) as wire:
        model = wire.server.catalog.find("slow", "")
        stream = Conversation(wire)
        stream.ask(slow)
        until(lambda: model.scheduler.running)
        wire.server.stop(20)
        answer = next(stream.answers)
        with pytest.raises(grpc.RpcError) as caught:
            next(stream.answers)
        stream.end()

    assert len(answer.infer_response.raw_output_contents) == 1
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.UNAVAILABLE,
        "Server exiting",
    )


def test_idle_streams_starve_nobody(converse, wire, make_request):
    """More open streams than the server has threads at its start leave other calls as they were."""
    streams = [converse() for _ in range(60)]
    for number, stream in enumerate(streams):
        stream.ask(stream_request(make_request, number))
    for number, stream in enumerate(streams):
        assert next(stream.answers).infer_response.id == str(number)
    live = wire.stub.ServerLive(pb.ServerLiveRequest(), timeout=20)
    answer = wire.stub.ModelInfer(stream_request(make_request, 1), timeout=20)

    assert live.live
    assert answer.id == "1"


class Caller:
    """What a stream that is iterated sees of its call."""

    def invocation_metadata(self):
        return ()

    def abort(self, code, details):
        raise LookupError(code, details)


def test_streams_that_hold_threads_are_bounded():
    """Where a stream holds a thread, one too many is RESOURCE_EXHAUSTED, until another ends."""
    streams = InferStreams(Doubles(), most_iterated=2)
    first, second = (streams.iterate(iter([b"", b""]), Caller()) for _ in range(2))
    for stream in (first, second):
        assert next(stream)
    third = streams.iterate(iter([b""]), Caller())
    with pytest.raises(LookupError) as refused:
        next(third)
    first.close()

    assert refused.value.args == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "Concurrent stream limit exceeded! (2 streams are open)",
    )
    assert list(streams.iterate(iter([b""]), Caller()))


class Doubles:
    """A path that answers whatever it is asked."""

    def answer(self, calls):
        for call in calls:
            call.reply(call.message * 2)


def resident_mb():
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )
    return int(line.split()[1]) / 1024


def test_a_caller_who_does_not_read_is_not_read_from(wire, make_request):
    """Requests are taken while their answers leave, and no more than a few hundred beyond; once the
    caller reads, all are answered."""
    count, taken, stop = 4000, [], threading.Event()
    message = make_request("unbatched", x=np.zeros((1, 8192), np.float32)).SerializeToString()

    def requests():
        for number in range(count):
            if stop.is_set():
                return
            taken.append(number)
            yield message

    call = wire.channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    before = resident_mb()
    stream = call(requests(), timeout=60)
    try:
        seen = -1
        while seen < len(taken) < count:  # until a second brings no more
            seen = len(taken)
            time.sleep(1)
        stuck, grown = len(taken), resident_mb() - before
        answered = sum(1 for _ in stream)
    finally:
        stop.set()
        stream.cancel()

    assert 0 < stuck < 1000  # 256, and what fits into the windows of HTTP/2
    assert grown < 80
    assert answered == count


@pytest.mark.parametrize("ending", ["status", "cancel"])
def test_a_stream_that_ends_over_its_requests(ending, wire, make_request):
    """Streams of 400 requests end in their middle, by the status of a bad one or by a caller who
    hangs up: what is under way on them harms nobody, on these streams or others."""
    good = make_request("identity_fp32", x=ROW)
    bad = make_request("identity_fp32", x=ROW)
    bad.raw_input_contents[0] = b"xx"
    requests = [good] * 200 + [bad] + [good] * 199
    codes, texts, counts = set(), set(), []
    for _ in range(5):
        streams = [
            wire.stub.ModelStreamInfer(
                iter(requests), timeout=30, metadata=(("triton_grpc_error", "true"),)
            )
            for _ in range(4)
        ]
        for stream in streams:
            answers = [next(stream) for _ in range(20)]
            if ending == "cancel":
                stream.cancel()
            with pytest.raises(grpc.RpcError) as caught:
                answers += stream
            codes.add(caught.value.code())
            texts.add(caught.value.details())
            counts.append(len(answers))
            assert not any(answer.error_message for answer in answers)
        assert wire.stub.ModelInfer(good, timeout=10).raw_output_contents[0] == ROW.tobytes()

    (text,) = texts
    if ending == "cancel":
        assert codes == {grpc.StatusCode.CANCELLED}
    else:
        assert codes == {grpc.StatusCode.INVALID_ARGUMENT}
        assert (
            "input byte size mismatch for input 'x' for model 'identity_fp32'. Expected 16, got 2"
            in text
        )
        assert set(counts) == {200}
