"""Coming up and leaving: what is taken and released, and real processes with real signals."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.server.slow_runs import trips_for
from tests.server.transports import OVER_ONE_TRANSPORT
from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import (
    grpc_service_pb2_grpc,
    tensorflow_framework_pb2,
    tensorflow_serving_pb2,
    tensorflow_serving_pb2_grpc,
)
from zoo_server.config import ServerConfig
from zoo_server.errors import AddressError, ConfigurationError, ServerExiting
from zoo_server.limits import InFlight
from zoo_server.server import Server


def test_in_flight_waits_and_turns_away():
    """A closed door lets nobody in, and waits for those inside no longer than told."""
    in_flight = InFlight()
    with in_flight:
        in_flight.close()
        assert in_flight.wait_until_idle(0.01) == 1
        with pytest.raises(ServerExiting, match="Server exiting"), in_flight:
            pass
    assert in_flight.wait_until_idle(1) == 0


@pytest.fixture
def slow(repository, graphs):
    """Return a repository with a model as slow as it is told to be."""
    repository.add("slow", graphs.slow())
    return repository.path


def trips(stub, seconds):
    return trips_for(seconds, lambda count: ask(stub, count).result())


def until_busy(process, start):
    """Wait until the process works on what `start` sends; return what that returns."""
    before = process.cpu_ticks()
    started = start()
    until(lambda: process.cpu_ticks() > before + 5)
    return started


def counting(count):
    request = pb.ModelInferRequest(model_name="slow")
    request.inputs.add(name="n", datatype="INT64", shape=[1])
    request.raw_input_contents.append(np.array([count], np.int64).tobytes())
    return request


def ask(stub, count):
    return stub.ModelInfer.future(counting(count))


def predict(channel, count):
    """Ask the same of TensorFlow Serving's protocol."""
    request = tensorflow_serving_pb2.PredictRequest()
    request.model_spec.name = "slow"
    tensor = request.inputs["n"]
    tensor.dtype = tensorflow_framework_pb2.DT_INT64
    tensor.tensor_shape.dim.add(size=1)
    tensor.int64_val.append(count)
    stub = tensorflow_serving_pb2_grpc.PredictionServiceStub(channel)
    return stub.Predict.future(request, timeout=30)


def test_sigterm_drains_and_exits_0(slow, server_process):
    """After SIGTERM: not ready, new requests UNAVAILABLE, the one under way finishes, exit 0."""
    process = server_process(slow, "--grpc-port", "0")
    with grpc.insecure_channel(process.address()) as channel:
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        health = health_pb2_grpc.HealthStub(channel)
        count = trips(stub, 1.0)
        under_way, predicted = until_busy(
            process, lambda: (ask(stub, count), predict(channel, count))
        )
        process.send(signal.SIGTERM)
        process.wait_for("leaving: no new requests")
        until(lambda: health.Check(health_pb2.HealthCheckRequest()).status == 2)

        for call in (
            lambda: ask(stub, 1).result(),
            lambda: stub.ServerReady(pb.ServerReadyRequest()),
            lambda: predict(channel, 1).result(),
        ):
            with pytest.raises(grpc.RpcError, match="Server exiting") as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert len(under_way.result().raw_output_contents) == 1
        assert list(predicted.result().outputs["y"].int64_val) == [count]
    status, log = process.finish()
    assert (status, "stopped" in log) == (0, True)


def test_drain_ends_on_time(slow, server_process):
    """What does not finish within --drain-seconds is cut off, and the exit is 0 all the same."""
    process = server_process(slow, "--grpc-port", "0", "--drain-seconds", "0.3")
    with grpc.insecure_channel(process.address()) as channel:
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        count = trips(stub, 60)
        under_way = until_busy(process, lambda: ask(stub, count))
        process.send(signal.SIGTERM)
        status, log = process.finish()
        under_way.cancel()

    assert status == 0
    assert "1 requests did not finish within 0.3 s" in log


@OVER_ONE_TRANSPORT
def test_drain_ends_on_time_over_http(slow, server_process):
    """The same for a run that holds HTTP's own loop, which nobody can stop."""
    process = server_process(slow, "--grpc-port", "0", "--http-port", "0", "--drain-seconds", "0.3")
    address = process.wait_for(r"HTTP on (\S+),").group(1)
    connection = http.client.HTTPConnection(address, timeout=30)
    tensor = {"name": "n", "datatype": "INT64", "shape": [1], "data": [10**12]}
    body = json.dumps({"inputs": [tensor]})
    until_busy(process, lambda: connection.request("POST", "/v2/models/slow/infer", body))
    process.send(signal.SIGTERM)
    status, log = process.finish()
    connection.close()

    assert status == 0
    assert "1 requests did not finish within 0.3 s" in log


def test_second_signal_exits_at_once(slow, server_process):
    """Asked twice, the process ends without waiting for anybody."""
    process = server_process(slow, "--grpc-port", "0", "--drain-seconds", "60")
    with grpc.insecure_channel(process.address()) as channel:
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        count = trips(stub, 60)
        under_way = until_busy(process, lambda: ask(stub, count))
        process.send(signal.SIGINT)
        process.wait_for("leaving: no new requests")
        process.send(signal.SIGTERM)
        status, _ = process.finish()
        under_way.cancel()

    assert status == 1


def test_idle_server_leaves_at_once(slow, server_process):
    """Nobody under way: SIGTERM ends it long before the drain is over, open watches included."""
    process = server_process(slow, "--grpc-port", "0", "--drain-seconds", "60")
    with grpc.insecure_channel(process.address()) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == 1
        process.send(signal.SIGTERM)
        assert [update.status for update in watch] == [2]
        assert process.finish()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--host", "no.such.host.invalid"], "the host name cannot be resolved"),
        (["--host", "192.0.2.1"], "this machine has no such address"),
        (["--provider", "cuda"], "'cuda' is not available"),
    ],
)
def test_operator_mistake_is_one_line(arguments, text, slow, server_process):
    """A server that cannot run says why in one line, without a traceback, and exits 2."""
    status, log = server_process(slow, "--grpc-port", "0", *arguments).finish()

    assert status == 2
    assert text in log
    assert "Traceback" not in log


def test_port_in_use(slow, server_process):
    """A port that is taken is an error that names it and the cure, and is not shared."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, log = server_process(slow, "--grpc-port", port).finish()

    assert status == 2
    assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in log
    assert "--grpc-port" in log
    assert len(log.strip().splitlines()) == 1


@OVER_ONE_TRANSPORT
@pytest.mark.parametrize("flag", ["--http-port", "--metrics-port"])
def test_http_port_in_use(flag, slow, server_process):
    """The same for the ports of HTTP: each is named with its own option, before models load."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, log = server_process(slow, "--grpc-port", "0", flag, port).finish()

    assert status == 2
    assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in log
    assert flag in log
    assert len(log.strip().splitlines()) == 1


def free_ports(count):
    """Return ports that nobody listens on."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in taken]


@pytest.mark.parametrize("taken", ["grpc_port", "http_port", "metrics_port"])
def test_a_port_in_use_leaves_no_other_taken(taken, repository, transport):
    """Whichever port cannot be had: those that were had before are free again at once."""
    names = ("grpc_port", "http_port", "metrics_port")
    ports = dict(zip(names, free_ports(3), strict=True))
    config = ServerConfig(repository=repository.path, transport=transport, **ports)
    with socket.create_server(("127.0.0.1", ports.pop(taken))):
        with pytest.raises(AddressError, match="the port is in use"):
            Server(config)
        for port in ports.values():
            socket.create_server(("127.0.0.1", port)).close()


def test_a_server_that_cannot_start_leaves_no_port_taken(repository, transport):
    """What fails after the ports were taken gives them back, while somebody still holds the server."""
    grpc_port, http_port = free_ports(2)
    config = ServerConfig(
        repository=repository.path / "none",
        transport=transport,
        grpc_port=grpc_port,
        http_port=http_port,
        metrics_port=None,
    )
    server = Server(config)
    with pytest.raises(ConfigurationError, match="does not exist"):
        server.start()
    for port in (grpc_port, http_port):
        socket.create_server(("127.0.0.1", port)).close()
    assert server.stop(1) == 0


#: Calls that end the loop which answers them: what they raise is no error of a request.
LETHAL = {
    "gRPC": """
from zoo_server.protocols.grpc.service import InferenceServicer

def end(*_):
    raise SystemExit("a bug")

InferenceServicer.ServerLive = end
""",
    "public": """
import grpc._server as server

handle = server._process_event_and_continue

def end(state, event):
    if event.tag is server._REQUEST_CALL_TAG:
        raise SystemExit("a bug")
    return handle(state, event)

server._process_event_and_continue = end
""",
    "HTTP": """
import asyncio
from zoo_server.protocols.rest.control import Control

def end(*_):
    raise SystemExit("a bug")

Control.live = lambda *_: asyncio.get_running_loop().call_soon(end) and None
""",
}


@pytest.mark.parametrize("loop", ["gRPC", "HTTP"])
def test_a_loop_that_ends_takes_the_process_with_it(loop, slow, server_process, transport):
    """A server whose port is deaf must not go on as if it were ready: it logs why, and exits 1."""
    bug = LETHAL["public" if (loop, transport) == ("gRPC", "public") else loop]
    process = server_process(slow, "--grpc-port", "0", "--http-port", "0", first=bug)
    match = process.wait_for(r"ready: gRPC on (\S+), HTTP on (\S+),")
    if loop == "gRPC":
        with grpc.insecure_channel(match[1]) as channel:
            stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.RpcError):
                stub.ServerLive(pb.ServerLiveRequest(), timeout=5)
    else:
        connection = http.client.HTTPConnection(match[2], timeout=20)
        connection.request("GET", "/v2/health/live")
        with suppress(ConnectionError):
            connection.getresponse()
        connection.close()
    status, log = process.finish()

    assert status == 1
    assert f"the loop of {loop} has ended: its ports are deaf" in log
    assert "SystemExit: a bug" in log or transport == "public"


@OVER_ONE_TRANSPORT
def test_sigterm_ends_the_load_of_many_models(repository, graphs, server_process):
    """While models load SIGTERM ends that after the present one, and the exit is 0."""
    for number in range(400):
        repository.add(f"m{number}", graphs.identity())
    process = server_process(repository.path, "--grpc-port", "0")
    process.wait_for("derived")
    process.send(signal.SIGTERM)
    status, log = process.finish()

    assert (status, "Traceback" in log, "ready:" in log) == (0, False, False)
    assert "leaving: no more models are loaded" in log
    assert log.count("derived") < 400


#: Loads each model for a minute, as a large one may, and says when it begins.
SLOW_LOADING = """
import logging, time
from zoo_server.backends.onnxruntime import runtime

def open_slowly(*_):
    logging.getLogger("zoo_server").info("opening")
    time.sleep(60)

runtime.Runtime.open = open_slowly
"""


@OVER_ONE_TRANSPORT
def test_sigterm_does_not_wait_for_a_model_that_loads_long(repository, graphs, server_process):
    """A load cannot be interrupted, and nobody waits for it: the process ends without it."""
    repository.add("m", graphs.identity())
    process = server_process(repository.path, "--grpc-port", "0", first=SLOW_LOADING)
    process.wait_for("opening")
    process.send(signal.SIGTERM)
    status, log = process.finish()

    assert (status, "Traceback" in log, "ready:" in log) == (0, False, False)


@OVER_ONE_TRANSPORT
@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ((), r"ready: gRPC on 127\.0\.0\.1:\d+, 1 models"),
        (("--http-port", "0"), r"gRPC on \S+:\d+, HTTP on 127\.0\.0\.1:\d+, 1 models"),
        (("--metrics-port", "0"), r"gRPC on \S+:\d+, metrics on 127\.0\.0\.1:\d+, 1 models"),
        (
            ("--http-port", "0", "--metrics-port", "0"),
            r"ready: gRPC on \S+:\d+, HTTP on \S+:\d+, metrics on 127\.0\.0\.1:\d+, 1 models",
        ),
    ],
)
def test_the_ready_line_names_what_listens(options, pattern, slow, server_process):
    """Ports that are off are not named; SIGTERM ends them all, long before the drain is over."""
    process = server_process(slow, "--grpc-port", "0", "--drain-seconds", "60", *options)
    process.wait_for(pattern)
    process.send(signal.SIGTERM)
    status, log = process.finish()

    assert (status, "Traceback" in log) == (0, False)


def test_two_servers_do_not_share_a_port(slow, serve, server_process):
    """Our own second server is refused too: SO_REUSEPORT is off."""
    with serve(slow) as wire:
        status, log = server_process(slow, "--grpc-port", wire.server.grpc_port).finish()

    assert status == 2
    assert "the port is in use" in log


def test_expired_call_is_not_run(slow, serve, make_request):
    """A call whose deadline passes while it waits for its turn never reaches the graph."""
    with serve(slow) as wire:
        count = trips(wire.stub, 0.15)
        statistics = wire.server.catalog.find("slow", "").statistics
        before = statistics.snapshot().execution_count
        busy = [ask(wire.stub, count) for _ in range(16)]
        time.sleep(0.1)
        with pytest.raises(grpc.RpcError) as caught:
            wire.stub.ModelInfer(make_request("slow", n=np.ones(1, np.int64)), timeout=0.05)
        # Refused at once where it is known to come too late.
        assert caught.value.code().name in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
        for call in busy:
            call.result()
        assert statistics.snapshot().execution_count == before + 16


@pytest.mark.parametrize("way", ["unary", "stream", "predict"])
def test_a_cancelled_call_is_not_run(way, slow, serve):
    """Who hangs up while his request waits behind another's run: it never reaches the graph, and
    is counted as cancelled."""
    with serve(slow) as wire:
        model = wire.server.catalog.find("slow", "")
        count = trips(wire.stub, 1.0)
        before = model.statistics.snapshot()
        running = ask(wire.stub, count)
        until(lambda: model.scheduler.running)
        go = threading.Event()
        waits = {
            "unary": lambda: ask(wire.stub, 1),
            "stream": lambda: wire.stub.ModelStreamInfer(one(counting(1), go), timeout=30),
            "predict": lambda: predict(wire.channel, 1),
        }[way]()
        until(lambda: model.waiting)
        waits.cancel()
        assert not running.done()  # else nothing is shown
        running.result()
        until(lambda: model.statistics.snapshot().fail.count > before.fail.count)
        go.set()
        after = model.statistics.snapshot()

        assert after.execution_count == before.execution_count + 1
        assert after.failures["CANCELED"] == before.failures["CANCELED"] + 1
        assert ask(wire.stub, 1).result().raw_output_contents


def one(request, then):
    """Ask on a stream that stays open."""
    yield request
    then.wait(20)


def test_concurrent_callers_get_their_own_answers(wire):
    """Many callers at once: each gets what it sent."""
    right = []

    def call(number):
        array = np.full((1, 4), number, np.float32)
        answers = [wire.infer("identity_fp32", x=array)["y"] for _ in range(20)]
        right.append(all(np.array_equal(answer, array) for answer in answers))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert right == [True] * 8


#: Leaves on a signal that a thread of its own takes while the main thread waits.
ANOTHER_THREAD = """
import signal, threading, time
from zoo_server.main import leaving_on_signals

def kill():
    time.sleep(0.3)  # so that the main thread waits already; sooner would pass as well
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    time.sleep(60)

with leaving_on_signals() as leave:
    threading.Thread(target=kill, daemon=True).start()
    leave.wait()
print("left")
"""


def test_a_signal_that_another_thread_takes_is_not_lost():
    """The kernel may give a process's signal to any thread; the main one leaves all the same."""
    done = subprocess.run(
        [sys.executable, "-c", ANOTHER_THREAD],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "left\n"), done.stderr
