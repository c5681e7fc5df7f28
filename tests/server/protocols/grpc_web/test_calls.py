"""Calls over gRPC-Web: the answers of gRPC, in frames of bytes or of base64."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from tests.server.protocols.secure_servers import TOKEN
from tests.server.web_callers import CODES, WebCaller, framed
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import tensorflow_serving_pb2 as tfs
from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError
from zoo_server.protocols.auth import RPC_RIGHTS
from zoo_server.protocols.grpc.health import Health, health_handlers
from zoo_server.protocols.grpc_web.application import GrpcWeb
from zoo_server.protocols.rest.asgi import SEND_AT_ONCE
from zoo_server.protocols.rest.bodies import Bodies, BodyLimits
from zoo_server.telemetry.server_counts import ServerCounts

Code = grpc.StatusCode
HEALTH = "/grpc.health.v1.Health/"
PREDICTION = "/tensorflow.serving.PredictionService/"


@pytest.fixture(params=[False, True], ids=["bytes", "base64"])
def text(request):
    """Whether all of it is base64."""
    return request.param


def predict():
    request = tfs.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["x"].dtype = 1
    for size in (1, 4):
        request.inputs["x"].tensor_shape.dim.add(size=size)
    request.inputs["x"].float_val.extend([1, 2, 3, 4])
    return request


def test_every_answer_is_that_of_grpc(served, web, make_request, text):
    """Inference on both protocols, metadata, health; those that are refused have status and words."""
    calls = {
        "/inference.GRPCInferenceService/": {
            "ServerLive": pb.ServerLiveRequest(),
            "ServerMetadata": pb.ServerMetadataRequest(),
            "ModelReady": pb.ModelReadyRequest(name="m"),
            "ModelMetadata": pb.ModelMetadataRequest(name="m"),
            "ModelConfig": pb.ModelConfigRequest(name="m"),
            "RepositoryIndex": pb.RepositoryIndexRequest(),
            "RepositoryModelLoad": pb.RepositoryModelLoadRequest(model_name="m"),
            "ModelInfer": make_request("m", x=np.ones((2, 4), np.float32)),
            "CudaSharedMemoryRegister": pb.CudaSharedMemoryRegisterRequest(name="r"),
        },
        HEALTH: {
            "Check": health_pb2.HealthCheckRequest(),
            "Other": health_pb2.HealthCheckRequest(),
        },
        PREDICTION: {"Predict": predict(), "Classify": tfs.ClassificationRequest()},
    }
    for service, methods in calls.items():
        for method, request in methods.items():
            raw = request.SerializeToString()
            answer = web.call(service + method, raw, text=text)
            assert ("text" in answer.http.headers["content-type"]) is text
            asked = served.channel.unary_unary(service + method).future(raw, timeout=20)
            error = asked.exception()
            if error is None:
                assert (answer.code, answer.messages) == (Code.OK, [asked.result()]), method
            else:
                assert (answer.code, answer.details) == (error.code(), error.details()), method
                assert answer.http.body == b""  # the status stands in the headers


def test_any_size_comes_whole(web, make_request, text):
    """Of several slices each way, whose base64 has no padding between."""
    for columns in (1, 49_150, 49_153, 700_001):
        x = np.random.default_rng(columns).random((1, columns)).astype(np.float32)
        answer = web.call("ModelInfer", make_request("m", x=x).SerializeToString(), text=text)
        assert answer.code is Code.OK, answer.details
        (message,) = answer.messages
        assert pb.ModelInferResponse.FromString(message).raw_output_contents[0] == x.tobytes()


def test_a_stream_answers_every_request_of_its_body(web, make_request, text):
    """In their order, mistakes too; two thousand of them make no deep stack."""
    rows = [
        make_request("m", x=np.full((1, 4), number, np.float32)).SerializeToString()
        for number in range(2000)
    ]
    rows[7] = pb.ModelInferRequest(model_name="nobody", id="7").SerializeToString()
    answer = web.call("ModelStreamInfer", *rows, text=text)
    said = [pb.ModelStreamInferResponse.FromString(one) for one in answer.messages]

    assert (answer.code, len(said)) == (Code.OK, len(rows))
    assert "unknown model: 'nobody'" in said.pop(7).error_message
    firsts = [np.frombuffer(one.infer_response.raw_output_contents[0], "f4")[0] for one in said]
    assert all(earlier < later for earlier, later in pairwise(firsts))


def test_a_stream_that_wants_statuses_ends_with_one(web, make_request):
    """In its trailers, or alone where nothing precedes it."""
    good = make_request("m", x=np.ones((1, 4), np.float32)).SerializeToString()
    bad = pb.ModelInferRequest(model_name="nobody").SerializeToString()
    for before in ([], [good]):
        answer = web.call("ModelStreamInfer", *before, bad, good, triton_grpc_error="true")
        assert (answer.code, len(answer.messages)) == (Code.NOT_FOUND, len(before))


def test_a_watch_answers_until_its_deadline(web):
    """What it was told before stands before the trailers."""
    answer = web.call(f"{HEALTH}Watch", b"", Grpc_Timeout="300m")
    status = health_pb2.HealthCheckResponse.FromString(answer.messages[0]).status
    assert status == health_pb2.HealthCheckResponse.SERVING
    assert (answer.code, answer.details) == (Code.DEADLINE_EXCEEDED, "Deadline Exceeded")


def test_a_watch_ends_with_the_server(repository, graphs, serve):
    """It hears that nothing is served any more, and holds up nobody."""
    repository.add("m", graphs.identity())
    with ThreadPoolExecutor(1) as threads:
        with serve(repository.path, http_port=0, grpc_web=True) as wire:
            caller = WebCaller(wire.server.http_address)
            watch = threads.submit(caller.call, f"{HEALTH}Watch", b"")
            with pytest.raises(TimeoutError):
                watch.result(0.5)
            begun = time.monotonic()
        answer = watch.result(20)
    caller.close()
    assert time.monotonic() - begun < 10
    assert (answer.code, answer.messages) == (Code.OK, [b"\x08\x01", b"\x08\x02"])


def test_who_leaves_is_forgotten_and_who_stays_hears_of_changes():
    """A watch ends with its caller, and a change comes while it is open."""
    health, limits = Health(), BodyLimits(body=1000, in_flight=1000, input=1000)
    health.publish({"m": True})
    wrote: list[bytes] = []
    at_once = threading.Event()

    async def watch():
        left = asyncio.Event()
        events = [{"type": "http.request", "body": framed(b"\x0a\x01m")}]

        async def receive():
            if events:
                return events.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            wrote.append(message.get("body", b""))
            if len(wrote) == 2:
                health.publish({"m": False})
            elif len(wrote) == 3:
                assert health.watches == 1
                left.set()

        with ThreadPoolExecutor(1) as workers:
            application = GrpcWeb(
                None, [health_handlers(health)], None, Bodies(limits), workers, ServerCounts(None)
            )
            scope = {
                "type": "http",
                "method": "POST",
                "path": f"{HEALTH}Watch",
                "headers": [(b"content-type", b"application/grpc-web")],
                "state": {SEND_AT_ONCE: at_once.set},
            }
            await asyncio.wait_for(application(scope, receive, send), 20)

    asyncio.run(watch())
    assert wrote == [b"", framed(b"\x08\x01"), framed(b"\x08\x02")]
    assert health.watches == 0
    assert at_once.is_set()


@pytest.mark.parametrize("timeout", ["0n", "0S"])
def test_a_deadline_that_has_passed(web, make_request, timeout):
    """Nothing is run for it."""
    request = make_request("m", x=np.ones((1, 4), np.float32)).SerializeToString()
    assert web.call("ModelInfer", request, Grpc_Timeout=timeout).code is Code.DEADLINE_EXCEEDED
    assert web.call("ServerLive", b"", Grpc_Timeout=timeout).code is Code.DEADLINE_EXCEEDED


def test_tokens_have_the_rights_that_they_have_over_grpc(serve_secure, tmp_path):
    """Each RPC asks for its own right; a path that is none of ours asks for one, too."""
    with serve_secure(token_file=tmp_path / "token", grpc_web=True) as server:
        caller = WebCaller(server.http_address)
        for service, rpcs in RPC_RIGHTS.items():
            if "Reflection" in service:
                continue  # gRPC alone has it
            for method, right in rpcs.items():
                path, headers = f"/{service}/{method}", {"Grpc_Timeout": "2S"}
                if method != "Watch":
                    answer = caller.call(path, b"", **headers)
                    assert (answer.code is Code.UNAUTHENTICATED) is (right is not None), path
                    told = caller.call(path, b"", Authorization=f"Bearer {TOKEN}", **headers)
                    assert told.code is not Code.UNAUTHENTICATED, path
        assert caller.call("Nothing", b"").code is Code.UNAUTHENTICATED
        caller.close()


def test_callers_have_limits(repository, graphs, serve, make_request):
    """Those of every wire, with when to come again."""
    repository.add("m", graphs.identity())
    limits = {"max_requests_per_second_per_caller": 1.0}
    request = make_request("m", x=np.ones((1, 4), np.float32)).SerializeToString()
    with serve(repository.path, http_port=0, grpc_web=True, **limits) as wire:
        caller = WebCaller(wire.server.http_address)
        first, second = (caller.call("ModelInfer", request) for _ in range(2))
        caller.close()
    assert (first.code, second.code) == (Code.OK, Code.RESOURCE_EXHAUSTED)
    assert 0 < int(second.trailers["grpc-retry-pushback-ms"]) <= 1001


def test_pages_of_an_origin_read_the_status(serve_secure):
    """The browser's question names the protocol's own headers, and it may show a page the status."""
    origin = "https://pages.example"
    with serve_secure(grpc_web=True, http_cors_origin=(origin,)) as server:
        caller = WebCaller(server.http_address)
        preflight = caller.ask(
            "OPTIONS",
            "/inference.GRPCInferenceService/ModelInfer",
            Origin=origin,
            Access_Control_Request_Method="POST",
            Access_Control_Request_Headers="content-type,grpc-timeout,x-grpc-web,x-user-agent",
        )
        answer = caller.call("ModelMetadata", b"", Origin=origin)
        caller.close()
    allowed = preflight.headers["access-control-allow-headers"]
    assert preflight.status == 200
    assert all(name in allowed for name in ("grpc-timeout", "x-grpc-web", "x-user-agent"))
    assert answer.http.headers["access-control-allow-origin"] == origin
    exposed = answer.http.headers["access-control-expose-headers"]
    assert all(name in exposed for name in ("grpc-status", "grpc-message"))


def test_it_is_off_unless_it_is_asked_for(repository, graphs, serve_rest):
    """Then its paths are none of the HTTP port's; and it has no port of its own."""
    repository.add("m", graphs.identity())
    kind = {"Content_Type": "application/grpc-web+proto"}
    path = "/inference.GRPCInferenceService/ServerLive"
    with serve_rest(repository.path) as rest:
        assert rest.ask("POST", path, framed(b""), **kind).status == 404
    with serve_rest(repository.path, grpc_web=True) as rest:
        assert rest.ask("POST", path, framed(b""), **kind).status == 200
        assert rest.get(path, **kind).status == 404
        assert rest.ask("POST", path, framed(b""), Content_Type="application/grpc").status == 404
        assert rest.get("/v2/health/live").status == 200
    with pytest.raises(ConfigurationError, match=r"--grpc-web needs an --http-port"):
        ServerConfig(repository=repository.path, grpc_web=True, http_port=None)


def test_every_code_has_a_number():
    """As the caller of these tests reads them."""
    assert len(CODES) == len(Code)
