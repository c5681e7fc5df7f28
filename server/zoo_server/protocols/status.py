"""The gRPC status of each error, in one table. Handlers raise errors and never choose a status.

The codes are Triton's and TensorFlow Serving's (docs/protocol.md 1c): clients branch on them.
"""

import logging
import secrets

import grpc

from zoo_server import errors

_LOG = logging.getLogger(__name__)

STATUS: dict[type[errors.ServerError], grpc.StatusCode] = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    # Triton's JSON reader answers so whatever it cannot read (common/triton_json.h), and HTTP 500
    # follows from it; over gRPC there is no JSON that could be unreadable.
    errors.UnreadableJson: grpc.StatusCode.INTERNAL,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.PreconditionFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.DeadlineExpired: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.ModelNotReady: grpc.StatusCode.UNAVAILABLE,
    errors.QueueFull: grpc.StatusCode.UNAVAILABLE,
    errors.QueueTimeout: grpc.StatusCode.UNAVAILABLE,
    errors.ControlDisabled: grpc.StatusCode.UNAVAILABLE,
    errors.WorkerLost: grpc.StatusCode.UNAVAILABLE,
    errors.ServerExiting: grpc.StatusCode.UNAVAILABLE,
    errors.ConfigurationError: grpc.StatusCode.INTERNAL,
    errors.AddressError: grpc.StatusCode.INTERNAL,
    errors.RuntimeMissing: grpc.StatusCode.INTERNAL,
    errors.ModelLoadError: grpc.StatusCode.INTERNAL,
    errors.NoVersion: grpc.StatusCode.INTERNAL,
    errors.DecoupledModel: grpc.StatusCode.INTERNAL,
    errors.ProviderError: grpc.StatusCode.INTERNAL,
    errors.LoadFailed: grpc.StatusCode.INTERNAL,
    errors.SharedMemoryFailed: grpc.StatusCode.INTERNAL,
    errors.ExecutionError: grpc.StatusCode.INTERNAL,
}

#: Errors whose text goes out as it is, whatever their status.
_FOR_THE_CALLER = (errors.RequestError, errors.OperationFailed)

#: HTTP/2 caps the size of headers, and the message travels in one: a longer one would lose the call.
MAX_MESSAGE = 2000


def status_of(error: Exception, method: str) -> tuple[grpc.StatusCode, str]:
    """Return code and message for what a handler raised, and log it.

    The caller's mistakes, and what an operation that it asked for came to, go out as they are. What
    is ours goes out as a fixed text and an id under which the log has the traceback: its text may
    hold what is none of the caller's business.
    """
    code = grpc.StatusCode.INTERNAL
    if isinstance(error, errors.ServerError):
        code = STATUS.get(type(error), code)
    if code is grpc.StatusCode.INTERNAL and not isinstance(error, _FOR_THE_CALLER):
        incident = secrets.token_hex(4)
        _LOG.error("%s failed, incident %s", method, incident, exc_info=error)
        return code, f"internal error, incident {incident}: the server's log has the details"
    text = str(error)
    _LOG.info("%s: %s: %s", method, code.name, _printable(text[:MAX_MESSAGE]))
    return code, text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def _printable(text: str) -> str:
    """A caller's words may hold line breaks, which would let it write lines of our log."""
    return "".join(character if character.isprintable() else "?" for character in text)
