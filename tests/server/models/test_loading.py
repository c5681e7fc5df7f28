"""Loads side by side and within their time, and a start that one model does not hold up."""

import signal
import threading

import grpc
import numpy as np
import pytest

from tests.server.models.control_calls import ROW, at_once, index, load
from tests.server.transports import OVER_ONE_TRANSPORT
from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb


class Hold:
    """Holds the loads that begin until it is let go; counts them."""

    def __init__(self):
        self.begun, self.over = threading.Semaphore(0), threading.Event()

    def __call__(self, open_graph):
        self.begun.release()
        assert self.over.wait(20)
        return open_graph()


@pytest.mark.parametrize("whole", [(), ("a", "b")])
def test_the_log_counts_what_is_served_and_what_is_not(whole, repository, graphs, serve, caplog):
    """Where nothing is served, it speaks of no others that are."""
    repository.add("broken", b"no graph")
    for name in whole:
        repository.add(name, graphs.identity())
    with caplog.at_level("WARNING"), serve(repository.path):
        pass
    text = f"ServerReady answers false: 1 could not be loaded (see above), {len(whole)} served"
    assert text in caplog.messages


def loads_under_way():
    return [thread for thread in threading.enumerate() if thread.name == "load"]


def test_the_start_waits_no_longer_than_it_should(repository, graphs, serve, opener):
    """What is not loaded by then is LOADING: the server answers, is not ready, and becomes so."""
    for name in ("a", "b", "c"):
        repository.add(name, graphs.identity())
    hold = opener.around = Hold()
    with serve(repository.path, opener=opener, startup_wait=0.1, model_load_thread_count=2) as wire:
        assert hold.begun.acquire(timeout=20)
        assert hold.begun.acquire(timeout=20)
        assert not hold.begun.acquire(blocking=False), "a third load began beside two"
        states = index(wire)
        assert [state for _, _, state, _ in states] == ["LOADING"] * 3
        assert not wire.stub.ServerReady(pb.ServerReadyRequest()).ready
        with pytest.raises(grpc.RpcError, match="'c' has no available versions: loading"):
            wire.infer("c", x=ROW)
        hold.over.set()
        until(lambda: wire.stub.ServerReady(pb.ServerReadyRequest()).ready)
        assert wire.infer("c", x=ROW)["y"].tolist() == ROW.tolist()


def test_a_load_that_takes_too_long_is_given_up(repository, graphs, serve, opener):
    """It has a reason, and holds no place: the next load begins although the first never ends."""
    repository.add("stuck", graphs.identity())
    repository.add("good", graphs.identity())
    with serve(
        repository.path,
        opener=opener,
        model_control_mode="explicit",
        model_load_timeout=0.2,
        model_load_thread_count=1,
    ) as wire:
        hold = opener.around = Hold()
        code, text = load(wire, "stuck")
        opener.around = at_once
        assert load(wire, "good") is None
        assert wire.infer("good", x=ROW)["y"].tolist() == ROW.tolist()
        hold.over.set()
        until(lambda: not loads_under_way())
        assert ("stuck", "1", "UNAVAILABLE") in [row[:3] for row in index(wire)]

    assert code == "INVALID_ARGUMENT"
    assert "it did not load within 0.2 s (--model-load-timeout)" in text


def test_a_graph_without_end_is_ended(repository, graphs, serve):
    """A loop that its trial would never leave is stopped inside onnxruntime; the thread is free."""
    repository.add("endless", graphs.endless())
    repository.add("m", graphs.identity())
    with serve(repository.path, model_load_timeout=0.3) as wire:
        assert [row[2] for row in index(wire)] == ["UNAVAILABLE", "READY"]
        assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
        until(lambda: not loads_under_way())


@OVER_ONE_TRANSPORT
@pytest.mark.slow
def test_a_graph_whose_trial_has_no_end_is_served(repository, graphs, serve):
    """The trial is given up after ten seconds: what loops on zeros may end on a caller's data."""
    repository.add("endless", graphs.endless())
    with serve(repository.path, model_load_timeout=60, startup_wait=60) as wire:
        assert [row[2] for row in index(wire)] == ["READY"]


@OVER_ONE_TRANSPORT
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_server_leaves_while_it_loads(workers, repository, graphs, server_process):
    """SIGTERM during a load that has no end is obeyed, by one process and by several."""
    repository.add("endless", graphs.endless())
    server = server_process(repository.path, "--grpc-port", "0", "--workers", workers)
    server.wait_for("onnxruntime" if workers == 1 else "workers|onnxruntime")
    server.send(signal.SIGTERM)

    assert server.finish(10)[0] == 0


WARM_UP = """
max_batch_size: 4
model_warmup [{
  name: "first" batch_size: 2 count: 3
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ] %s } }
}]
"""


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("zero_data: true", [[0, 0, 0, 0]] * 2),
        ('input_data_file: "row"', [[1, 2, 3, 4]] * 2),
        ("random_data: true", None),
    ],
)
def test_warm_up_runs_before_the_model_is_ready(data, expected, repository, graphs, serve, opener):
    """Each sample runs as often as it says, as a batch of its one row."""
    folder = repository.add("m", graphs.identity(), WARM_UP % data)
    (folder / "warmup").mkdir()
    (folder / "warmup" / "row").write_bytes(ROW.tobytes() + b"more")
    runs = []

    def noting(open_graph):
        graph = open_graph()
        run = graph.run

        def noted(names, feeds, **options):
            runs.append(feeds["x"])
            return run(names, feeds, **options)

        graph.run = noted
        return graph

    opener.around = noting
    with serve(repository.path, opener=opener) as wire:
        statistics = wire.stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats[0]

    batches = [run for run in runs if len(run) == 2]
    assert len(batches) == 3
    assert statistics.inference_count == 0
    for batch in batches:
        if expected is not None:
            assert batch.tolist() == expected
        else:
            assert np.all((batch >= 0) & (batch < 1))
            assert np.ptp(batch) > 0


BAD_WARM_UPS = {
    "fails": ("FP32", "[ 5 ]", "zero_data: true", "dims [5], which do not fit [4]"),
    "type": ("INT8", "[ 4 ]", "zero_data: true", "as TYPE_INT8, expecting TYPE_FP32"),
    "variable": ("FP32", "[ -1 ]", "zero_data: true", "all variable-size dimensions are specified"),
    "nothing": ("FP32", "[ 4 ]", "", "expects input 'x' to have input_data_type set"),
    "short": ("FP32", "[ 4 ]", 'input_data_file: "short"', "expects 16 bytes, but the data provid"),
    "absent": ("FP32", "[ 4 ]", 'input_data_file: "absent"', "warmup/absent cannot be read: No su"),
    "out": ("FP32", "[ 4 ]", 'input_data_file: "../1/model.onnx"', "is not a plain file name"),
    "linked": ("FP32", "[ 4 ]", 'input_data_file: "linked"', "leads out of the repository"),
}


def test_a_warm_up_that_fails_fails_the_load(repository, graphs, serve):
    """The reason names the sample or the input; a run that fails names what onnxruntime said."""
    for name, (kind, dims, data, _) in BAD_WARM_UPS.items():
        config = (WARM_UP % data).replace("TYPE_FP32 dims: [ 4 ]", f"TYPE_{kind} dims: {dims}")
        folder = repository.add(name, graphs.identity(), config) / "warmup"
        folder.mkdir()
        (folder / "short").write_bytes(b"123")
        (folder / "linked").symlink_to("/etc/passwd")
    repository.add("batch", graphs.identity(), (WARM_UP % "zero_data: true").replace("2 c", "5 c"))
    repository.add(
        "run",
        graphs.fails_when_run(),
        'max_batch_size: 4 model_warmup [{ name: "bad" batch_size: 1 inputs { key: "x" value { '
        'data_type: TYPE_INT64 dims: [ 1 ] input_data_file: "nine" } } }]',
    )
    (repository.path / "run" / "warmup").mkdir()
    (repository.path / "run" / "warmup" / "nine").write_bytes(np.array([9], np.int64).tobytes())
    with serve(repository.path) as wire:
        reasons = {name: reason for name, _, _, reason in index(wire)}

    for name, row in BAD_WARM_UPS.items():
        assert row[-1] in reasons[name], name
    assert "warmup sample 'first' has batch_size 5, at most 4 may be" in reasons["batch"]
    assert "failed to run warmup sample 'bad': " in reasons["run"]
    assert "out of data bounds" in reasons["run"]
