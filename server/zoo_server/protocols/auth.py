"""The bearer tokens and their rights: read from --token-file, asked of every call but health.

    # A line is a token, and its rights between commas; without any it has all.
    8c1f0b27d3
    54b9e0aa61   inference,read

Health stays open, as in Triton's category of that name, since what asks for it (a load balancer, a
kubelet) seldom has the token and learns nothing but whether there is an answer.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import grpc

from zoo_server.errors import ConfigurationError, PermissionDenied, Unauthenticated
from zoo_server.protocols.status import status_of
from zoo_server.protocols.watched_files import WatchedFiles

HEADER = "authorization"

FLAG = "--token-file"

_SCHEME = b"bearer "

#: Each is compared with every call's.
MOST_TOKENS = 256


class Right(StrEnum):
    """What a token may be good for."""

    INFERENCE = "inference"
    #: Whatever tells and changes nothing: metadata, configuration, statistics, metrics, pages.
    READ = "read"
    #: Loading and unloading models; the log's and the traces' settings.
    CONTROL = "control"
    SHARED_MEMORY = "shared-memory"


#: A token's rights.
Rights = frozenset[Right]

EVERY_RIGHT: Rights = frozenset(Right)

#: What needs no token.
OPEN = None

_SHARED_MEMORY = {
    f"{kind}SharedMemory{what}": Right.SHARED_MEMORY
    for kind in ("System", "Cuda")
    for what in ("Status", "Register", "Unregister")
}

#: The right that each RPC needs, by service.
RPC_RIGHTS: Mapping[str, Mapping[str, Right | None]] = {
    "grpc.health.v1.Health": {"Check": OPEN, "Watch": OPEN},
    "grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": Right.READ},
    "inference.GRPCInferenceService": {
        "ServerLive": OPEN,
        "ServerReady": OPEN,
        "ModelReady": OPEN,
        "ModelInfer": Right.INFERENCE,
        "ModelStreamInfer": Right.INFERENCE,
        "ServerMetadata": Right.READ,
        "ModelMetadata": Right.READ,
        "ModelConfig": Right.READ,
        "ModelStatistics": Right.READ,
        "RepositoryIndex": Right.READ,
        "RepositoryModelLoad": Right.CONTROL,
        "RepositoryModelUnload": Right.CONTROL,
        "TraceSetting": Right.CONTROL,
        "LogSettings": Right.CONTROL,
        **_SHARED_MEMORY,
    },
    "tensorflow.serving.PredictionService": {
        "Predict": Right.INFERENCE,
        "Classify": Right.INFERENCE,
        "Regress": Right.INFERENCE,
        "MultiInference": Right.INFERENCE,
        "GetModelMetadata": Right.READ,
    },
    "tensorflow.serving.ModelService": {
        "GetModelStatus": Right.READ,
        "HandleReloadConfigRequest": Right.CONTROL,
    },
}

_BY_METHOD = {
    f"/{service}/{name}": right
    for service, rpcs in RPC_RIGHTS.items()
    for name, right in rpcs.items()
}


class Tokens:
    """The tokens of a file, which is read again when it changes (watched_files.py)."""

    def __init__(self, path: Path) -> None:
        """ConfigurationError if the file cannot be read, or holds what is no list of tokens."""
        self._file = WatchedFiles({FLAG: path}, lambda contents: parse_tokens(path, contents[0]))

    def reload(self) -> None:
        """Read the file again if it has changed."""
        self._file.reload()

    def check(self, metadata: Iterable[tuple[str, str | bytes]], right: Right | None) -> None:
        """Return if the metadata (gRPC's, or HTTP's headers) bear a token with the right.

        Unauthenticated if they bear none of ours, PermissionDenied if its rights are others.
        """
        if right is OPEN:
            return
        rights = rights_of(self._file.value, metadata)
        if right not in rights:
            raise PermissionDenied(
                f"the call needs the right '{right}', and the token has: {', '.join(sorted(rights))}"
            )


def rights_of(
    tokens: Mapping[bytes, Rights], metadata: Iterable[tuple[str, str | bytes]]
) -> Rights:
    """Return the rights of the token in metadata; Unauthenticated if it is none of `tokens`.

    Names are in lower case, as both wires deliver them. All are compared, by digests of one length:
    neither a token nor its place in the file shows in how long that takes.
    """
    shown = [value for name, value in metadata if name == HEADER]
    if not shown:
        raise Unauthenticated(
            "a token is needed: send it in the metadata or header 'authorization: Bearer TOKEN'"
        )
    value = shown[0].encode() if isinstance(shown[0], str) else shown[0]
    scheme, presented = value[: len(_SCHEME)], digest(value[len(_SCHEME) :].strip())
    matches = [rights for known, rights in tokens.items() if hmac.compare_digest(known, presented)]
    if len(shown) > 1 or scheme.lower() != _SCHEME or not matches:
        raise Unauthenticated("the token is not the server's")
    return matches[0]


def digest(token: bytes) -> bytes:
    """Return what stands for a token in memory."""
    return hashlib.sha256(token).digest()


class TokenGuard:
    """Asks every gRPC call for a token (zoo_server.protocols.grpc.transport.public.Guard)."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def __call__(
        self, method: str, metadata: Iterable[tuple[str, str | bytes]]
    ) -> tuple[grpc.StatusCode, str] | None:
        """Return None to let a call in, else the status to refuse it with."""
        try:
            # Nothing is served that the table lacks; if something were, few could call it.
            self._tokens.check(metadata, _BY_METHOD.get(method, Right.CONTROL))
        except (Unauthenticated, PermissionDenied) as error:
            return status_of(error, method)
        return None


def parse_tokens(path: Path, content: bytes) -> dict[bytes, Rights]:
    """Return the rights of each token, by its digest; ConfigurationError, which tells no token."""
    tokens: dict[bytes, Rights] = {}
    for number, line in enumerate(content.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        where = f"{FLAG} '{path}', line {number}"
        if not all(0x20 < byte < 0x7F for byte in words[0]):
            raise ConfigurationError(
                f"{where}: the token is not printable ASCII: no header could carry it"
            )
        token = digest(words[0])
        if token in tokens:
            raise ConfigurationError(f"{where}: the token is there twice")
        tokens[token] = _rights(where, words[1:])
    if not tokens:
        raise ConfigurationError(f"{FLAG} '{path}' is empty: write a token into it")
    if len(tokens) > MOST_TOKENS:
        raise ConfigurationError(
            f"{FLAG} '{path}' has {len(tokens)} tokens, {MOST_TOKENS} at most are compared"
        )
    return tokens


def _rights(where: str, words: Sequence[bytes]) -> Rights:
    if not words:
        return EVERY_RIGHT
    names = b"".join(words).decode(errors="replace").split(",")
    known = ", ".join(Right)
    if any(name not in list(Right) for name in names):
        raise ConfigurationError(
            f"{where}: behind the token stand rights between commas; known are {known}"
        )
    return frozenset(map(Right, names))
