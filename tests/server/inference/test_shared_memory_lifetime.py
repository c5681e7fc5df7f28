"""Shared memory regions that change, shrink or go away while requests use them."""

import gc
import os
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.server.inference.shared_segments import PAGE, error_of, part, register
from tests.server.slow_runs import trips_for
from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_server.errors import InvalidRequest
from zoo_server.inference.execution import gather
from zoo_server.inference.plan import CheckedRequest, Plan, PlannedInput
from zoo_server.inference.shared_memory import SharedMemory
from zoo_server.schedulers.latency_model import LatencyModel


def test_the_same_request_again_finds_other_values(shm, segment):
    """What is remembered of a request is where its inputs and outputs lie, not what lay there."""
    one = segment()
    register(shm, "r", one)
    request = pb.ModelInferRequest(model_name="simple")
    part(request.inputs.add(name="INPUT0", datatype="INT32", shape=[1, 16]), "r", 64)
    part(request.inputs.add(name="INPUT1", datatype="INT32", shape=[1, 16]), "r", 64, 64)
    part(request.outputs.add(name="OUTPUT0"), "r", 64, 128)
    request.outputs.add(name="OUTPUT1")
    for number in range(4):
        first, second = np.full(16, 10 + number, np.int32), np.full(16, number, np.int32)
        one.write(0, first.tobytes() + second.tobytes())
        answer = shm.stub.ModelInfer(request)

        assert one.read(128, 64) == (first + second).tobytes()
        assert list(answer.raw_output_contents) == [b"", (first - second).tobytes()]


def test_the_same_request_again_finds_the_region_of_today(shm, segment, make_request):
    """A name that was unregistered is unknown, and one that was given anew is the new region."""
    old, new = segment(), segment()
    register(shm, "r", old)
    ones = np.ones((1, 16), np.int32)
    request = make_request("simple", INPUT0=ones, INPUT1=ones)
    part(request.outputs.add(name="OUTPUT0"), "r", 64)
    for _ in range(3):
        shm.stub.ModelInfer(request)
    assert mappings(old) == 1
    shm.stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest(name="r"))

    assert is_let_go_of(old)
    assert error_of(shm.stub.ModelInfer, request) == (
        "NOT_FOUND",
        "Unable to find shared memory region: 'r'",
    )
    old.write(0, bytes(64))
    register(shm, "r", new)
    shm.stub.ModelInfer(request)
    assert new.read(0, 64) == (2 * ones).tobytes()
    assert old.read(0, 64) == bytes(64)


def test_a_region_that_shrinks(shm, segment, make_request):
    """An object cut shorter after it was registered is an error, not the end of the process."""
    one = segment(2 * PAGE)
    register(shm, "r", one)
    os.truncate(one.file, PAGE)
    ones = np.ones((1, 16), np.int32)
    request = make_request("simple", INPUT0=ones, INPUT1=ones)
    part(request.outputs.add(name="OUTPUT0"), "r", 64, PAGE)
    code, text = error_of(shm.stub.ModelInfer, request)
    assert code == "INVALID_ARGUMENT"
    assert "has become smaller" in text
    request.outputs[0].parameters["shared_memory_offset"].int64_param = PAGE - 64
    shm.stub.ModelInfer(request)


def test_unregistered_while_a_request_runs(shm, segment):
    """Regions of a running request stay until it ends: its output arrives; then they are gone."""
    one = segment()

    def ask(count, output=True):
        one.write(0, np.array([count], np.int64).tobytes())
        request = pb.ModelInferRequest(model_name="slow")
        part(request.inputs.add(name="n", datatype="INT64", shape=[1]), "in", 8)
        if output:
            part(request.outputs.add(name="y"), "out", 8, 0)
        return shm.stub.ModelInfer.future(request)

    register(shm, "in", one, byte_size=8)
    register(shm, "out", one, offset=64, byte_size=8)
    trips = trips_for(0.7, lambda count: ask(count).result())
    before = mappings(one)
    assert before > 0
    under_way = ask(trips)
    slow = shm.server.catalog.find("slow", "")
    until(lambda: slow.scheduler.running)
    shm.stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest())
    assert not under_way.done()
    assert mappings(one) == before

    under_way.result(60)
    assert np.frombuffer(one.read(64, 8), np.int64)[0] == trips
    assert is_let_go_of(one)
    assert error_of(ask(1).result, 20)[0] == "NOT_FOUND"


def mappings(segment):
    """How often this process, which is the server too, has the object mapped."""
    return Path("/proc/self/maps").read_text().count(segment.key)


def is_let_go_of(segment):
    """Wait until nobody has the object mapped: an answer is out before its request is forgotten."""
    gc.collect()
    until(lambda: mappings(segment) == 0)
    return True


def test_many_at_once(shm, segment):
    """Callers with a region each, registering and unregistering all the while, get their own."""
    wrong = []

    def call(number):
        one = segment(256)
        values = np.full((1, 4), number, np.float32)
        one.write(0, values.tobytes())
        for turn in range(10):
            register(shm, f"{number}-{turn}", one)
            request = pb.ModelInferRequest(model_name="identity_fp32")
            part(
                request.inputs.add(name="x", datatype="FP32", shape=[1, 4]), f"{number}-{turn}", 16
            )
            part(request.outputs.add(name="y"), f"{number}-{turn}", 16, 128)
            shm.stub.ModelInfer(request)
            if one.read(128, 16) != values.tobytes():
                wrong.append(number)
            shm.stub.SystemSharedMemoryUnregister(
                pb.SystemSharedMemoryUnregisterRequest(name=f"{number}-{turn}")
            )

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("together", [1, 2])
def test_a_shrunk_region_is_not_read(together, segment):
    """Nor an input, which may have waited for its run since it was looked at."""
    one = segment(2 * PAGE)
    memory = SharedMemory(enabled=True)
    memory.register("r", one.key, 0, 2 * PAGE)
    planned = PlannedInput(name="x", dtype=np.dtype("<f4"), shape=(1, 4), nbytes=16)
    plan = Plan(
        inputs=(planned,),
        batch_size=1,
        outputs=(),
        names=(),
        key=(),
        rows=1,
        classifies=False,
        size=1,
    )
    other = CheckedRequest(plan, [bytes(16)])
    requests = [CheckedRequest(plan, [memory.source("r", PAGE, 16)]), other][:together]
    assert gather(requests)["x"].tolist() == [[0] * 4] * together
    os.truncate(one.file, PAGE)
    with pytest.raises(InvalidRequest, match="has become smaller"):
        gather(requests)


def test_a_region_that_shrinks_while_a_request_waits(shm, segment):
    """The request is refused when its turn comes, its neighbours are answered."""
    one = segment(2 * PAGE)
    one.write(0, np.array([1_000_000], np.int64).tobytes())
    register(shm, "r", one)
    long, waiting, whole = (slow_request(offset) for offset in (0, PAGE, 8))
    model = shm.server.catalog.find("slow", "")
    model.scheduler.latency = LatencyModel()  # a run of a length that nobody knows is a worker's
    running = shm.stub.ModelInfer.future(long, timeout=60)
    until(lambda: model.scheduler.running == 1)  # else one of the others may be the first to run
    calls = [shm.stub.ModelInfer.future(message, timeout=60) for message in (waiting, whole)]
    until(lambda: model.waiting == 2)
    os.truncate(one.file, PAGE)

    assert not running.done()
    assert calls[0].code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "'r' has become smaller than it was registered" in calls[0].details()
    assert calls[1].code() is running.code() is grpc.StatusCode.OK


def slow_request(offset):
    request = pb.ModelInferRequest(model_name="slow")
    part(request.inputs.add(name="n", datatype="INT64", shape=[1]), "r", 8, offset)
    return request


def test_a_shrunk_region_is_not_written(segment):
    """The end of the object is looked at once more before an output is written."""
    one = segment(2 * PAGE)
    memory = SharedMemory(enabled=True)
    memory.register("r", one.key, 0, 2 * PAGE)
    destination = memory.destination("r", PAGE, 4)
    os.truncate(one.file, PAGE)
    with pytest.raises(InvalidRequest, match="has become smaller"):
        destination.write("y", bytes(4))
