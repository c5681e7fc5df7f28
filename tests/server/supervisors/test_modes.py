"""What a server of one process offers, from several: poll mode, control over REST, TLS and the token."""

import http.client
import json
import os
import signal
import time

import grpc
import numpy as np
import pytest
import trustme

from tests.server.transports import OVER_ONE_TRANSPORT
from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import grpc_service_pb2_grpc

pytestmark = OVER_ONE_TRANSPORT

POLL = ("--model-control-mode", "poll", "--repository-poll-secs", "1")
READY = r"ready: gRPC on (\S+), HTTP on (\S+), "
ROW = np.ones((1, 4), np.float32)
TOKEN = "sesame-1234"


def stub_of(channel):
    return grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)


def ask(address, method, path):
    """Return the status of an HTTP request, and its JSON."""
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if body else None


def states(address):
    """Return the state of each version as the worker that owns HTTP has it."""
    status, index = ask(address, "POST", "/v2/repository/index")
    assert status == 200
    return {(one["name"], one.get("version")): one.get("state") for one in index}


def test_every_worker_follows_the_repository(two, repository, graphs, connected, make_request):
    """A new version is served by all once it is ready, and one that is gone by none."""
    address = two(*POLL).address()
    with connected(address) as channels:
        stubs = [stub_of(channel) for channel in channels]

        def is_ready(version):
            message = pb.ModelReadyRequest(name="m", version=version)
            return [stub.ModelReady(message).ready for stub in stubs]

        assert not any(is_ready("2"))
        repository.add("m", graphs.identity(), version=2)
        until(lambda: all(is_ready("2")))
        versions = [
            stub.ModelInfer(make_request("m", version, x=ROW)).model_version
            for stub in stubs
            for version in ("2", "")
        ]
        (repository.path / "m" / "2").rename(repository.path.parent / "elsewhere")
        until(lambda: not any(is_ready("2")))
        until(lambda: all(is_ready("1")))
        after = [stub.ModelInfer(make_request("m", x=ROW)).model_version for stub in stubs]

    assert versions == ["2"] * 2 * len(channels)
    assert after == ["1"] * len(channels)


def test_a_model_is_ready_once_every_worker_has_it(two, repository, graphs):
    """While one worker has not loaded it, the other knows it and says that it is not ready."""
    process = two(*POLL, "--http-port", "0")
    _, address = process.wait_for(READY).groups()
    late = process.workers()[1]
    os.kill(late, signal.SIGSTOP)
    try:
        repository.add("late", graphs.identity())
        until(lambda: states(address).get(("late", "1")) == "READY")
        time.sleep(0.5)  # long enough for the supervisor to tell the worker that is awake
        before = ask(address, "GET", "/v2/models/late/ready")[0]
        others = ask(address, "GET", "/v2/models/m/ready")[0]
    finally:
        os.kill(late, signal.SIGCONT)
    until(lambda: ask(address, "GET", "/v2/models/late/ready")[0] == 200)

    assert (before, others) == (400, 200)


def test_load_and_unload_over_rest_reach_every_worker(
    two, repository, graphs, connected, make_request
):
    """What is asked of the worker that owns HTTP holds for all once it is answered."""
    repository.add("late", graphs.identity())
    process = two("--model-control-mode", "explicit", "--load-model", "m", "--http-port", "0")
    address, web = process.wait_for(READY).groups()
    with connected(address) as channels:
        stubs = [stub_of(channel) for channel in channels]
        message = pb.ModelReadyRequest(name="late")
        loaded = ask(web, "POST", "/v2/repository/models/late/load")[0]
        ready = [stub.ModelReady(message).ready for stub in stubs]
        answers = [stub.ModelInfer(make_request("late", x=ROW)).model_name for stub in stubs]
        unloaded = ask(web, "POST", "/v2/repository/models/late/unload")[0]
        gone = [stub.ModelReady(message).ready for stub in stubs]
        refused = ask(web, "POST", "/v2/repository/models/nope/load")

    assert (loaded, unloaded) == (200, 200)
    assert (ready, gone) == ([True] * len(channels), [False] * len(channels))
    assert answers == ["late"] * len(channels)
    assert "failed to load 'nope'" in refused[1]["error"]
    assert len(process.workers()) == 2


def test_every_worker_wants_tls_and_the_token(two, tmp_path, connected, make_request):
    """No connection gets in without the token or in plain text, whichever worker it reaches."""
    authority = trustme.CA()
    identity = authority.issue_cert("127.0.0.1")
    chain, key, token = (tmp_path / name for name in ("server.pem", "server.key", "token"))
    chain.write_bytes(b"".join(blob.bytes() for blob in identity.cert_chain_pems))
    identity.private_key_pem.write_to_path(key)
    token.write_text(TOKEN)
    address = two(
        "--tls-certificate", chain, "--tls-key", key, "--token-file", token
    ).address()  # fmt: skip
    trusting = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    right = (("authorization", f"Bearer {TOKEN}"),)
    request = make_request("m", x=ROW)
    with connected(address, credentials=trusting) as channels:
        for channel in channels:
            stub = stub_of(channel)
            assert stub.ModelInfer(request, metadata=right).model_name == "m"
            for metadata in ((), (("authorization", "Bearer another"),)):
                with pytest.raises(grpc.RpcError, match="token") as caught:
                    stub.ModelInfer(request, metadata=metadata)
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    for _ in range(8):
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(address, options) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                stub_of(channel).ServerLive(pb.ServerLiveRequest(), timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
