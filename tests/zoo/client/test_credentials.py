"""The client's credentials: a token, TLS and mutual TLS; against a scripted server."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.zoo.client.scripted_server import FakeServer
from zoo.client import TLS, Client, errors


def test_the_token_goes_with_every_call(fake: Any, infer: Callable[..., Any]) -> None:
    """As a bearer token; without one there is no such header."""
    infer(fake.address, "m", [[1, 2]], token="secret")
    infer(fake.address, "m", [[1, 2]])

    assert [attempt.get("authorization") for attempt in fake.attempts] == ["Bearer secret", None]


class Certificates:
    """An authority of its own, and what it signs; made by openssl, since grpc only reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "ca.pem"
        self._openssl("req -x509 -days 2 -subj /CN=authority -keyout ca.key -out ca.pem", new=True)

    def sign(self, name: str) -> tuple[Path, Path]:
        """Return certificate and key for a name, valid for 127.0.0.1 as well."""
        (self.folder / "names").write_text(f"subjectAltName=DNS:{name},IP:127.0.0.1")
        self._openssl(f"req -subj /CN={name} -keyout {name}.key -out {name}.csr", new=True)
        self._openssl(
            f"x509 -req -days 2 -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial"
            f" -extfile names -out {name}.pem"
        )
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def _openssl(self, line: str, *, new: bool = False) -> None:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"] if new else []
        command = ["openssl", *line.split(), *key]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A fresh authority."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: TLS is not shown")
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=[False, True], ids=["tls", "mtls"])
def secure(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Any]:
    """A server with a certificate, which for mTLS wants one from the client too."""
    certificate, key = certificates.sign("server.test")
    authority = certificates.ca.read_bytes()
    server = FakeServer(
        grpc.ssl_server_credentials(
            [(key.read_bytes(), certificate.read_bytes())],
            authority if request.param else None,
            request.param,
        )
    )
    server.wants_certificate = request.param
    yield server
    server.stop()


def test_tls_and_mtls(secure: Any, certificates: Certificates, infer: Callable[..., Any]) -> None:
    """With the authority's file, and for mTLS our certificate; the token travels inside."""
    certificate, key = certificates.sign("client.test")
    mutual = {"certificate": certificate, "key": key} if secure.wants_certificate else {}
    tls = TLS(ca=certificates.ca, **mutual)

    assert infer(secure.address, "m", [[1, 2]], tls=tls, token="t").tolist() == [[2, 4]]
    assert secure.attempts[0]["authorization"] == "Bearer t"


def test_tls_by_the_name_in_the_certificate(
    certificates: Certificates, secure: Any, infer: Callable[..., Any]
) -> None:
    """A certificate for another name than the address is taken when that name is given."""
    certificate, key = certificates.sign("client.test")
    for name, answers in (("server.test", True), ("elsewhere.test", False)):
        tls = TLS(ca=certificates.ca, certificate=certificate, key=key, server_name=name)
        if answers:
            assert infer(secure.address, "m", [[1, 2]], tls=tls).tolist() == [[2, 4]]
        else:
            with pytest.raises(errors.Unreachable, match=r"give tls=TLS\(server_name=NAME\)"):
                infer(secure.address, "m", [[1, 2]], tls=tls, retries=0)


def test_an_unknown_authority_is_not_trusted(
    certificates: Certificates, secure: Any, infer: Callable[..., Any]
) -> None:
    """Nor is plain text spoken to a server with TLS."""
    certificate, key = certificates.sign("client.test")
    stranger = TLS(ca=certificate, certificate=certificate, key=key)
    for tls, words in ((stranger, "not trusted: give tls=TLS"), (None, "if it speaks over TLS")):
        with pytest.raises(errors.Unreachable, match=words):
            infer(secure.address, "m", [[1, 2]], tls=tls, retries=0)


def test_a_server_without_tls_is_no_missing_server(
    certificates: Certificates, fake: Any, infer: Callable[..., Any]
) -> None:
    """The cure is no TLS, which answers."""
    with pytest.raises(errors.Unreachable, match="speaks without TLS: leave tls out"):
        infer(fake.address, "m", [[1, 2]], tls=TLS(ca=certificates.ca), retries=0)
    assert infer(fake.address, "m", [[1, 2]]).tolist() == [[2, 4]]


def test_half_a_certificate_is_none() -> None:
    """mTLS takes certificate and key, or neither; a file that is missing is said at once."""
    with pytest.raises(ValueError, match="a certificate and its key together"):
        TLS(certificate="c")
    with pytest.raises(FileNotFoundError, match="no-such-file"):
        Client("127.0.0.1:1", tls=TLS(ca="no-such-file"))
