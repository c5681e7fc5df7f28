"""A model in a process of its own: what ends that process ends no other, and it comes back."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.server.grpc_callers import infer_request
from tests.server.transports import OVER_ONE_TRANSPORT
from tests.waiting import until
from zoo_server.errors import MemoryExhausted, ServerExiting

pytestmark = OVER_ONE_TRANSPORT

ISOLATED = 'parameters { key: "isolation" value { string_value: "process" } }\n'
LIMITED = ISOLATED + (
    'parameters { key: "isolation_memory_mb" value { string_value: "600" } }\nmax_batch_size: 0'
)

LEAST = np.array([-(2**63)])


def _model(operator, inputs, kind=TensorProto.INT64, rank=1):
    """A graph of one operator over integers, with an output of a kind."""
    values = [
        helper.make_tensor_value_info(name, TensorProto.INT64, [f"n_{name}"]) for name in inputs
    ]
    node = helper.make_node(operator, list(inputs), ["y"])
    out = helper.make_tensor_value_info("y", kind, [None] * rank)
    graph = helper.make_graph([node], "tiny", values, [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def children():
    """Return the processes that this one has started, by id."""
    pids = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # the thread has ended meanwhile
            pids += map(int, (task / "children").read_text().split())
    return pids


@pytest.fixture
def served(repository, graphs, serve):
    """A division that a request can end its process with, and a neighbour in the server's own."""
    repository.add("division", _model("Div", "ab"), ISOLATED + "max_batch_size: 0")
    repository.add("neighbour", graphs.identity())
    before = set(children())
    with serve(repository.path) as wire:
        until(lambda: set(children()) - before)
        wire.process = (set(children()) - before).pop()
        yield wire


def test_an_unloaded_models_process_ends(repository, graphs, serve):
    """It ends with the last reference to its session."""
    repository.add("m", graphs.identity(), ISOLATED)
    before = set(children())
    with serve(repository.path, model_control_mode="explicit", load_model=("m",)) as wire:
        assert set(children()) - before
        wire.server.control.unload("m")
        until(lambda: not set(children()) - before)


def status(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


def divide(wire, a, b):
    return wire.infer("division", a=np.array(a), b=np.array(b))["y"].tolist()


def test_what_ends_the_process_of_a_model_ends_no_other(served):
    """The least integer by -1 is SIGFPE; its caller hears so, and the next one is answered."""
    assert divide(served, [6], [3]) == [2]
    for _ in range(2):
        lost = status(lambda: served.infer("division", a=LEAST, b=np.array([-1])))
        assert lost[0] == "UNAVAILABLE"
        assert "process was ended by SIGFPE while it ran the request" in lost[1]
        assert served.infer("neighbour", x=np.ones((1, 4), np.float32))["y"].sum() == 4

    assert divide(served, [6, 9], [3, 3]) == [2, 3]


def test_a_process_that_ends_in_between_is_started_again(served):
    """The server itself goes on, and the next request brings another process."""
    assert divide(served, [6], [3]) == [2]
    os.kill(served.process, signal.SIGKILL)
    lost = status(lambda: divide(served, [6], [3]))

    assert "was ended by SIGKILL" in lost[1]
    assert divide(served, [6], [3]) == [2]


def test_a_run_in_another_process_is_cancelled(repository, graphs, serve):
    """An endless loop ends with its caller, and the process lives on."""
    repository.add("slow", graphs.slow(), ISOLATED)
    with serve(repository.path) as wire:
        model = wire.server.catalog.find("slow", "")
        call = wire.stub.ModelInfer.future(infer_request("slow", n=np.array([2**50])))
        until(lambda: model.scheduler.running)
        call.cancel()

        assert wire.infer("slow", n=np.array([3]))["y"] == [3]


def test_a_process_has_a_memory_of_its_own(repository, serve):
    """Sixteen bytes that want 8 GB get an error that says what to do; the process answers on."""
    repository.add("huge", _model("ConstantOfShape", "x", TensorProto.FLOAT, 2), LIMITED)
    with serve(repository.path) as wire:
        code, text = status(lambda: wire.infer("huge", x=np.array([1 << 16, 1 << 15])))

        assert code == "RESOURCE_EXHAUSTED"
        assert "wants more than isolation_memory_mb 600 allows: send a smaller request" in text
        assert wire.infer("huge", x=np.array([2, 3]))["y"].shape == (2, 3)


def test_a_request_that_does_not_fit_into_the_process_is_refused(repository, graphs, serve):
    """800 MB of input where 600 may be taken: not even read, and the caller hears of the limit."""
    repository.add("m", graphs.identity(shape=("n",)), LIMITED)
    with serve(repository.path) as wire:
        model = wire.server.catalog.find("m", "")
        with pytest.raises(MemoryExhausted, match="isolation_memory_mb 600 allows"):
            model.runner.graph.run(["y"], {"x": np.zeros(200 << 20, np.float32)})

        assert wire.infer("m", x=np.ones(3, np.float32))["y"].tolist() == [1, 1, 1]


def test_processes_that_were_started_again_are_counted(served):
    """The metric tells how often, by model."""
    with pytest.raises(grpc.RpcError):
        divide(served, LEAST, [-1])
    divide(served, [6], [3])
    restarts = {each.settings.name: each.restarts for each in served.server.catalog.loaded()}

    assert restarts == {"division": 1, "neighbour": 0}


def test_a_stopped_server_has_no_processes(repository, graphs, serve):
    """Also where somebody still holds the server, as who embeds it may."""
    repository.add("m", graphs.identity(), ISOLATED)
    before = set(children())
    with serve(repository.path) as wire:
        held = wire.server
        assert set(children()) - before
    graph = next(iter(held.catalog.loaded())).runner.graph

    assert not set(children()) - before
    with pytest.raises(ServerExiting):
        graph.run(["y"], {"x": np.ones((1, 4), np.float32)})


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ('key: "isolation" value { string_value: "thread" }', "is 'thread', not process"),
        ('key: "isolation_memory_mb" value { string_value: "-1" }', "is '-1', not 1 to"),
    ],
)
def test_an_isolation_that_is_none_is_refused(repository, graphs, serve, parameter, reason):
    """At the load, by name."""
    repository.add("m", graphs.identity(), f"{ISOLATED} parameters {{ {parameter} }}")
    with serve(repository.path) as wire:
        entry = next(iter(wire.server.catalog.entries()))

    assert reason in entry.reason
