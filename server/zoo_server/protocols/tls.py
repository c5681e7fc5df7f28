"""TLS for every port: grpcio's credentials and an SSL context from certificate files.

The files are read once, at the start; all that can be wrong with them is said there, in one line.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The same for each kind of transport."""

    grpc: grpc.ServerCredentials
    http: ssl.SSLContext


def load(config: ServerConfig) -> Tls | None:
    """Read and check the files; None for plain text, ConfigurationError if they cannot be used."""
    if config.tls_certificate is None or config.tls_key is None:
        return None
    certificate = _read("--tls-certificate", config.tls_certificate)
    key = _read("--tls-key", config.tls_key)
    client_ca = None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, config.tls_certificate, config.tls_key)
    if config.tls_client_ca is not None:
        client_ca = _read("--tls-client-ca", config.tls_client_ca)
        try:
            context.load_verify_locations(config.tls_client_ca)
        except ssl.SSLError:
            raise ConfigurationError(
                f"--tls-client-ca '{config.tls_client_ca}' holds no certificates in PEM form"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )
    return Tls(grpc=credentials, http=context)


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    pair = f"--tls-certificate '{certificate}' and --tls-key '{key}'"
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except _Encrypted:
        raise ConfigurationError(
            f"--tls-key '{key}' is encrypted: decrypt it, for example with openssl pkey"
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigurationError(
                f"{pair} do not match: the key is not the certificate's"
            ) from None
        raise ConfigurationError(
            f"{pair} are not a certificate and a private key in PEM form"
        ) from None


class _Encrypted(Exception):
    """OpenSSL asked for a password."""


def _refuse_password() -> str:
    raise _Encrypted  # else it would ask on the terminal, and a server has none


def _read(flag: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{flag} '{path}' cannot be read: {error.strerror}") from None
