"""The bearer token: one for the whole server, read from a file, required by every call but health.

Health stays open, as in Triton's category of that name, since what asks for it (a load balancer, a
kubelet) seldom has the token and learns nothing but whether there is an answer.
"""

import hmac
import re
from collections.abc import Iterable
from pathlib import Path

import grpc

from zoo_server.errors import ConfigurationError, Unauthenticated
from zoo_server.protocols.status import status_of

HEADER = "authorization"

_SCHEME = b"bearer "

#: Calls that need no token: gRPC's methods, and HTTP's paths.
OPEN_METHODS = frozenset(
    {
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.health.v1.Health/List",
        "/inference.GRPCInferenceService/ServerLive",
        "/inference.GRPCInferenceService/ServerReady",
        "/inference.GRPCInferenceService/ModelReady",
    }
)
OPEN_PATHS = re.compile(r"/v2/(health/(live|ready)|models/[^/]+(/versions/[^/]+)?/ready)")


def authorised(token: bytes, metadata: Iterable[tuple[str, str | bytes]]) -> None:
    """Return if the metadata (gRPC's, or HTTP's headers) bear the token; else Unauthenticated.

    Names are in lower case, as both wires deliver them. The comparison takes as long for a wrong
    token as for the right one, so that it cannot be guessed piece by piece.
    """
    shown = [value for name, value in metadata if name == HEADER]
    if not shown:
        raise Unauthenticated(
            "a token is needed: send it in the metadata or header 'authorization: Bearer TOKEN'"
        )
    value = shown[0].encode() if isinstance(shown[0], str) else shown[0]
    scheme, presented = value[: len(_SCHEME)], value[len(_SCHEME) :].strip()
    right = hmac.compare_digest(presented, token)
    if len(shown) > 1 or scheme.lower() != _SCHEME or not right:
        raise Unauthenticated("the token is not the server's")


class TokenGuard:
    """Asks every gRPC call for the token (zoo_server.protocols.grpc.transport.public.Guard)."""

    def __init__(self, token: bytes) -> None:
        self._token = token

    def __call__(
        self, method: str, metadata: Iterable[tuple[str, str | bytes]]
    ) -> tuple[grpc.StatusCode, str] | None:
        """Return None to let a call in, else the status to refuse it with."""
        if method in OPEN_METHODS:
            return None
        try:
            authorised(self._token, metadata)
        except Unauthenticated as error:
            return status_of(error, method)
        return None


def read_token(path: Path) -> bytes:
    """Return the token in a file, without the white space around it.

    ConfigurationError if there is none, or one that no header could carry.
    """
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(
            f"--token-file '{path}' cannot be read: {error.strerror}"
        ) from None
    if not token:
        raise ConfigurationError(f"--token-file '{path}' is empty: write a token into it")
    if not all(0x20 < byte < 0x7F for byte in token):
        raise ConfigurationError(
            f"--token-file '{path}' holds more than one word of printable ASCII: no header could "
            "carry it"
        )
    return token
