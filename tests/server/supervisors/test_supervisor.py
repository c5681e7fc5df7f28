"""Several workers: real processes on one port that answer as one server."""

import os
import re
import signal
import socket
import tempfile
import time
import urllib.request
import uuid
from contextlib import ExitStack
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import grpc_service_pb2_grpc
from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError
from zoo_server.server import running

#: As many as `connected` opens.
CONNECTIONS = 16

CHANGES = ("--model-control-mode", "explicit", "--load-model", "m", "--allow-shared-memory")


def is_gone(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def stub_of(channel):
    return grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)


def infers(channel, make_request, model="m"):
    answer = stub_of(channel).ModelInfer(make_request(model, x=np.ones((1, 4), np.float32)))
    return np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [1.0] * 4


def count_of(stub):
    (stats,) = stub.ModelStatistics(pb.ModelStatisticsRequest(name="m")).model_stats
    assert stats.inference_stats.success.count == stats.inference_count
    return stats.inference_count


def metric(process_address, name):
    with urllib.request.urlopen(f"http://{process_address}/metrics", timeout=10) as page:
        text = page.read().decode()
    return float(re.search(rf'^{name}{{model="m",version="1"}} (\S+)$', text, re.MULTILINE)[1])


def process_metric(address, name):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as page:
        return float(re.search(rf"^{name} (\S+)$", page.read().decode(), re.MULTILINE)[1])


def resident(pid):
    """Return nine tenths of the memory that a process has in use, in bytes: it may shrink."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return 0.9 * pages * os.sysconf("SC_PAGE_SIZE")


def test_statistics_and_metrics_are_those_of_the_whole(two, make_request, connected):
    """Each connection is told what all workers counted; REST and Prometheus are told the same."""
    process = two("--http-port", "0", "--metrics-port", "0")
    found = process.wait_for(r"ready: gRPC on (\S+), HTTP on (\S+), metrics on (\S+), 1 models")
    with connected(found.group(1)) as channels:
        assert all(infers(channel, make_request) for channel in channels for _ in range(2))
        counts = {count_of(stub_of(channel)) for channel in channels}
    with urllib.request.urlopen(f"http://{found.group(2)}/v2/models/m/stats", timeout=10) as page:
        rest = page.read().decode()

    assert process_metric(found.group(3), "process_resident_memory_bytes") > sum(
        resident(pid) for pid in process.workers()
    )
    assert counts == {2 * CONNECTIONS}
    assert f'"inference_count":{2 * CONNECTIONS}' in rest.replace(" ", "")
    assert metric(found.group(3), "nv_inference_request_success") == 2 * CONNECTIONS


@pytest.mark.parametrize("victim", [0, 1], ids=["owner-of-http", "other"])
def test_counters_do_not_fall_when_a_worker_is_killed(victim, two, make_request, connected):
    """What was shown stays after kill -9, and further requests come on top; an unload forgets it."""
    process = two("--http-port", "0", "--metrics-port", "0", *CHANGES)
    found = process.wait_for(r"ready: gRPC on (\S+), HTTP on (\S+), metrics on (\S+), 1 models")
    with connected(found.group(1)) as channels:
        assert all(infers(channel, make_request) for channel in channels)
        assert metric(found.group(3), "nv_inference_request_success") == CONNECTIONS
    os.kill(process.workers()[victim], signal.SIGKILL)
    process.wait_for(r"was ended by SIGKILL: another takes its place")
    with connected(found.group(1), 1) as (channel,):
        while_it_is_replaced = count_of(stub_of(channel))
    process.wait_for(rf"worker {victim + 1} serves")
    with connected(found.group(1)) as channels:
        after = {count_of(stub_of(channel)) for channel in channels}
        assert all(infers(channel, make_request) for channel in channels)
        more = {count_of(stub_of(channel)) for channel in channels}
        page = {
            name: metric(found.group(3), name)
            for name in (
                "nv_inference_request_success",
                "nv_inference_count",
                "nv_inference_exec_count",
                "nv_inference_pending_request_count",
            )
        }
        stub = stub_of(channels[0])
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="m"))
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="m"))
        anew = {count_of(stub_of(channel)) for channel in channels}

    assert (while_it_is_replaced, after, more) == (CONNECTIONS, {CONNECTIONS}, {2 * CONNECTIONS})
    assert list(page.values()) == [2 * CONNECTIONS] * 3 + [0]
    assert anew == {0}


def test_a_worker_that_leaves_tells_what_it_counted(two, make_request, connected):
    """Nobody has asked it before: it says so itself on its way out."""
    process = two()
    address = process.address()
    with connected(address) as channels:
        assert all(infers(channel, make_request) for channel in channels)
        os.kill(process.workers()[1], signal.SIGTERM)
        process.wait_for(r"worker 2 ended with status 0: another takes its place")
        process.wait_for(r"worker 2 serves")
    with connected(address, 1) as (channel,):
        assert count_of(stub_of(channel)) == CONNECTIONS


def test_a_change_on_one_connection_is_seen_on_all(
    repository, graphs, two, make_request, connected
):
    """Load, unload, log and trace settings hold for every worker once they are answered."""
    repository.add("late", graphs.identity())
    address = two(*CHANGES).address()
    with connected(address) as channels:
        stubs = [stub_of(channel) for channel in channels]
        stubs[0].RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="late"))
        assert all(infers(channel, make_request, "late") for channel in channels)
        ready = pb.ModelReadyRequest(name="late", version="1")
        assert all(stub.ModelReady(ready).ready for stub in stubs)
        checked = health_pb2.HealthCheckRequest(service="late")
        assert {health_pb2_grpc.HealthStub(one).Check(checked).status for one in channels} == {1}

        stubs[1].RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="late"))
        assert not any(stub.ModelReady(ready).ready for stub in stubs)
        assert all(stub.ServerReady(pb.ServerReadyRequest()).ready for stub in stubs)

        change = pb.LogSettingsRequest(settings={"log_verbose_level": {"uint32_param": 3}})
        stubs[2].LogSettings(change)
        answers = [stub.LogSettings(pb.LogSettingsRequest()).settings for stub in stubs]
        assert {answer["log_verbose_level"].uint32_param for answer in answers} == {3}
        stubs[3].TraceSetting(pb.TraceSettingRequest(settings={"trace_rate": {"value": ["7"]}}))
        traces = [stub.TraceSetting(pb.TraceSettingRequest()).settings for stub in stubs]
        assert {trace["trace_rate"].value[0] for trace in traces} == {"7"}


def test_a_refused_change_changes_nothing(two, make_request, connected):
    """A load that fails is answered with its reason, and all workers serve on."""
    process = two(*CHANGES)
    with connected(process.address()) as channels:
        with pytest.raises(grpc.RpcError, match="failed to load 'nope'") as caught:
            stub_of(channels[0]).RepositoryModelLoad(
                pb.RepositoryModelLoadRequest(model_name="nope")
            )
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        with pytest.raises(grpc.RpcError, match="unknown log setting"):
            stub_of(channels[0]).LogSettings(
                pb.LogSettingsRequest(settings={"nope": {"bool_param": True}})
            )
        assert all(infers(channel, make_request) for channel in channels)
    assert len(process.workers()) == 2


@pytest.fixture
def region():
    """Make a shared memory object; it is removed with the test."""
    file = Path("/dev/shm") / f"layer-zoo-test-{uuid.uuid4().hex}"
    file.write_bytes(np.arange(4, dtype=np.float32).tobytes())
    yield file
    file.unlink()


def from_region():
    request = pb.ModelInferRequest(model_name="late")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    tensor.parameters["shared_memory_region"].string_param = "r"
    tensor.parameters["shared_memory_byte_size"].int64_param = 16
    return request


@pytest.mark.parametrize("victim", [0, 1], ids=["owner-of-http", "other"])
def test_a_killed_worker_is_replaced_with_what_it_knew(
    victim, repository, graphs, two, region, make_request, connected
):
    """After kill -9 the newcomer has the models, regions and settings of before, and HTTP answers."""
    repository.add("late", graphs.identity())
    process = two(*CHANGES, "--http-port", "0", "--metrics-port", "0")
    found = process.wait_for(r"ready: gRPC on (\S+), HTTP on (\S+), metrics on (\S+), 1 models")
    with connected(found.group(1), 1) as (channel,):
        stub = stub_of(channel)
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="late"))
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="m"))
        stub.SystemSharedMemoryRegister(
            pb.SystemSharedMemoryRegisterRequest(name="r", key=f"/{region.name}", byte_size=16)
        )
        stub.LogSettings(
            pb.LogSettingsRequest(settings={"log_format": {"string_param": "ISO8601"}})
        )
    killed = process.workers()[victim]
    os.kill(killed, signal.SIGKILL)
    process.wait_for(r"was ended by SIGKILL: another takes its place")
    process.wait_for(rf"worker {victim + 1} serves")

    assert killed not in process.workers()
    assert not any("could not be loaded" in line for line in process.lines)  # `m` is not wanted
    with connected(found.group(1)) as channels:
        for channel in channels:
            stub = stub_of(channel)
            answer = stub.ModelInfer(from_region())
            assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [0, 1, 2, 3]
            assert not stub.ModelReady(pb.ModelReadyRequest(name="m")).ready
            settings = stub.LogSettings(pb.LogSettingsRequest()).settings
            assert settings["log_format"].string_param == "ISO8601"
    for address, path in ((found.group(2), "v2/health/ready"), (found.group(3), "metrics")):
        with urllib.request.urlopen(f"http://{address}/{path}", timeout=10) as page:
            assert page.status == 200


def test_callers_are_served_while_a_worker_is_replaced(two, make_request, connected):
    """New connections go to the worker that lives, and the server stays ready."""
    process = two()
    address = process.address()
    os.kill(process.workers()[0], signal.SIGKILL)
    process.wait_for("another takes its place")
    with connected(address) as channels:
        assert all(infers(channel, make_request) for channel in channels)
        assert stub_of(channels[0]).ServerReady(pb.ServerReadyRequest()).ready


def test_every_worker_gets_its_share_of_connections(two):
    """The kernel tosses a coin for each connection: of 320, each of two gets a third and more."""
    process = two()
    address = process.address()
    pids = process.workers()
    host, port = address.split(":")
    shares = dict.fromkeys(pids, 0)
    for _ in range(20):
        with ExitStack() as stack:
            for _ in range(CONNECTIONS):
                stack.enter_context(socket.create_connection((host, int(port))))
            until(lambda: sum(connections_of(pids, int(port)).values()) == CONNECTIONS, 20)
            for pid, taken in connections_of(pids, int(port)).items():
                shares[pid] += taken
        until(lambda: not sum(connections_of(pids, int(port)).values()), 20)

    assert min(shares.values()) > 320 / 3  # a fair coin fails this once in 10^9 runs


def connections_of(pids, port):
    """Return how many connections to a port each process has open."""
    tables = [Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.splitlines()]
    open_ones = {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"}
    return {pid: len(open_ones & inodes_of(pid)) for pid in pids}


def inodes_of(pid):
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(path.readlink()).removeprefix("socket:[").rstrip("]"))
        except OSError:
            continue
    return found


def test_the_port_is_one_and_nobody_elses(repository, two, server_process):
    """Port 0 gives all workers the same free port, and a second server is refused it."""
    address = two().address()
    port = address.rpartition(":")[2]
    assert int(port) > 0
    for workers in ("1", "2"):
        status, log = server_process(
            repository.path, "--grpc-port", port, "--workers", workers
        ).finish()
        assert status == 2
        assert f"cannot listen on {address}: the port is in use" in log
        assert len(log.strip().splitlines()) == 1


def slow_request(count):
    request = pb.ModelInferRequest(model_name="slow")
    request.inputs.add(name="n", datatype="INT64", shape=[1])
    request.raw_input_contents.append(np.array([count], np.int64).tobytes())
    return request


def ticks_of(pids):
    """Return the processor time of some processes, in clock ticks."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields)


def trips(stub, seconds):
    """Return how many trips of the slow model's loop take about that long."""
    for _ in range(2):  # the first call warms up
        began = time.perf_counter()
        stub.ModelInfer(slow_request(20_000))
    return int(20_000 * seconds / (time.perf_counter() - began))


def test_sigterm_drains_all_workers(repository, graphs, two, connected):
    """What was let in finishes, the rest is told, exit 0, and no process is left."""
    repository.add("slow", graphs.slow())
    process = two()
    address = process.address()
    pids = process.workers()
    with connected(address, 6) as channels:
        request = slow_request(trips(stub_of(channels[0]), 0.5))
        before = ticks_of(pids)
        under_way = [stub_of(channel).ModelInfer.future(request) for channel in channels]
        until(lambda: ticks_of(pids) > before + 10)
        process.send(signal.SIGTERM)
        process.wait_for("leaving: no new requests")
        unfinished = [call for call in under_way if not call.done()]
        refused = [call for call in under_way if call.exception(timeout=60) is not None]
        status, log = process.finish(60)

    assert set(unfinished) - set(refused)
    assert {call.details() for call in refused} <= {"Server exiting"}
    assert (status, "stopped" in log) == (0, True)
    assert all(is_gone(pid) for pid in pids)


def test_second_signal_ends_them_at_once(repository, graphs, two, connected):
    """Asked twice, nobody is waited for."""
    repository.add("slow", graphs.slow())
    process = two()
    address = process.address()
    pids = process.workers()
    with connected(address, 1) as (channel,):
        before = ticks_of(pids)
        under_way = stub_of(channel).ModelInfer.future(slow_request(10**9))
        until(lambda: ticks_of(pids) > before + 10)
        process.send(signal.SIGINT)
        process.wait_for("leaving: no new requests")
        process.send(signal.SIGTERM)
        status, _ = process.finish(10)
        under_way.cancel()

    assert status == 1
    assert all(is_gone(pid) for pid in pids)


def test_the_supervisor_holds_no_models(two):
    """It loads no onnxruntime, as its workers do."""
    process = two()
    process.address()
    pids = (process.process.pid, *process.workers())

    loaded = ["onnxruntime" in Path(f"/proc/{pid}/maps").read_text() for pid in pids]
    assert loaded == [False, True, True]


@pytest.fixture
def sockets(monkeypatch):
    """Where servers make their sockets: a path that is shorter than those of tests."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def test_workers_do_not_outlive_their_supervisor(two, sockets):
    """Killed without a chance to say so, it leaves no process and no socket behind."""
    process = two()
    process.address()
    pids = process.workers()
    process.send(signal.SIGKILL)

    until(lambda: all(is_gone(pid) for pid in pids))
    assert not list(sockets.iterdir())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--host", "192.0.2.1"), "this machine has no such address"),
        (("--provider", "cuda"), "'cuda' is not available"),
        (("--workers", "0"), "--workers is 0; it must lie in 1 to 256"),
    ],
)
def test_operator_mistake_is_said_once(options, text, two):
    """What no worker can start with is one line and exit status 2, as with one process."""
    status, log = two(*options).finish()

    assert status == 2 or "ConfigurationError" in log
    assert log.count(text) == 1


def test_a_folder_for_sockets_that_is_too_deep_is_said(two, tmp_path, monkeypatch):
    """A socket's path has 107 bytes at most: the text says what to change."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    status, log = two().finish()

    assert status == 2
    assert "set TMPDIR to a shorter path" in log
    assert "Traceback" not in log
    assert not list(deep.iterdir())


def test_several_workers_are_no_embedded_server(repository):
    """Inside somebody's process there is one process; that is said instead of ignored."""
    config = ServerConfig(repository=repository.path, workers=2)
    with pytest.raises(ConfigurationError, match="--workers is 2"), running(config):
        pass


@pytest.mark.slow
def test_a_worker_that_cannot_live_ends_the_server(repository, two):
    """After some attempts, further and further apart, the supervisor gives up with status 1."""
    process = two()
    process.address()
    repository.path.rename(repository.path.with_name("gone"))
    os.kill(process.workers()[0], signal.SIGKILL)
    status, log = process.finish(120)

    assert status == 1
    assert "for the 7th time in a row: giving up" in log
    assert log.count("another takes its place") == 6


@pytest.mark.slow
def test_a_worker_that_falls_silent_is_replaced(two, make_request, connected):
    """One that lives and does not answer is ended after its time, and another serves."""
    process = two()
    address = process.address()
    silent = process.workers()[1]
    os.kill(silent, signal.SIGSTOP)
    process.wait_for("did not answer exchange within 60 s", 120)
    process.wait_for("serves")

    assert silent not in process.workers()
    with connected(address) as channels:
        assert all(infers(channel, make_request) for channel in channels)


def test_sigterm_while_starting(two):
    """Before anything is ready the server leaves all the same, and nothing is left behind."""
    process = two()
    process.wait_for("onnxruntime")
    pids = process.workers()
    process.send(signal.SIGTERM)
    status, log = process.finish()

    assert (status, "Traceback" in log, "ready:" in log) == (0, False, False)
    assert all(is_gone(pid) for pid in pids)
