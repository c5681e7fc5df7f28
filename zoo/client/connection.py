"""Connection options: address, timeout, retries, TLS and authentication, checked once.

Retries are gRPC's own (its service configuration): an UNAVAILABLE call is sent again with exponential
backoff and jitter, inside the deadline, before the caller hears of it. What is listed in RETRIED may
be sent twice without harm: inference of a model without state changes nothing on the server. A step
of a sequence does change what the server keeps, and goes over a channel of its own, without retries.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc

from zoo.client.errors import ClientError, error_of
from zoo_proto import grpc_service_pb2, grpc_service_pb2_grpc

SERVICE = grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name

#: tritonclient's own limit; grpcio's default of 4 MB is too small for tensors.
MAX_MESSAGE_BYTES = 2**31 - 1

#: Not readiness: there, "not now" is the answer.
RETRIED = ("ModelConfig", "ModelInfer", "ModelMetadata", "RepositoryIndex")

#: gRPC caps the attempts of one call at five.
MAX_RETRIES = 4

#: Waits before the retries: about 0.1, 0.3, 0.9 and 2 s, each 20 % more or less. Together they
#: outlast a full queue and the restart of a server.
_BACKOFF = {"initialBackoff": "0.1s", "maxBackoff": "2s", "backoffMultiplier": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """Whom to trust, and who we are; PEM files. Without `ca`, the authorities that gRPC ships."""

    ca: Path | str | None = None
    #: Our own certificate and its key, where the server asks for one (mTLS).
    certificate: Path | str | None = None
    key: Path | str | None = None
    #: The name in the server's certificate, where it is not the host of the address.
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("TLS takes a certificate and its key together, or neither")

    def credentials(self) -> Any:
        """Return grpc's credentials; OSError if a file cannot be read."""
        ca, key, certificate = (
            None if file is None else Path(file).read_bytes()
            for file in (self.ca, self.key, self.certificate)
        )
        return grpc.ssl_channel_credentials(ca, key, certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What both clients are built from; a constructed one is valid (else ValueError)."""

    address: str
    token: str | None = None
    tls: TLS | None = None
    #: Seconds a call may take, its retries included.
    timeout: float = 10.0
    retries: int = MAX_RETRIES

    def __post_init__(self) -> None:
        if not self.address:
            raise ValueError("address is empty; give one such as 127.0.0.1:8001")
        if not 0 <= self.retries <= MAX_RETRIES:
            raise ValueError(f"retries is {self.retries}; it must lie in 0 to {MAX_RETRIES}")
        _check_timeout(self.timeout)
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise ValueError("token has characters that no header can carry, such as a line break")

    def open(self, module: Any) -> Any:
        """Return a channel of `module`: grpc, or grpc.aio."""
        if self.tls is None:
            return module.insecure_channel(self.address, options=self._options())
        return module.secure_channel(self.address, self.tls.credentials(), options=self._options())

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what goes with every call."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)

    def _options(self) -> list[tuple[str, Any]]:
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            # Half a retry's wait, or a server that is back would not be tried again in time.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        if self.tls is not None and self.tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        if self.retries:
            options += [
                ("grpc.service_config", json.dumps(_service_config(self.retries + 1))),
                # A request longer than this is sent once; the default is 256 KB, half an image.
                ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
            ]
        else:
            options.append(("grpc.enable_retries", 0))
        return options


class Channels:
    """A client's channels to its server: one that sends again, and one that sends once.

    gRPC decides on retries by channel and procedure, never by call, and a step is ModelInfer like any
    other inference. A channel connects when it is first called: the second costs nothing until then.
    """

    def __init__(self, connection: Connection, module: Any) -> None:
        """Open them in `module`: grpc, or grpc.aio."""
        self.opened = tuple(
            one.open(module) for one in (connection, replace(connection, retries=0))
        )
        stub: Any = grpc_service_pb2_grpc.GRPCInferenceServiceStub
        self._again, self._once = (stub(channel) for channel in self.opened)

    def method(self, name: str, *, once: bool) -> Any:
        """Return the procedure of that name, over the channel that sends once or again."""
        return getattr(self._once if once else self._again, name)


class Deadline:
    """The time that one method of a client may take, and what it becomes when it is over."""

    def __init__(self, connection: Connection, timeout: float | None) -> None:
        """Start the clock; ValueError for a timeout that cannot be waited for."""
        self._address = connection.address
        self._seconds = connection.timeout if timeout is None else _check_timeout(timeout)
        self._until = time.monotonic() + self._seconds

    def left(self) -> float:
        """Return the seconds left; grpc refuses a call that has none, with the right status."""
        return max(self._until - time.monotonic(), 0.0)

    def error(self, error: Any) -> ClientError:
        """Return our error for grpc's."""
        return error_of(
            error.code().name,
            error.details() or "",
            address=self._address,
            seconds=self._seconds,
        )


def _service_config(attempts: int) -> dict[str, Any]:
    policy = {**_BACKOFF, "maxAttempts": attempts, "retryableStatusCodes": ["UNAVAILABLE"]}
    names = [{"service": SERVICE, "method": method} for method in RETRIED]
    return {"methodConfig": [{"name": names, "retryPolicy": policy}]}


def _check_timeout(seconds: float) -> float:
    """Return `seconds`; ValueError unless they are a time that can be waited for."""
    if not 0 < seconds < float("inf"):
        raise ValueError(f"timeout is {seconds}; give seconds above 0")
    return seconds
