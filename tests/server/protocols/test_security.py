"""TLS, mutual TLS, the tokens and their rights, on each port; and what is wrong with their files, in one line."""

import http.client
import json
import logging
import ssl

import grpc
import numpy as np
import pytest
import tritonclient.http as triton
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from tests.server.http_callers import HttpCaller
from tests.waiting import until
from zoo.client import Client
from zoo.client import errors as client_errors
from zoo.client.connection import TLS
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import grpc_service_pb2_grpc
from zoo_server.config import ServerConfig
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
from zoo_server.server import running

TOKEN = "sesame-1234"


class Papers:
    """Certificates on disk: one authority, the server's and a client's certificate, and a stranger's."""

    def __init__(self, folder):
        self.authority, stranger = trustme.CA(), trustme.CA()
        authority = self.authority
        server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client")
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        self.certificate, self.key = self.write(folder, "server", server)
        self.client = self.write(folder, "client", client)
        self.stranger = self.write(folder, "stranger", stranger.issue_cert("client"))

    def write(self, folder, name, leaf):
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        certificate.write_bytes(chain)
        leaf.private_key_pem.write_to_path(key)
        return certificate, key

    def channel(self, address, identity=None):
        """Return a gRPC channel that trusts the authority and shows an identity."""
        certificate, key = identity or (None, None)
        return grpc.secure_channel(
            address,
            grpc.ssl_channel_credentials(
                self.ca.read_bytes(),
                key.read_bytes() if key else None,
                certificate.read_bytes() if certificate else None,
            ),
        )

    def context(self, identity=None):
        """Return the same for Python's own TLS."""
        context = ssl.create_default_context(cafile=self.ca)
        if identity:
            context.load_cert_chain(*identity)
        return context

    def https(self, address, identity=None):
        """Return an HTTPS connection that does the same."""
        return http.client.HTTPSConnection(address, timeout=10, context=self.context(identity))


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """Make the certificates once."""
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture
def serve_secure(repository, graphs, transport, tmp_path):
    """Return a function that configures a server of one model, on every port."""
    repository.add("identity", graphs.identity())
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    def configured(**options):
        return running(
            ServerConfig(
                repository=repository.path,
                grpc_port=0,
                http_port=0,
                metrics_port=0,
                drain_seconds=2.0,
                transport=transport,
                **options,
            )
        )

    return configured


def status(connection, path, **headers):
    """Return a GET's status, and close the connection."""
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status == 401:
        assert set(json.loads(body)) == {"error"}
        assert answer.headers["www-authenticate"] == "Bearer"
    return answer.status


def ready(channel, **options):
    stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
    return stub.ServerReady(pb.ServerReadyRequest(), timeout=10, **options).ready


# -- TLS -------------------------------------------------------------------------------------------


def test_tls_on_every_port(serve_secure, papers):
    """Clients that trust the authority are answered; plain text is not."""
    options = {"tls_certificate": papers.certificate, "tls_key": papers.key}
    with serve_secure(**options) as server:
        with papers.channel(server.grpc_address) as channel:
            assert ready(channel)
        assert status(papers.https(server.http_address), "/v2") == 200
        assert status(papers.https(server.metrics_address), "/metrics") == 200
        with grpc.insecure_channel(server.grpc_address) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                ready(channel)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        for address in (server.http_address, server.metrics_address):
            connection = http.client.HTTPConnection(address, timeout=10)
            with pytest.raises((OSError, http.client.HTTPException)):
                status(connection, "/v2")
            connection.close()


@pytest.mark.parametrize("identity", [None, "stranger"])
def test_mutual_tls_wants_a_certificate(serve_secure, papers, identity):
    """None, or one that another authority signed, is refused on every port."""
    shown = getattr(papers, identity) if identity else None
    options = {
        "tls_certificate": papers.certificate, "tls_key": papers.key, "tls_client_ca": papers.ca,
    }  # fmt: skip
    with serve_secure(**options) as server:
        with papers.channel(server.grpc_address, papers.client) as channel:
            assert ready(channel)
        assert status(papers.https(server.http_address, papers.client), "/v2") == 200
        assert status(papers.https(server.metrics_address, papers.client), "/metrics") == 200
        with papers.channel(server.grpc_address, shown) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                ready(channel)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        for address in (server.http_address, server.metrics_address):
            connection = papers.https(address, shown)
            with pytest.raises((OSError, http.client.HTTPException)):
                status(connection, "/v2")
            connection.close()


def test_bad_tls_files_are_one_line(papers, tmp_path, repository):
    """Missing, mismatched, garbled and encrypted files are each named, with the option."""
    garbled = tmp_path / "garbled.pem"
    garbled.write_text("no certificate")
    encrypted = tmp_path / "encrypted.key"
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(papers.key.read_bytes(), None)
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    good = {"tls_certificate": papers.certificate, "tls_key": papers.key}
    cases = [
        ({**good, "tls_certificate": tmp_path / "none"}, "--tls-certificate '.*none' cannot be re"),
        ({**good, "tls_key": tmp_path / "none"}, "--tls-key '.*none' cannot be read: No such file"),
        ({**good, "tls_key": papers.client[1]}, "do not match: the key is not the certificate's"),
        ({**good, "tls_key": garbled}, "are not a certificate and a private key in PEM form"),
        ({**good, "tls_certificate": garbled}, "are not a certificate and a private key in PEM fo"),
        ({**good, "tls_key": encrypted}, "is encrypted: decrypt it"),
        ({**good, "tls_client_ca": garbled}, "holds no certificates in PEM form"),
        (
            {**good, "tls_client_ca": tmp_path},
            "--tls-client-ca '.*' cannot be read: Is a directory",
        ),
        ({"tls_key": papers.key}, "--tls-certificate and --tls-key go together"),
        ({"tls_certificate": papers.certificate}, "--tls-certificate and --tls-key go together"),
        ({"tls_client_ca": papers.ca}, "--tls-client-ca needs --tls-certificate and --tls-key"),
    ]
    for options, text in cases:
        with pytest.raises(ConfigurationError, match=text) as caught:
            running(ServerConfig(repository=repository.path, grpc_port=0, **options)).__enter__()
        assert "\n" not in str(caught.value)


# -- the token -------------------------------------------------------------------------------------


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


def test_the_clients_get_in_with_papers_and_token(serve_secure, papers, tmp_path):
    """zoo.client over gRPC and tritonclient over HTTP: mutual TLS and the token together."""
    certificate, key = papers.client
    rows = np.float32([[1, 2, 3, 4]])
    options = {
        "tls_certificate": papers.certificate,
        "tls_key": papers.key,
        "tls_client_ca": papers.ca,
        "token_file": tmp_path / "token",
    }
    with serve_secure(**options) as server:
        ours = TLS(ca=papers.ca, certificate=certificate, key=key)
        with Client(server.grpc_address, token=TOKEN, tls=ours) as client:
            np.testing.assert_array_equal(client.infer("identity", rows), rows)
        with (
            Client(server.grpc_address, token="another", tls=ours) as stranger,
            pytest.raises(client_errors.Unauthenticated),
        ):
            stranger.infer("identity", rows)
        context = {
            "ssl": True,
            "ssl_context_factory": lambda: papers.context(papers.client),
        }
        with triton.InferenceServerClient(server.http_address, **context) as web:
            given = triton.InferInput("x", [1, 4], "FP32")
            given.set_data_from_numpy(rows)
            headers = {"Authorization": f"Bearer {TOKEN}"}
            answer = web.infer("identity", [given], headers=headers)
            np.testing.assert_array_equal(answer.as_numpy("y"), rows)


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
            asked = http.client.HTTPConnection(server.metrics_address, timeout=10)
            told = status(asked, "/metrics", Authorization=f"Bearer {token}")
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


def test_tokens_and_certificates_are_read_again(serve_secure, papers, tmp_path, caplog):
    """New calls need the new token and see the new certificate; what is broken changes nothing."""
    certificate, key, token = (tmp_path / name for name in ("server.pem", "server.key", "token"))
    certificate.write_bytes(papers.certificate.read_bytes())
    key.write_bytes(papers.key.read_bytes())
    options = {"tls_certificate": certificate, "tls_key": key, "token_file": token}
    with serve_secure(**options) as server, caplog.at_level(logging.INFO, "zoo_server"):

        def asked(word):
            return status(papers.https(server.http_address), "/v2", Authorization=f"Bearer {word}")

        def metadata_by_grpc(word):
            with papers.channel(server.grpc_address) as channel:
                stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
                bearer = (("authorization", f"Bearer {word}"),)
                stub.ServerMetadata(pb.ServerMetadataRequest(), metadata=bearer, timeout=10)

        def shown():
            """What each kind of port shows to a new connection."""
            return {
                ssl.get_server_certificate(("127.0.0.1", int(address.rpartition(":")[2])))
                for address in (server.grpc_address, server.http_address, server.metrics_address)
            }

        before = shown()
        assert asked(TOKEN) == 200
        token.write_text("next  read\n")
        key.write_text("no key")
        until(lambda: asked("next") == 200)
        assert asked(TOKEN) == 401
        metadata_by_grpc("next")
        until(lambda: "in PEM form; what was read before stays in force" in caplog.text)
        assert shown() == before

        token.write_text("last  nonsense\n")
        papers.write(tmp_path, "server", papers.authority.issue_cert("127.0.0.1"))
        until(lambda: "unknown" in caplog.text or "known are" in caplog.text)
        until(lambda: len(shown() | before) == 2 and not shown() & before)
        assert asked("next") == 200
        metadata_by_grpc("next")
        assert "last" not in caplog.text


def test_a_broken_file_is_one_line_of_the_log(tmp_path, caplog):
    """However often it is looked at, until it is mended or broken otherwise."""
    path = tmp_path / "token"
    path.write_text("one\n")
    tokens = Tokens(path)
    path.unlink()
    for _ in range(3):
        tokens.look()
    path.write_text("one\n")
    tokens.look()
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


# -- browsers --------------------------------------------------------------------------------------


def test_pages_of_an_origin_may_ask(serve_secure, tmp_path):
    """CORS: the browser's question needs no token, the request does; other origins hear no yes."""
    origin, other = "https://pages.example:8443", "https://other.example"
    with serve_secure(token_file=tmp_path / "token", http_cors_origin=(origin,)) as server:
        caller = HttpCaller(server.http_address)
        question = {
            "Access_Control_Request_Method": "POST",
            "Access_Control_Request_Headers": "authorization,inference-header-content-length",
        }
        path = "/v2/models/identity/infer"
        asked = caller.ask("OPTIONS", path, Origin=origin, **question)
        refused = caller.ask("OPTIONS", path, Origin=other, **question)
        denied = caller.get("/v2", Origin=origin)
        told = caller.get("/v2", Origin=origin, Authorization=f"Bearer {TOKEN}")
        stranger = caller.get("/v2", Origin=other, Authorization=f"Bearer {TOKEN}")
        caller.close()

    assert asked.status == 200
    assert asked.headers["access-control-allow-origin"] == origin
    assert "authorization" in asked.headers["access-control-allow-headers"]
    assert "access-control-allow-origin" not in refused.headers
    assert (denied.status, denied.headers["access-control-allow-origin"]) == (401, origin)
    assert (told.status, told.headers["access-control-allow-origin"]) == (200, origin)
    assert "inference-header-content-length" in told.headers["access-control-expose-headers"]
    assert (stranger.status, "access-control-allow-origin" in stranger.headers) == (200, False)


def test_without_the_option_no_origin_may_ask(rest):
    """No header says so, and the browser's question is a method like any other."""
    origin = "https://pages.example"
    assert rest.ask("OPTIONS", "/v2", Origin=origin).status == 405
    assert "access-control-allow-origin" not in rest.get("/v2", Origin=origin).headers


@pytest.mark.parametrize("origin", ["example.org", "https://a.b/", "https://a b", "", "https://"])
def test_what_is_no_origin(repository, origin):
    """It is said at the start, in one line."""
    with pytest.raises(ConfigurationError, match=r"--http-cors-origin '.*' is no origin"):
        ServerConfig(repository=repository.path, http_cors_origin=(origin,))
