"""TLS and mutual TLS on each port; and what is wrong with their files, in one line."""

import http.client
import logging
import ssl

import grpc
import numpy as np
import pytest
import tritonclient.http as triton

from tests.server.protocols.secure_servers import TOKEN, ready, status
from tests.waiting import until
from zoo.client import Client
from zoo.client import errors as client_errors
from zoo.client.connection import TLS
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import grpc_service_pb2_grpc
from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError
from zoo_server.server import running


def test_tls_on_every_port(serve_secure, certificates):
    """Clients that trust the authority are answered; plain text is not."""
    options = {"tls_certificate": certificates.certificate, "tls_key": certificates.key}
    with serve_secure(**options) as server:
        with certificates.channel(server.grpc_address) as channel:
            assert ready(channel)
        assert status(certificates.https(server.http_address), "/v2") == 200
        assert status(certificates.https(server.metrics_address), "/metrics") == 200
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
def test_mutual_tls_wants_a_certificate(serve_secure, certificates, identity):
    """None, or one that another authority signed, is refused on every port."""
    shown = getattr(certificates, identity) if identity else None
    options = {
        "tls_certificate": certificates.certificate, "tls_key": certificates.key, "tls_client_ca": certificates.ca,
    }  # fmt: skip
    with serve_secure(**options) as server:
        with certificates.channel(server.grpc_address, certificates.client) as channel:
            assert ready(channel)
        assert status(certificates.https(server.http_address, certificates.client), "/v2") == 200
        assert (
            status(certificates.https(server.metrics_address, certificates.client), "/metrics")
            == 200
        )
        with certificates.channel(server.grpc_address, shown) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                ready(channel)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        for address in (server.http_address, server.metrics_address):
            connection = certificates.https(address, shown)
            with pytest.raises((OSError, http.client.HTTPException)):
                status(connection, "/v2")
            connection.close()


def test_bad_tls_files_are_one_line(certificates, tmp_path, repository):
    """Missing, mismatched, garbled and encrypted files are each named, with the option."""
    garbled = tmp_path / "garbled.pem"
    garbled.write_text("no certificate")
    encrypted = tmp_path / "encrypted.key"
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(certificates.key.read_bytes(), None)
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    good = {"tls_certificate": certificates.certificate, "tls_key": certificates.key}
    cases = [
        ({**good, "tls_certificate": tmp_path / "none"}, "--tls-certificate '.*none' cannot be re"),
        ({**good, "tls_key": tmp_path / "none"}, "--tls-key '.*none' cannot be read: No such file"),
        (
            {**good, "tls_key": certificates.client[1]},
            "do not match: the key is not the certificate's",
        ),
        ({**good, "tls_key": garbled}, "are not a certificate and a private key in PEM form"),
        ({**good, "tls_certificate": garbled}, "are not a certificate and a private key in PEM fo"),
        ({**good, "tls_key": encrypted}, "is encrypted: decrypt it"),
        ({**good, "tls_client_ca": garbled}, "holds no certificates in PEM form"),
        (
            {**good, "tls_client_ca": tmp_path},
            "--tls-client-ca '.*' cannot be read: Is a directory",
        ),
        ({"tls_key": certificates.key}, "--tls-certificate and --tls-key go together"),
        (
            {"tls_certificate": certificates.certificate},
            "--tls-certificate and --tls-key go together",
        ),
        (
            {"tls_client_ca": certificates.ca},
            "--tls-client-ca needs --tls-certificate and --tls-key",
        ),
    ]
    for options, text in cases:
        with pytest.raises(ConfigurationError, match=text) as caught:
            running(ServerConfig(repository=repository.path, grpc_port=0, **options)).__enter__()
        assert "\n" not in str(caught.value)


def test_the_clients_get_in_with_a_certificate_and_the_token(serve_secure, certificates, tmp_path):
    """zoo.client over gRPC and tritonclient over HTTP: mutual TLS and the token together."""
    certificate, key = certificates.client
    rows = np.float32([[1, 2, 3, 4]])
    options = {
        "tls_certificate": certificates.certificate,
        "tls_key": certificates.key,
        "tls_client_ca": certificates.ca,
        "token_file": tmp_path / "token",
    }
    with serve_secure(**options) as server:
        ours = TLS(ca=certificates.ca, certificate=certificate, key=key)
        with Client(server.grpc_address, token=TOKEN, tls=ours) as client:
            np.testing.assert_array_equal(client.infer("identity", rows), rows)
        with (
            Client(server.grpc_address, token="another", tls=ours) as stranger,
            pytest.raises(client_errors.Unauthenticated),
        ):
            stranger.infer("identity", rows)
        context = {
            "ssl": True,
            "ssl_context_factory": lambda: certificates.context(certificates.client),
        }
        with triton.InferenceServerClient(server.http_address, **context) as web:
            tensor = triton.InferInput("x", [1, 4], "FP32")
            tensor.set_data_from_numpy(rows)
            headers = {"Authorization": f"Bearer {TOKEN}"}
            answer = web.infer("identity", [tensor], headers=headers)
            np.testing.assert_array_equal(answer.as_numpy("y"), rows)


def test_tokens_and_certificates_are_read_again(serve_secure, certificates, tmp_path, caplog):
    """New calls need the new token and see the new certificate; what is broken changes nothing."""
    certificate, key, token = (tmp_path / name for name in ("server.pem", "server.key", "token"))
    certificate.write_bytes(certificates.certificate.read_bytes())
    key.write_bytes(certificates.key.read_bytes())
    options = {"tls_certificate": certificate, "tls_key": key, "token_file": token}
    with serve_secure(**options) as server, caplog.at_level(logging.INFO, "zoo_server"):

        def status_with(word):
            return status(
                certificates.https(server.http_address), "/v2", Authorization=f"Bearer {word}"
            )

        def metadata_by_grpc(word):
            with certificates.channel(server.grpc_address) as channel:
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
        assert status_with(TOKEN) == 200
        token.write_text("next  read\n")
        key.write_text("no key")
        until(lambda: status_with("next") == 200)
        assert status_with(TOKEN) == 401
        metadata_by_grpc("next")
        until(lambda: "in PEM form; what was read before stays in force" in caplog.text)
        assert shown() == before

        token.write_text("last  nonsense\n")
        certificates.write(tmp_path, "server", certificates.authority.issue_cert("127.0.0.1"))
        until(lambda: "unknown" in caplog.text or "known are" in caplog.text)
        until(lambda: len(shown() | before) == 2 and not shown() & before)
        assert status_with("next") == 200
        metadata_by_grpc("next")
        assert "last" not in caplog.text
