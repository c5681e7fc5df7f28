"""Loading and unloading beside requests: what is seen meanwhile, and what is freed afterwards."""

import gc
import threading
import weakref

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from onnx import TensorProto, helper

from tests.server.models.control_calls import ROW, at_once, index, load, outcome, unload
from tests.server.slow_runs import trips_for
from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb

SERVING, NOT_SERVING = 1, 2


class Hold:
    """Holds every load of a graph until it is let go; tells when one has begun."""

    def __init__(self):
        self.begun, self.over = threading.Event(), threading.Event()

    def __call__(self, open_graph):
        self.begun.set()
        assert self.over.wait(20)
        return open_graph()


def test_loading_shows_and_the_old_one_serves_meanwhile(
    explicit, client, repository, graphs, opener
):
    """During a load the new version is LOADING, the old one answers, and the server stays ready."""
    client.load_model("m")
    repository.add("m", graphs.identity(), version=2)
    hold = opener.around = Hold()
    loading = threading.Thread(target=client.load_model, args=("m",))
    loading.start()
    assert hold.begun.wait(20)

    assert [row for row in index(explicit) if row[0] == "m"] == [
        ("m", "1", "READY", ""),
        ("m", "2", "LOADING", ""),
    ]
    assert explicit.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
    with pytest.raises(grpc.RpcError, match="'m' version 2 is not at ready state: loading") as late:
        explicit.infer("m", version="2", x=ROW)
    assert late.value.code() is grpc.StatusCode.UNAVAILABLE
    assert client.is_server_ready()
    hold.over.set()
    loading.join()
    assert client.get_model_metadata("m").versions == ["2"]


def test_inference_during_the_first_load(explicit, client, opener):
    """The version is not ready yet, UNAVAILABLE; without one asked for there is none to be had."""
    hold = opener.around = Hold()
    loading = threading.Thread(target=client.load_model, args=("m",))
    loading.start()
    assert hold.begun.wait(20)
    refused = {}
    for version in ("1", "", "2"):
        with pytest.raises(grpc.RpcError) as caught:
            explicit.infer("m", version=version, x=ROW)
        refused[version] = caught.value.code().name, caught.value.details()
    hold.over.set()
    loading.join()

    stem = "Request for unknown model: 'm'"
    assert refused == {
        "1": ("UNAVAILABLE", f"{stem} version 1 is not at ready state: loading"),
        "": ("NOT_FOUND", f"{stem} has no available versions: loading"),
        "2": ("NOT_FOUND", f"{stem} version 2 is not found"),
    }
    assert explicit.infer("m", version="1", x=ROW)["y"].tolist() == ROW.tolist()


def test_changes_of_one_model_wait_for_each_other(explicit, client, opener):
    """An unload that comes during a load waits for it; another model's load does not."""
    hold = opener.around = Hold()
    loading = threading.Thread(target=client.load_model, args=("m",))
    loading.start()
    assert hold.begun.wait(20)
    assert not client.is_server_ready()
    request = pb.RepositoryModelUnloadRequest(model_name="m")
    unloading = explicit.stub.RepositoryModelUnload.future(request)
    opener.around = at_once
    client.load_model("n")
    assert client.is_model_ready("n")
    assert not unloading.done()
    hold.over.set()
    loading.join()
    unloading.result(20)
    assert not client.is_model_ready("m")


def test_unload_lets_requests_finish_and_then_frees(repository, graphs, serve):
    """Unload returns while a request runs, which is answered; then the session is gone."""
    repository.add("slow", graphs.slow())
    with serve(repository.path, model_control_mode="explicit", load_model=("slow",)) as wire:

        def ask(count):
            request = pb.ModelInferRequest(model_name="slow")
            request.inputs.add(name="n", datatype="INT64", shape=[1])
            request.raw_input_contents.append(np.array([count], np.int64).tobytes())
            return wire.stub.ModelInfer.future(request)

        (model,) = wire.server.catalog.loaded()
        session = weakref.ref(model.runner.graph)
        del model
        under_way = ask(trips_for(1.0, lambda count: ask(count).result()))
        until(lambda: wire.server.catalog.loaded()[0].scheduler.running > 0)

        assert unload(wire, "slow") is None
        assert not wire.stub.ModelReady(pb.ModelReadyRequest(name="slow")).ready
        assert not under_way.done()
        assert index(wire) == [("slow", "1", "UNLOADING", "")]
        assert len(under_way.result(60).raw_output_contents) == 1
        until(lambda: index(wire) == [("slow", "1", "UNAVAILABLE", "unloaded")])
        assert session() is None


@pytest.fixture
def without_collector():
    """Free what nobody refers to, and leave cycles lying."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    "batching", ["", "dynamic_batching { max_queue_delay_microseconds: 1000 }"]
)
def test_memory_comes_back(batching, explicit, client, repository, opener, without_collector):
    """An unloaded model's session is gone with its last request, no garbage collector needed."""
    repository.add("m", None, f"max_batch_size: 4 {batching}")
    alive = weakref.WeakSet()

    def counted(open_graph):
        session = open_graph()
        alive.add(session)
        return session

    opener.around = counted
    for _ in range(10):
        client.load_model("m")
        explicit.infer("m", x=ROW)
        client.unload_model("m")
    until(lambda: not alive)


def test_a_live_sequence_keeps_no_model(repository, graphs, serve, without_collector):
    """Unloading ends sequences: the session is gone, and a sequence cannot be gone on with."""
    rows = ["batch", 1]
    names = ("x", "before")
    repository.add(
        "sums",
        graphs.model(
            [
                helper.make_node("Add", list(names), ["after"]),
                helper.make_node("Identity", ["after"], ["y"]),
            ],
            [graphs.value(name, TensorProto.FLOAT, rows) for name in names],
            [graphs.value(name, TensorProto.FLOAT, rows) for name in ("y", "after")],
        ),
        "max_batch_size: 8 sequence_batching { max_sequence_idle_microseconds: 60000000 state [{"
        ' input_name: "before" output_name: "after" data_type: TYPE_FP32 dims: [ 1 ] }] }',
    )
    with serve(repository.path, model_control_mode="explicit", load_model=("sums",)) as wire:

        def ask(start):
            request = pb.ModelInferRequest(model_name="sums")
            request.inputs.add(name="x", datatype="FP32", shape=[1, 1])
            request.raw_input_contents.append(np.ones(1, np.float32).tobytes())
            request.parameters["sequence_id"].int64_param = 7
            request.parameters["sequence_start"].bool_param = start
            return outcome(wire.stub.ModelInfer, request)

        session = weakref.ref(wire.server.catalog.loaded()[0].runner.graph)
        assert [ask(True), ask(False)] == [None, None]
        assert unload(wire, "sums") is None
        until(lambda: session() is None)
        assert load(wire, "sums") is None
        answer = ask(False)
        assert answer is not None
        assert "must specify the START flag" in answer[1]


def test_health_watch_hears_of_loads(explicit, client):
    """grpc.health.v1: a watcher of a model is told of each load and unload, as is the server's."""
    health = health_pb2_grpc.HealthStub(explicit.channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(service="m"))
    heard = [next(watch).status]
    client.load_model("m")
    heard.append(next(watch).status)
    while heard[-1] == NOT_SERVING:  # while it was loading
        heard.append(next(watch).status)
    client.unload_model("m")
    heard.append(next(watch).status)
    watch.cancel()

    assert [heard[0], *heard[-2:]] == [3, SERVING, NOT_SERVING]
    assert health.Check(health_pb2.HealthCheckRequest()).status == SERVING


def test_loads_under_inference(explicit, client, repository, graphs):
    """While a model is reloaded again and again, every request to it is answered right."""
    client.load_model("m")
    stop = threading.Event()
    wrong = []

    def ask(number):
        row = np.full((1, 4), number, np.float32)
        while not stop.is_set():
            try:
                if explicit.infer("m", x=row)["y"].tolist() != row.tolist():
                    wrong.append("another's answer")
            except grpc.RpcError as error:
                wrong.append(error.details())

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for version in range(2, 12):
            repository.add("m", graphs.identity(), version=version)
            client.load_model("m")
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert wrong == []
    assert client.get_model_metadata("m").versions == ["11"]
