"""TLS for every port: grpcio's credentials and an SSL context from certificate files.

All that can be wrong with the files is said at the start, in one line. A certificate and key that change
are read again, and new connections get them; the clients' authorities are those of the start.
"""

import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc

from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError
from zoo_server.protocols.watched_files import WatchedFiles


class Tls:
    """The same for each kind of transport."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        """ConfigurationError if the files cannot be used."""
        self.http = _context()
        self._pair = f"--tls-certificate '{certificate}' and --tls-key '{key}'"
        self._client_ca: bytes | None = None
        files = {"--tls-certificate": certificate, "--tls-key": key}
        if client_ca is not None:
            self._client_ca = _authorities(client_ca)
            self.http.load_verify_locations(client_ca)
            self.http.verify_mode = ssl.CERT_REQUIRED
        self._files = WatchedFiles(files, self._apply)
        self._fetched = self._files.value
        self.grpc = grpc.dynamic_ssl_server_credentials(
            self._fetched,
            self._fetch,  # type: ignore[arg-type]  # None means no change, which the stubs leave out
            require_client_authentication=client_ca is not None,
        )

    def look(self) -> None:
        """Read certificate and key again if they have changed."""
        self._files.look()

    def _apply(self, contents: Sequence[bytes]) -> grpc.ServerCertificateConfiguration:
        certificate, key = contents
        self._load_pair(_context(), certificate, key)  # what is wrong is found on another one
        self._load_pair(self.http, certificate, key)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], self._client_ca)

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Asked by gRPC at every handshake: None for no change."""
        present = self._files.value
        if present is self._fetched:
            return None
        self._fetched = present
        return present

    def _load_pair(self, context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
        pair = self._pair
        try:
            with _in_memory(certificate) as first, _in_memory(key) as second:
                context.load_cert_chain(first, second, password=_refuse_password)
        except _Encrypted:
            raise ConfigurationError(
                f"{pair}: the key is encrypted: decrypt it, for example with openssl pkey"
            ) from None
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise ConfigurationError(
                    f"{pair} do not match: the key is not the certificate's"
                ) from None
            raise ConfigurationError(
                f"{pair} are not a certificate and a private key in PEM form"
            ) from None


def load(config: ServerConfig) -> Tls | None:
    """Read and check the files; None for plain text, ConfigurationError if they cannot be used."""
    if config.tls_certificate is None or config.tls_key is None:
        return None
    return Tls(config.tls_certificate, config.tls_key, config.tls_client_ca)


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    return context


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Give a path to what was read: the file itself may be another by now."""
    descriptor = os.memfd_create("pem")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _authorities(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"--tls-client-ca '{path}' cannot be read: {error.strerror}"
        ) from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError:
        raise ConfigurationError(
            f"--tls-client-ca '{path}' holds no certificates in PEM form"
        ) from None
    return content


class _Encrypted(Exception):
    """OpenSSL asked for a password."""


def _refuse_password() -> str:
    raise _Encrypted  # else it would ask on the terminal, and a server has none
