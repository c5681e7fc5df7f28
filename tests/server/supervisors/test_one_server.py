"""Several workers answer as one server: statistics, changes, and after one of them was replaced."""

import os
import re
import signal
import urllib.request
import uuid
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.server.supervisors.worker_callers import CHANGES, CONNECTIONS, infers, stub_of
from tests.server.transports import OVER_ONE_TRANSPORT
from zoo_proto import grpc_service_pb2 as pb

pytestmark = OVER_ONE_TRANSPORT


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
    addresses = process.wait_for(r"ready: gRPC on (\S+), HTTP on (\S+), metrics on (\S+), 1 models")
    with connected(addresses.group(1)) as channels:
        assert all(infers(channel, make_request) for channel in channels for _ in range(2))
        counts = {count_of(stub_of(channel)) for channel in channels}
    with urllib.request.urlopen(
        f"http://{addresses.group(2)}/v2/models/m/stats", timeout=10
    ) as page:
        rest = page.read().decode()

    assert process_metric(addresses.group(3), "process_resident_memory_bytes") > sum(
        resident(pid) for pid in process.workers()
    )
    assert counts == {2 * CONNECTIONS}
    assert f'"inference_count":{2 * CONNECTIONS}' in rest.replace(" ", "")
    assert metric(addresses.group(3), "nv_inference_request_success") == 2 * CONNECTIONS


@pytest.mark.parametrize("victim", [0, 1], ids=["owner-of-http", "other"])
def test_counters_do_not_fall_when_a_worker_is_killed(victim, two, make_request, connected):
    """What was shown stays after kill -9, and further requests come on top; an unload forgets it."""
    process = two("--http-port", "0", "--metrics-port", "0", *CHANGES)
    addresses = process.wait_for(r"ready: gRPC on (\S+), HTTP on (\S+), metrics on (\S+), 1 models")
    with connected(addresses.group(1)) as channels:
        assert all(infers(channel, make_request) for channel in channels)
        assert metric(addresses.group(3), "nv_inference_request_success") == CONNECTIONS
    os.kill(process.workers()[victim], signal.SIGKILL)
    process.wait_for(r"was ended by SIGKILL: another takes its place")
    with connected(addresses.group(1), 1) as (channel,):
        while_it_is_replaced = count_of(stub_of(channel))
    process.wait_for(rf"worker {victim + 1} serves")
    with connected(addresses.group(1)) as channels:
        after = {count_of(stub_of(channel)) for channel in channels}
        assert all(infers(channel, make_request) for channel in channels)
        more = {count_of(stub_of(channel)) for channel in channels}
        page = {
            name: metric(addresses.group(3), name)
            for name in (
                "nv_inference_request_success",
                "nv_inference_count",
                "nv_inference_exec_count",
                "nv_inference_pending_request_count",
            )
        }
        restarts = process_metric(addresses.group(3), "nv_worker_restarts")
        stub = stub_of(channels[0])
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="m"))
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="m"))
        anew = {count_of(stub_of(channel)) for channel in channels}

    assert (while_it_is_replaced, after, more) == (CONNECTIONS, {CONNECTIONS}, {2 * CONNECTIONS})
    assert list(page.values()) == [2 * CONNECTIONS] * 3 + [0]
    assert restarts == 1
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
    addresses = process.wait_for(r"ready: gRPC on (\S+), HTTP on (\S+), metrics on (\S+), 1 models")
    with connected(addresses.group(1), 1) as (channel,):
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
    with connected(addresses.group(1)) as channels:
        for channel in channels:
            stub = stub_of(channel)
            answer = stub.ModelInfer(from_region())
            assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [0, 1, 2, 3]
            assert not stub.ModelReady(pb.ModelReadyRequest(name="m")).ready
            settings = stub.LogSettings(pb.LogSettingsRequest()).settings
            assert settings["log_format"].string_param == "ISO8601"
    for address, path in ((addresses.group(2), "v2/health/ready"), (addresses.group(3), "metrics")):
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
