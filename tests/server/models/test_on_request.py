"""Models that are loaded when they are asked for, and leave memory for others (--model-memory)."""

import gc
import threading
import weakref

import grpc
import numpy as np
import pytest
import tritonclient.http as triton_http

from tests.server.models.control_calls import ROW, at_once, index, load, unload
from tests.server.models.test_loading import Hold
from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError

#: Room for two of the models below: a tiny one counts as what the process grew by, within 16 MiB.
TWO = 40 << 20


def resident(wire):
    return [model.settings.name for model in wire.server.catalog.loaded()]


def used(wire):
    return {model.settings.name: model.used_ns for model in wire.server.catalog.loaded()}


def ask(wire, name):
    assert wire.infer(name, x=ROW)["y"].tolist() == ROW.tolist()


@pytest.fixture
def lazy(repository, graphs, serve, opener):
    """Serve models a to e and a bad one, loaded on request, with the options that a test gives."""
    for name in "abcde":
        repository.add(name, graphs.identity())
    repository.add("bad", b"not a graph")

    def start(**options):
        return serve(repository.path, opener=opener, **{"model_memory": TWO, **options})

    return start


def test_nothing_is_loaded_until_it_is_asked_for(lazy):
    """All are ready and listed; the first request loads its model, also one for its metadata."""
    with lazy() as wire:
        assert wire.stub.ServerReady(pb.ServerReadyRequest()).ready
        assert index(wire)[0] == ("a", "", "READY", "loaded when it is asked for")
        assert wire.stub.ModelReady(pb.ModelReadyRequest(name="a")).ready
        assert resident(wire) == []
        ask(wire, "c")
        assert wire.stub.ModelMetadata(pb.ModelMetadataRequest(name="b")).versions == ["1"]
        assert wire.stub.ModelConfig(pb.ModelConfigRequest(name="b")).config.name == "b"
        assert resident(wire) == ["b", "c"]
        with pytest.raises(grpc.RpcError, match="unknown model: 'zzz' is not found"):
            wire.infer("zzz", x=ROW)
        statistics = wire.stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats
        assert [(one.name, one.inference_count) for one in statistics] == [("b", 0), ("c", 1)]
        (usage,) = statistics[0].memory_usage
        assert (usage.type, 0 < usage.byte_size <= TWO // 2) == ("CPU", True)


def weigh(wire, size):
    """Let every loaded model count as so many bytes."""
    for model in wire.server.catalog.loaded():
        model.memory_bytes = size


def test_the_least_recently_used_makes_room(lazy):
    """Beyond the budget the one that was asked for longest ago goes, and comes back when asked."""
    with lazy() as wire:
        for name in "ab":
            ask(wire, name)
        weigh(wire, TWO // 2)
        gone = weakref.ref(wire.server.catalog.find("b", "").runner.graph)
        until(lambda: ask(wire, "a") or used(wire)["a"] > used(wire)["b"])
        ask(wire, "c")
        assert resident(wire) == ["a", "c"]
        assert ("b", "", "READY", "loaded when it is asked for") in index(wire)
        until(lambda: gc.collect() is not None and gone() is None)
        weigh(wire, 1)
        ask(wire, "b")
        assert resident(wire) == ["a", "b", "c"]


def test_one_that_runs_is_not_taken(lazy, repository, graphs):
    """Where all that is in memory runs, a request for another is UNAVAILABLE, and not for good."""
    repository.add("slow", graphs.slow())
    with lazy() as wire:
        request = pb.ModelInferRequest(model_name="slow")
        request.inputs.add(name="n", datatype="INT64", shape=[1])
        request.raw_input_contents.append(np.array([200_000], np.int64).tobytes())
        under_way = wire.stub.ModelInfer.future(request)
        until(lambda: [m for m in wire.server.catalog.loaded() if m.scheduler.running])
        weigh(wire, TWO)
        with pytest.raises(grpc.RpcError, match="in use by models that run") as caught:
            wire.infer("a", x=ROW)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        under_way.result()
        until(lambda: not [m for m in wire.server.catalog.loaded() if m.scheduler.running])
        ask(wire, "a")
        assert resident(wire) == ["a"]


def test_the_idle_leave(lazy):
    """After --keep-alive without a request a model is dormant; one in use stays."""
    with lazy(model_memory=0, keep_alive=0.2) as wire:
        ask(wire, "a")
        until(lambda: resident(wire) == [])
        ask(wire, "a")


def test_many_ask_and_one_load_serves_them(lazy, opener):
    """Requests that come during a load wait for it, over gRPC and beside requests for others."""
    with lazy() as wire:
        ask(wire, "b")
        hold = opener.around = Hold()
        answers = []
        callers = [
            threading.Thread(target=lambda: answers.append(wire.infer("a", x=ROW)["y"].shape))
            for _ in range(4)
        ]
        for caller in callers:
            caller.start()
        assert hold.begun.acquire(timeout=20)
        ask(wire, "b")
        assert wire.stub.ServerReady(pb.ServerReadyRequest()).ready
        assert wire.stub.ModelReady(pb.ModelReadyRequest(name="a")).ready
        assert not answers
        hold.over.set()
        for caller in callers:
            caller.join()
        assert answers == [(1, 4)] * 4
        assert not hold.begun.acquire(blocking=False)


def test_one_bad_model_does_not_take_the_server_out(lazy, opener):
    """It is UNAVAILABLE with its reason and not tried again at once; the server stays ready."""
    with lazy() as wire:
        for _ in range(2):
            with pytest.raises(grpc.RpcError, match=r"1/model\.onnx cannot be loaded"):
                wire.infer("bad", x=ROW)
            opener.around = Hold()  # a second load would not end
        opener.around = at_once
        assert not wire.stub.ModelReady(pb.ModelReadyRequest(name="bad")).ready
        assert [row[1:3] for row in index(wire) if row[0] == "bad"] == [("1", "UNAVAILABLE")]
        assert wire.stub.ServerReady(pb.ServerReadyRequest()).ready


def test_one_larger_than_the_memory_is_refused(lazy, repository, graphs):
    """A model whose files never fit has the size and the option in its reason."""
    repository.add("large", graphs.identity() + b"")
    (repository.path / "large" / "1" / "weights").write_bytes(bytes(2 << 20))
    with lazy(model_memory=1 << 20) as wire:
        with pytest.raises(grpc.RpcError, match="more than --model-memory allows"):
            wire.infer("large", x=ROW)
        ask(wire, "a")


def test_what_came_with_a_request_stays(lazy, graphs):
    """Explicit mode: an overridden model cannot be loaded again, an unloaded one stays unloaded."""
    with lazy(model_control_mode="explicit", load_model=("a", "b")) as wire:
        assert [row[:3] for row in index(wire) if row[0] in "ac"] == [
            ("a", "", "READY"),
            ("c", "", ""),
        ]
        assert load(wire, "c", config="{}", **{"file:1/model.onnx": graphs.identity()}) is None
        weigh(wire, TWO)
        with pytest.raises(grpc.RpcError, match="in use by models that run"):
            wire.infer("a", x=ROW)
        assert unload(wire, "c") is None
        assert unload(wire, "b") is None
        ask(wire, "a")
        for name in "bc":
            with pytest.raises(grpc.RpcError, match="unloaded"):
                wire.infer(name, x=ROW)


def test_over_rest(repository, graphs, serve_rest):
    """The same over HTTP, whose loop goes on meanwhile."""
    repository.add("m", graphs.identity())
    with (
        serve_rest(repository.path, model_memory=TWO) as rest,
        triton_http.InferenceServerClient(rest.server.http_address) as client,
    ):
        assert client.is_model_ready("m")
        tensor = triton_http.InferInput("x", list(ROW.shape), "FP32")
        tensor.set_data_from_numpy(ROW)
        assert client.infer("m", [tensor]).as_numpy("y").tolist() == ROW.tolist()


def test_one_process_only(tmp_path):
    with pytest.raises(
        ConfigurationError, match="--model-memory and --keep-alive need --workers 1"
    ):
        ServerConfig(repository=tmp_path, model_memory=1, workers=2)
