"""Coming up and leaving: what is taken and released, and real processes with real signals."""

import http.client
import json
import signal
import subprocess
import sys
from contextlib import suppress

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.server.slow_calls import ask, predict, trips, until_busy
from tests.server.transports import OVER_ONE_TRANSPORT
from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import (
    grpc_service_pb2_grpc,
)
from zoo_server.errors import ServerExiting
from zoo_server.limits import InFlight


def test_in_flight_waits_and_turns_away():
    """A closed door lets nobody in, and waits for those inside no longer than told."""
    in_flight = InFlight()
    with in_flight:
        in_flight.close()
        assert in_flight.wait_until_idle(0.01) == 1
        with pytest.raises(ServerExiting, match="Server exiting"), in_flight:
            pass
    assert in_flight.wait_until_idle(1) == 0


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
from zoo_server.protocols.rest.open_inference import OpenInferenceRoutes

def end(*_):
    raise SystemExit("a bug")

OpenInferenceRoutes.live = lambda *_: asyncio.get_running_loop().call_soon(end) and None
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


#: Leaves on a signal that a thread of its own takes while the main thread waits.
ANOTHER_THREAD = """
import signal, threading, time
from zoo_server.main import shutdown_on_signals

def kill():
    for _ in range({count}):
        time.sleep(0.3)  # so that the main thread waits already; sooner would pass as well
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    time.sleep(60)

with shutdown_on_signals() as shutdown:
    threading.Thread(target=kill, daemon=True).start()
    shutdown.wait()
    {then}
print("left")
"""


@pytest.mark.parametrize(
    ("count", "then", "status", "printed"),
    [(1, "pass", 0, "left\n"), (2, "threading.Event().wait()", 1, "")],
    ids=["the first", "the second"],
)
def test_a_signal_that_another_thread_takes_is_not_lost(count, then, status, printed):
    """The kernel may give a process's signal to any thread, whatever the main one waits for."""
    done = subprocess.run(
        [sys.executable, "-c", ANOTHER_THREAD.format(count=count, then=then)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout) == (status, printed), done.stderr
