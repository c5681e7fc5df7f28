"""The supervisor and its workers as processes: one port, signals, mistakes, the end."""

import os
import signal
import socket
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.server.slow_runs import trips_for
from tests.server.supervisors.worker_callers import CONNECTIONS, infers, stub_of
from tests.server.transports import OVER_ONE_TRANSPORT
from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError
from zoo_server.server import running


def is_gone(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


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
            until(lambda: sum(connections_of(pids, int(port)).values()) == CONNECTIONS)
            for pid, taken in connections_of(pids, int(port)).items():
                shares[pid] += taken
        until(lambda: not sum(connections_of(pids, int(port)).values()))

    assert min(shares.values()) > 320 / 3  # a fair coin fails this once in 10^9 runs


def connections_of(pids, port):
    """Return how many connections to a port each process has open."""
    tables = [Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.splitlines()]
    open_ones = {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"}
    return {pid: len(open_ones & inodes_of(pid)) for pid in pids}


def inodes_of(pid):
    processes = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            processes.add(str(path.readlink()).removeprefix("socket:[").rstrip("]"))
        except OSError:
            continue
    return processes


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


def trips(stub, seconds):
    return trips_for(seconds, lambda count: stub.ModelInfer(slow_request(count)))


def test_sigterm_drains_all_workers(repository, graphs, two, connected):
    """What was let in finishes, the rest is told, exit 0, and no process is left."""
    repository.add("slow", graphs.slow())
    process = two()
    address = process.address()
    pids = process.workers()
    with connected(address, 6) as channels:
        request = slow_request(trips(stub_of(channels[0]), 0.5))
        before = process.cpu_ticks()
        under_way = [stub_of(channel).ModelInfer.future(request) for channel in channels]
        until(lambda: process.cpu_ticks() > before + 10)
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
        before = process.cpu_ticks()
        under_way = stub_of(channel).ModelInfer.future(slow_request(10**9))
        until(lambda: process.cpu_ticks() > before + 10)
        process.send(signal.SIGINT)
        process.wait_for("leaving: no new requests")
        process.send(signal.SIGTERM)
        status, _ = process.finish(10)
        under_way.cancel()

    assert status == 1
    assert all(is_gone(pid) for pid in pids)


@OVER_ONE_TRANSPORT
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


@OVER_ONE_TRANSPORT
def test_workers_do_not_outlive_their_supervisor(two, sockets):
    """Killed without a chance to say so, it leaves no process and no socket behind."""
    process = two()
    process.address()
    pids = process.workers()
    process.send(signal.SIGKILL)

    until(lambda: all(is_gone(pid) for pid in pids))
    assert not list(sockets.iterdir())


@OVER_ONE_TRANSPORT
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


@OVER_ONE_TRANSPORT
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


@OVER_ONE_TRANSPORT
@pytest.mark.slow
def test_a_worker_that_cannot_live_is_tried_again(repository, two, make_request, connected):
    """The others serve on, and once what was wrong has passed all do."""
    process = two()
    address = process.address()
    gone = repository.path.with_name("gone")
    repository.path.rename(gone)
    os.kill(process.workers()[0], signal.SIGKILL)
    process.wait_for("in 8 s, for the 7th time in a row, 1 of 2 serve", 120)

    with connected(address) as channels:
        stub_of(channels[0]).ModelInfer(
            make_request("m", x=np.ones((1, 4), np.float32)), timeout=20
        )
    gone.rename(repository.path)
    process.wait_for("worker 1 serves", 60)


@OVER_ONE_TRANSPORT
@pytest.mark.slow
def test_workers_that_die_before_the_first_start_end_it(repository, graphs, server_process):
    """What ends a worker while it loads ends every other alike: one line says so, exit 1."""
    repository.add("m", graphs.ends_the_load())
    process = server_process(repository.path, "--grpc-port", "0", "--workers", "2")
    status, log = process.finish(180)

    assert status == 1
    assert "was ended by SIGABRT, for the 7th time in a row: giving up" in log
    assert log.count("giving up") == 1
    assert "Traceback" not in log


#: Asks for a sign of life ten times as often as else.
IMPATIENT = """
from zoo_server.supervisors import rpc
rpc.ALIVE_EVERY_SECONDS, rpc.ALIVE_SECONDS = 0.2, 0.5
"""


@OVER_ONE_TRANSPORT
def test_a_worker_that_falls_silent_is_replaced(
    repository, graphs, server_process, make_request, connected
):
    """One that lives and does not answer is ended; the whole is told of the others meanwhile."""
    repository.add("m", graphs.identity())
    options = ("--grpc-port", "0", "--workers", "2", "--http-port", "0", "--metrics-port", "0")
    process = server_process(repository.path, *options, first=IMPATIENT)
    addresses = process.wait_for(r"ready: gRPC on (\S+), HTTP on (\S+), metrics on (\S+), 1 models")
    with connected(addresses[1]) as channels:
        assert all(infers(channel, make_request) for channel in channels)
    urls = (f"http://{addresses[2]}/v2/models/m/stats", f"http://{addresses[3]}/metrics")
    silent = process.workers()[1]
    os.kill(silent, signal.SIGSTOP)
    for url in urls:
        with urllib.request.urlopen(url, timeout=20) as page:
            assert page.status == 200
    process.wait_for("worker 2 gives no sign of life and is ended")
    process.wait_for("worker 2 serves")

    assert silent not in process.workers()
    with connected(addresses[1]) as channels:
        assert all(infers(channel, make_request) for channel in channels)


@OVER_ONE_TRANSPORT
@pytest.mark.slow
def test_a_silent_worker_is_replaced_in_its_time(two):
    """The bound that docs/serving.md states: two signs of life missed, five seconds each."""
    process = two()
    process.address()
    began = time.monotonic()
    os.kill(process.workers()[0], signal.SIGSTOP)
    process.wait_for("gives no sign of life", 60)
    assert time.monotonic() - began < 15
    process.wait_for("serves")


@OVER_ONE_TRANSPORT
def test_sigterm_while_starting(two):
    """Before anything is ready the server leaves all the same, and nothing is left behind."""
    process = two()
    process.wait_for("onnxruntime")
    pids = process.workers()
    process.send(signal.SIGTERM)
    status, log = process.finish()

    assert (status, "Traceback" in log, "ready:" in log) == (0, False, False)
    assert all(is_gone(pid) for pid in pids)
