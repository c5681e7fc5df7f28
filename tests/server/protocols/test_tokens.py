"""The tokens and their rights, on each port; and what is wrong with their file, in one line."""

import http.client

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

import zoo
from tests.server.http_callers import HttpCaller
from tests.server.protocols.secure_servers import TOKEN, ready, status
from zoo.client import Client
from zoo.errors import CheckFailed
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import grpc_service_pb2_grpc
from zoo_server.errors import ConfigurationError, Unauthenticated
from zoo_server.protocols.auth import (
    EVERY_RIGHT,
    OPEN,
    RPC_RIGHTS,
    Right,
    Tokens,
    digest,
    parse_tokens,
    rights_of,
)
from zoo_server.protocols.grpc.handlers import SERVICE
from zoo_server.protocols.rest.routes import OPERATIONS
from zoo_server.protocols.tfs.service import SERVICES as TENSORFLOW_SERVICES


def test_every_call_but_health_needs_the_token(serve_secure, tmp_path):
    """Over gRPC: UNAUTHENTICATED without it or with another, on unary calls, streams, reflection."""
    with (
        serve_secure(token_file=tmp_path / "token") as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        health = health_pb2_grpc.HealthStub(channel)
        right = {"metadata": (("authorization", f"Bearer {TOKEN}"),), "timeout": 10}
        wrong = {"metadata": (("authorization", f"Bearer {TOKEN}x"),), "timeout": 10}

        assert ready(channel)
        assert stub.ServerLive(pb.ServerLiveRequest()).live
        assert health.Check(health_pb2.HealthCheckRequest()).status == 1
        assert next(health.Watch(health_pb2.HealthCheckRequest(), timeout=10)).status == 1
        assert stub.ServerMetadata(pb.ServerMetadataRequest(), **right).name == "layer-zoo"

        request = pb.ModelInferRequest(model_name="identity")
        request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        request.raw_input_contents.append(bytes(16))
        assert stub.ModelInfer(request, **right).raw_output_contents[0] == bytes(16)
        (streamed,) = stub.ModelStreamInfer(iter([request]), **right)
        assert streamed.infer_response.raw_output_contents[0] == bytes(16)

        reflect = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        )
        for options in ({"timeout": 10}, wrong):
            for call in (
                lambda options=options: stub.ModelInfer(request, **options),
                lambda options=options: stub.ServerMetadata(pb.ServerMetadataRequest(), **options),
                lambda options=options: list(stub.ModelStreamInfer(iter([request]), **options)),
                lambda options=options: list(reflect(iter([b""]), **options)),
                lambda options=options: channel.unary_unary("/no/Such")(b"", **options),
            ):
                with pytest.raises(grpc.RpcError, match="token") as caught:
                    call()
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
                assert TOKEN not in caught.value.details()


def test_zoo_load_is_told_how_a_token_is_given(serve_secure, tmp_path):
    """By a client, as the refusal says; the header of which the server speaks is set by it."""
    rows = {"x": np.ones((1, 4), np.float32)}
    with serve_secure(token_file=tmp_path / "token") as server:
        with pytest.raises(
            CheckFailed, match=r"zoo\.load a server=zoo\.client\.Client\(ADDRESS, token=TOKEN\)"
        ):
            zoo.load("identity", server=server.grpc_address)
        with Client(server.grpc_address, token=TOKEN) as client:
            assert zoo.load("identity", server=client).run(rows)["y"].tolist() == [[1, 1, 1, 1]]


def test_every_path_but_health_needs_the_token(serve_secure, tmp_path):
    """Over HTTP: 401 and {"error"}, for unknown paths too; the metrics' port likewise."""
    with serve_secure(token_file=tmp_path / "token") as server:

        def ask(path, address=server.http_address, **headers):
            return status(http.client.HTTPConnection(address, timeout=10), path, **headers)

        for path in ("/v2/health/live", "/v2/health/ready"):
            assert ask(path) == 200
        for path in ("/v2", "/v2/models/identity", "/v2/openapi.json", "/nowhere"):
            assert ask(path) == 401
            assert ask(path, Authorization=f"Bearer {TOKEN}x") == 401
            assert ask(path, Authorization=f"Basic {TOKEN}") == 401
        assert ask("/v2/models/identity", Authorization=f"Bearer {TOKEN}") == 200
        assert ask("/v2", authorization=f"bearer {TOKEN}") == 200
        assert ask("/metrics", server.metrics_address) == 401
        assert ask("/metrics", server.metrics_address, Authorization=f"Bearer {TOKEN}") == 200
        # Each is counted: four paths three ways, the metrics' page, and a call over gRPC.
        with grpc.insecure_channel(server.grpc_address) as channel:
            stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.RpcError):
                stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=10)
        assert server.counts.read()['nv_server_request_refused{reason="TOKEN"}'] == 4 * 3 + 1 + 1


# -- its rights ------------------------------------------------------------------------------------


def test_every_rpc_has_a_right():
    """The table names each RPC of each service, and no other."""
    served = {
        service.full_name: {method.name for method in service.methods}
        for service in (
            SERVICE,
            *TENSORFLOW_SERVICES,
            *health_pb2.DESCRIPTOR.services_by_name.values(),
            *reflection_pb2.DESCRIPTOR.services_by_name.values(),
        )
    }

    assert {service: set(rpcs) for service, rpcs in RPC_RIGHTS.items()} == served


@pytest.fixture
def rights_file(tmp_path):
    """A token for each right alone, named like it."""
    path = tmp_path / "rights"
    path.write_text("".join(f"{right} {right}\n" for right in Right))
    return path


def test_a_token_is_good_for_its_rights_on_every_route(serve_secure, rights_file):
    """Each route takes the token with its right, and 403 is for all others; health takes none."""
    with serve_secure(token_file=rights_file, allow_shared_memory=True) as server:
        caller = HttpCaller(server.http_address)
        for operation in OPERATIONS:
            for path in operation.paths():
                named = path.format(model="m", version="1", label="l", region="r", repository="r")
                for token in Right:
                    bearer = {"Authorization": f"Bearer {token}"}
                    answer = caller.ask(operation.method, named, **bearer)
                    is_denied = operation.right not in (OPEN, token)
                    assert (answer.status == 403) is is_denied, (operation, token, answer)
                    assert not is_denied or f"the right '{operation.right}'" in answer.error
                if operation.right is not OPEN:
                    assert caller.ask(operation.method, named).status == 401
        for path, right, other in (
            ("/v2/repository/models/m/load%0A", "control", "inference"),
            ("/pages.html", "read", "control"),
        ):
            method = "GET" if right == "read" else "POST"
            assert caller.ask(method, path, Authorization=f"Bearer {other}").status == 403
            assert caller.ask(method, path, Authorization=f"Bearer {right}").status != 403
        caller.close()
        for token in Right:
            connection = http.client.HTTPConnection(server.metrics_address, timeout=10)
            told = status(connection, "/metrics", Authorization=f"Bearer {token}")
            assert told == (200 if token is Right.READ else 403)


def test_a_token_is_good_for_its_rights_on_every_rpc(serve_secure, rights_file):
    """Each RPC takes the token with its right; others are PERMISSION_DENIED."""
    with (
        serve_secure(token_file=rights_file, allow_shared_memory=True) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        for service, rpcs in RPC_RIGHTS.items():
            for name, right in rpcs.items():
                if right is OPEN:
                    continue
                for token in Right:
                    options = {"metadata": (("authorization", f"Bearer {token}"),), "timeout": 10}
                    code = outcome(channel, f"/{service}/{name}", **options)
                    is_denied = code is grpc.StatusCode.PERMISSION_DENIED
                    assert is_denied is (token is not right), (name, token, code)


def outcome(channel, method, **options):
    """Return the status of a call with an empty message, None for an answer."""
    try:
        if "Stream" in method or "Reflection" in method:
            list(channel.stream_stream(method)(iter([b""]), **options))
        else:
            channel.unary_unary(method)(b"", **options)
    except grpc.RpcError as error:
        return error.code()
    return None


def test_a_broken_file_is_one_line_of_the_log(tmp_path, caplog):
    """However often it is looked at, until it is mended or broken otherwise."""
    path = tmp_path / "token"
    path.write_text("one\n")
    tokens = Tokens(path)
    path.unlink()
    for _ in range(3):
        tokens.reload()
    path.write_text("one\n")
    tokens.reload()
    tokens.check([("authorization", "Bearer one")], Right.CONTROL)

    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ([], "a token is needed"),
        ([("other", "Bearer t")], "a token is needed"),
        ([("authorization", "Bearer x")], "the token is not the server's"),
        ([("authorization", "t")], "the token is not the server's"),
        ([("authorization", "Bearer")], "the token is not the server's"),
        ([("authorization", "")], "the token is not the server's"),
        ([("authorization", "Bearer tt")], "the token is not the server's"),
        ([("authorization", b"Bearer \xff")], "the token is not the server's"),
        ([("authorization", "Bearer \u00fc")], "the token is not the server's"),
        ([("authorization", "Bearer t"), ("authorization", "Bearer t")], "is not the server's"),
    ],
)
def test_metadata_without_the_token(metadata, text):
    """None, another, another scheme, two at once."""
    with pytest.raises(Unauthenticated, match=text):
        rights_of({digest(b"t"): EVERY_RIGHT}, metadata)


@pytest.mark.parametrize("value", ["Bearer t", b"bearer t", "BEARER  t "])
def test_metadata_with_the_token(value):
    """As text or bytes; the scheme in either case."""
    told = rights_of(
        {digest(b"s"): EVERY_RIGHT, digest(b"t"): frozenset({Right.READ})},
        [("other", "x"), ("authorization", value)],
    )
    assert told == {Right.READ}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "cannot be read: No such file"), (b"", "is empty"), (b" \n# none\n", "is empty"),
        (b"one two", "line 1: behind the token stand rights between commas; known are inference, "),
        (b"one\ntwo read,,control", "line 2: behind the token"), (b"caf\xc3\xa9", "printable ASCII"),
        (b"one\none read", "line 2: the token is there twice"),
        (b"\n".join(b"t%d" % n for n in range(257)), "has 257 tokens, 256 at most"),
    ],
)  # fmt: skip
def test_bad_token_file(tmp_path, content, text):
    """It must be there, and hold words that a header can carry, and rights that there are."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=text) as caught:
        Tokens(path)
    assert "two" not in str(caught.value).partition("line")[2]  # a token, perhaps


def test_good_token_file(tmp_path):
    """Comments, white space, a token alone; rights in any order, with spaces between."""
    tokens = parse_tokens(tmp_path, b"# all\n a \n\nb\tread, inference\r\nc shared-memory")

    assert tokens == {
        digest(b"a"): EVERY_RIGHT,
        digest(b"b"): {Right.READ, Right.INFERENCE},
        digest(b"c"): {Right.SHARED_MEMORY},
    }
