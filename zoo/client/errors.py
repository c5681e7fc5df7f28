"""The client's errors, grouped by what the caller can do.

    ClientError              status and message; the base class: the server failed, or lacks the feature
    ├── InvalidArgument      the request does not fit the model: correct it
    ├── NotFound             no such model or version
    ├── Unauthenticated      the token or the client certificate is missing or wrong
    ├── DeadlineExceeded     no answer within the timeout
    ├── SequenceLost         the state of a sequence is gone or uncertain: begin another
    └── Unavailable          temporary: queue full, model not loaded, server shutting down; retries failed
        └── Unreachable      nothing that speaks gRPC answers at the address

`status` is gRPC's name of the status code, such as "NOT_FOUND"; `str(error)` is the server's message.
"""

from __future__ import annotations


class ClientError(Exception):
    """The server refused the request, or there is none."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def __reduce__(self) -> tuple[type[ClientError], tuple[str, str]]:
        """Pickle with both arguments: errors cross process boundaries in pools."""
        return type(self), (self.status, self.message)


class InvalidArgument(ClientError):
    """The request does not fit the model; refused by the server, or before it was sent."""


class NotFound(ClientError):
    """The server has no such model or version."""


class Unauthenticated(ClientError):
    """The token or the client certificate is missing, or not one that the server takes."""


class DeadlineExceeded(ClientError):
    """No answer came within the timeout; the server may have worked on the request."""


class SequenceLost(ClientError):
    """The server lost the sequence, or it is unknown whether a failed step was counted."""


class Unavailable(ClientError):
    """The server cannot answer now, and could not on any of the retries."""


class Unreachable(Unavailable):
    """Nothing that speaks gRPC answers at the address."""


_BY_STATUS: dict[str, type[ClientError]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "FAILED_PRECONDITION": InvalidArgument,
    "OUT_OF_RANGE": InvalidArgument,
    "NOT_FOUND": NotFound,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": Unauthenticated,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "UNAVAILABLE": Unavailable,
}


#: What grpcio says of a connection that failed, and what is said in its place; the first one that fits.
_UNREACHABLE = (
    (
        "Failed parsing HTTP/2",
        "what answers at {address} does not speak gRPC: name the server's gRPC port, which is 8001 unless "
        "--grpc-port says otherwise",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the certificate of the server at {address} is not trusted: give tls=TLS(ca=FILE), whose authority "
        "signed it",
    ),
    (
        "Hostname Verification Check failed",
        "the certificate of the server at {address} names another host: call it by that, or give "
        "tls=TLS(server_name=NAME)",
    ),
    (
        "WRONG_VERSION_NUMBER",
        "what answers at {address} speaks without TLS: leave tls out, or start the server with "
        "--tls-certificate and --tls-key",
    ),
    (
        "Socket closed",
        "what answers at {address} closed the connection: if it speaks over TLS alone, give zoo.client.Client "
        "tls=TLS(ca=FILE)",
    ),
    ("DNS resolution failed", "the host of {address} cannot be resolved: {give}"),  # once
    ("errors resolving", "the host of {address} cannot be resolved: {give}"),
    ("failed to connect", "no server answers at {address}: {start}"),
)

#: How grpcio begins where it speaks of the connection itself, rather than a server of a request.
_CONNECTING = ("failed to connect", "errors resolving", "DNS resolution failed")

_GIVE = "give HOST:PORT, such as 127.0.0.1:8001"


def error_of(status: str, details: str, *, address: str, seconds: float) -> ClientError:
    """Return the error for a status; grpcio's own words are replaced where they say too little."""
    if status == "UNAVAILABLE" and details.startswith(_CONNECTING):
        message = next(message for mark, message in _UNREACHABLE if mark in details)
        text = message.format(address=address, give=_GIVE, start=_start(address))
        return Unreachable(status, text)
    if status == "DEADLINE_EXCEEDED" and details.strip("()").endswith("Deadline Exceeded"):
        details = f"no answer from {address} within {seconds:g} s"
    return _BY_STATUS.get(status, ClientError)(status, details or status)


def _start(address: str) -> str:
    """Return what starts a server at an address."""
    host, sign, port = address.rpartition(":")
    if not sign or not port.isdecimal():
        return _GIVE
    at = "" if host in ("127.0.0.1", "localhost") else f" --host {host.strip('[]')}"
    at += "" if port == "8001" else f" --grpc-port {port}"
    return f"start one with `zoo serve{at}`"
