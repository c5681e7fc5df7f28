"""The gRPC status of each error, in one table. Handlers raise errors and never choose a status.

The codes are Triton's and TensorFlow Serving's (docs/protocol.md 1c): clients branch on them.
"""

import logging
import secrets
import time

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
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.DeadlineExpired: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.ModelNotReady: grpc.StatusCode.UNAVAILABLE,
    errors.QueueFull: grpc.StatusCode.UNAVAILABLE,
    errors.QueueTimeout: grpc.StatusCode.UNAVAILABLE,
    errors.Overloaded: grpc.StatusCode.UNAVAILABLE,
    errors.QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ControlDisabled: grpc.StatusCode.UNAVAILABLE,
    errors.WorkerLost: grpc.StatusCode.UNAVAILABLE,
    errors.ServerExiting: grpc.StatusCode.UNAVAILABLE,
    errors.ConfigurationError: grpc.StatusCode.INTERNAL,
    errors.AddressError: grpc.StatusCode.INTERNAL,
    errors.RuntimeMissing: grpc.StatusCode.INTERNAL,
    errors.RepositoryUnreachable: grpc.StatusCode.INTERNAL,
    errors.ModelLoadError: grpc.StatusCode.INTERNAL,
    errors.NoVersion: grpc.StatusCode.INTERNAL,
    errors.DecoupledModel: grpc.StatusCode.INTERNAL,
    errors.ProviderError: grpc.StatusCode.INTERNAL,
    errors.LoadFailed: grpc.StatusCode.INTERNAL,
    errors.SharedMemoryFailed: grpc.StatusCode.INTERNAL,
    errors.ExecutionError: grpc.StatusCode.INTERNAL,
    errors.MemoryExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
}

#: Errors whose text goes out as it is, whatever their status.
_FOR_THE_CALLER = (errors.RequestError, errors.OperationFailed)

#: What an overload refuses by the thousand.
_MANY = (
    errors.Unavailable,
    errors.Cancelled,
    errors.DeadlineExpired,
    errors.MemoryExhausted,
)

#: What a refused call's trailing metadata tell of when to try again (gRPC proposal A6).
RETRY_KEY = "grpc-retry-pushback-ms"

#: Seconds between two lines of the log for refusals of one kind.
_BETWEEN_LINES = 1.0

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
    if isinstance(error, _MANY):
        _REFUSALS.log(method, code, type(error), text)
    else:
        _LOG.info("%s: %s: %s", method, code.name, _printable(text[:MAX_MESSAGE]))
    return code, text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def log_refusal(method: str, kind: type[errors.ServerError], text: str) -> None:
    """Log that a call was refused before it raised anything: one line a second for each kind."""
    _REFUSALS.log(method, STATUS[kind], kind, text)


def retry_ms_of(error: Exception) -> int:
    """Return in how many milliseconds a refused request is worth another try, 0 if nothing tells."""
    return error.retry_ms if isinstance(error, errors.Unavailable) else 0


class _Refusals:
    """Writes at most one line a second for each kind of refusal, with how many there were.

    The counter of all of them is nv_inference_request_failure.
    """

    def __init__(self) -> None:
        #: By kind: when the last line was written, and how many refusals there were since.
        self._kinds: dict[type[Exception], tuple[float, int]] = {}

    def log(self, method: str, code: grpc.StatusCode, kind: type[Exception], text: str) -> None:
        now = time.monotonic()
        last, count = self._kinds.get(kind, (0.0, 0))
        if last and now - last < _BETWEEN_LINES:
            # Two threads may lose a count to each other: the line says about how many.
            self._kinds[kind] = last, count + 1
            return
        self._kinds[kind] = now, 0
        more = f" (and about {count} like it since the last such line)" if count else ""
        _LOG.info("%s: %s: %s%s", method, code.name, _printable(text[:MAX_MESSAGE]), more)


_REFUSALS = _Refusals()


def _printable(text: str) -> str:
    """A caller's words may hold line breaks, which would let it write lines of our log."""
    return "".join(character if character.isprintable() else "?" for character in text)
