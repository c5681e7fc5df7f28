"""Connection options: address, timeout, retries, TLS and authentication, checked once.

An UNAVAILABLE call is sent again with exponential backoff and jitter, or when the server says that it
is worth it, for as long as its time lasts: a restart of the server is outlasted. gRPC's own retries end
at the fourth, after three seconds. What is listed in RETRIED may be sent twice without harm: inference
of a model without state changes nothing on the server. A step of a sequence does change what the
server keeps, and is sent once.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from zoo.client.calls import Call
from zoo.client.errors import ClientError, error_of

#: tritonclient's own limit; grpcio's default of 4 MB is too small for tensors.
MAX_MESSAGE_BYTES = 2**31 - 1

#: Not readiness: there, "not now" is the answer.
RETRIED = ("ModelConfig", "ModelInfer", "ModelMetadata", "RepositoryIndex")

#: The most retries; with the waits below, a call's time usually ends first.
MAX_RETRIES = 20

#: Seconds before the first retries and before each further one, each 20 % more or less: short, since a
#: queue that is full is soon empty, and then as long as a server may take to start.
_WAITS, _LAST_WAIT = (0.1, 0.3, 0.9), 2.0

#: The trailing metadata in which a server says when another attempt is worth it, in milliseconds; a
#: negative number asks for none (gRPC's A6 proposal).
_PUSHBACK = "grpc-retry-pushback-ms"


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
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.enable_retries", 0),
        ]
        if self.tls is not None and self.tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options


class Retries:
    """The attempts of one call."""

    def __init__(self, connection: Connection, call: Call[Any], deadline: Deadline) -> None:
        may_repeat = call.method in RETRIED and not call.once
        self._left = connection.retries if may_repeat else 0
        self._deadline = deadline
        self._repeats = 0

    def wait_after(self, error: Any) -> float | None:
        """Return the seconds to wait after a failed attempt; None to give up."""
        if not self._left or error.code() is not grpc.StatusCode.UNAVAILABLE:
            return None
        seconds = _WAITS[self._repeats] if self._repeats < len(_WAITS) else _LAST_WAIT
        seconds *= random.uniform(0.8, 1.2)
        for key, value in error.trailing_metadata() or ():
            if key == _PUSHBACK:
                if not (value.isascii() and value.isdigit()):
                    return None
                seconds = int(value[:9]) / 1000
        self._left -= 1
        self._repeats += 1
        # A wait that outlasts the caller's time is not his to sit out.
        return seconds if seconds < self._deadline.left() else None


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


def _check_timeout(seconds: float) -> float:
    """Return `seconds`; ValueError unless they are a time that can be waited for."""
    if not 0 < seconds < float("inf"):
        raise ValueError(f"timeout is {seconds}; give seconds above 0")
    return seconds
