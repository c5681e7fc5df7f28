"""TLS for every port: grpcio's credentials and an SSL context from certificate files.

All that can be wrong with the files is said at the start, in one line. A certificate and key that change
are read again, and new connections get them; the clients' authorities are those of the start.
"""

import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError
from zoo_server.protocols.watched_files import WatchedFiles


@dataclass(frozen=True, slots=True)
class _Identity:
    """A certificate and its key, as each transport takes them."""

    http: ssl.SSLContext
    grpc: grpc.ServerCertificateConfiguration


class Tls:
    """The same for each kind of transport."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        """ConfigurationError if the files cannot be used."""
        self._pair = f"--tls-certificate '{certificate}' and --tls-key '{key}'"
        self._client_ca: bytes | None = None
        files = {"--tls-certificate": certificate, "--tls-key": key}
        if client_ca is not None:
            self._client_ca = _authorities(client_ca)
        self._files = WatchedFiles(files, self._read)
        #: What a port is opened with; its handshakes go on with the present one.
        self.http = self._files.value.http
        self.http.sni_callback = self._hand_over
        self._fetched = self._files.value.grpc
        self.grpc = grpc.dynamic_ssl_server_credentials(
            self._fetched,
            self._fetch,  # type: ignore[arg-type]  # None means no change, which the stubs leave out
            require_client_authentication=client_ca is not None,
        )

    def reload(self) -> None:
        """Read certificate and key again if they have changed."""
        self._files.reload()

    def _read(self, contents: Sequence[bytes]) -> "_Identity":
        certificate, key = contents
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        self._load_pair(context, certificate, key)
        if self._client_ca is not None:
            with _in_memory(self._client_ca) as file:
                context.load_verify_locations(file)
            context.verify_mode = ssl.CERT_REQUIRED
        pair = [(key, certificate)]
        return _Identity(context, grpc.ssl_server_certificate_configuration(pair, self._client_ca))

    def _hand_over(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        """Asked by OpenSSL at every handshake, whether or not the caller names a server.

        A context that is in use could only be changed in two steps, between which handshakes fail.
        """
        present = self._files.value.http
        if present is not self.http:
            connection.context = present

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Asked by gRPC at every handshake: None for no change."""
        present = self._files.value.grpc
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
