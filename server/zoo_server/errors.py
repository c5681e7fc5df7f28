"""The server's errors, grouped by who can correct them. protocols/status.py maps each to a gRPC status.

    ServerError                    the base class
    ├── RequestError               the caller's mistake: the request has to change
    │   ├── InvalidRequest         malformed, or does not fit the model
    │   ├── UnreadableJson         an HTTP body that is no JSON, or has a member of another type
    │   ├── NotFound               no such model or version
    │   ├── PreconditionFailed     the model lacks what the request presumes
    │   ├── AlreadyExists          the name is taken
    │   ├── Unsupported            the server, or this model, does not offer it
    │   ├── Unauthenticated        the call's bearer token is missing or wrong
    │   ├── PermissionDenied       the token is good, but not for this call
    │   ├── ControlDisabled        model control is off: clients are told UNAVAILABLE, as Triton's are
    │   ├── Cancelled              the caller cancelled the call, or its run has been ended for that
    │   └── DeadlineExpired        the deadline passed before the work began
    ├── Unavailable                temporary: the same request may succeed later
    │   ├── ModelNotReady          known, but not loaded
    │   ├── QueueFull              a limit on waiting requests or on memory is reached
    │   ├── QueueTimeout           its time in the queue ran out
    │   ├── QuotaExceeded          its caller has more requests under way, or a second, than one may
    │   ├── Overloaded             with what waits before it, the answer would be too late
    │   ├── WorkerLost             the process that had to answer has ended
    │   └── ServerExiting          shutting down
    ├── OperatorError              the operator's mistake: the text says what to change
    │   ├── ConfigurationError     an option has a bad value
    │   ├── AddressError           the server cannot listen on the address
    │   ├── RuntimeMissing         neither onnxruntime wheel is installed
    │   ├── RepositoryUnreachable  the model repository cannot be read at present
    │   └── ModelLoadError         one model of the repository cannot be served
    │       ├── NoVersion          the version policy selects none of its versions
    │       ├── DecoupledModel     a decoupled model, which the server does not support
    │       └── ProviderError      the requested execution provider is not available
    ├── OperationFailed            a requested operation failed; the caller gets the reason
    │   ├── LoadFailed             a model could not be loaded
    │   └── SharedMemoryFailed     a shared memory object could not be opened
    └── ExecutionError             a bug, or the model failed while it ran: details stay in the log
        └── MemoryExhausted        it wanted more memory than there is: the text is for the caller

Every message is one line that names the culprit, the value seen and, where there is one, the cure.
"""


class ServerError(Exception):
    """Base of everything above; raise a leaf."""


class RequestError(ServerError):
    """The caller's request cannot be answered as it stands."""


class InvalidRequest(RequestError):
    """The request is malformed or does not fit the model."""


class UnreadableJson(RequestError):
    """The body of an HTTP request is no JSON, or a member is missing or of another type."""


class NotFound(RequestError):
    """No such model or version."""


class PreconditionFailed(RequestError):
    """The model lacks what the request presumes, such as a signature of that name."""


class AlreadyExists(RequestError):
    """The name is taken; the other one has to go first."""


class Unsupported(RequestError):
    """The server, or this model, does not offer what the request needs."""


class Unauthenticated(RequestError):
    """The server wants a token, and the call shows none or another."""


class PermissionDenied(RequestError):
    """The call's token lacks the right that the call needs."""


class ControlDisabled(RequestError):
    """The server was not started in the mode that lets callers load and unload models."""


class Cancelled(RequestError):
    """The caller hung up before the work was done."""


class DeadlineExpired(RequestError):
    """The caller's deadline passed before the work began."""


class Unavailable(ServerError):
    """Nobody's mistake: the same request may succeed later."""

    def __init__(self, message: str, *, retry_ms: int = 0) -> None:
        """`retry_ms`: when it is worth asking again, 0 if nothing tells."""
        super().__init__(message)
        self.retry_ms = retry_ms
        #: How many requests wait, where any other would be refused as well unless its caller is more patient.
        self.waiting = 0


class ModelNotReady(Unavailable):
    """The model or version is known but not loaded."""


class QueueFull(Unavailable):
    """As much waits or is under way as may: for the model, or in the server."""


class QueueTimeout(Unavailable):
    """The request's time in the queue ran out before its turn came."""


class Overloaded(Unavailable):
    """What waits before the request would delay its answer beyond its deadline."""


class QuotaExceeded(Unavailable):
    """The caller has more requests under way, or sends more a second, than each caller may."""


class WorkerLost(Unavailable):
    """The process of the server that had to answer has ended; another takes its place."""


class ServerExiting(Unavailable):
    """The server is shutting down."""


class OperatorError(ServerError):
    """Whoever runs the server has to change something; the text says what."""


class ConfigurationError(OperatorError):
    """An option of the server has a bad value."""


class AddressError(OperatorError):
    """The address cannot be listened on."""


class RuntimeMissing(OperatorError):
    """No onnxruntime wheel is installed."""


class RepositoryUnreachable(OperatorError):
    """The place of the model repository does not answer, or refuses to."""


class ModelLoadError(OperatorError):
    """One model of the repository cannot be served; the others can."""


class NoVersion(ModelLoadError):
    """None of the model's versions is one that its version_policy wants."""


class DecoupledModel(ModelLoadError):
    """The model answers a request any number of times, which no ONNX graph does."""


class ProviderError(ModelLoadError):
    """The created session does not have the requested execution provider."""


class OperationFailed(ServerError):
    """An operation that a caller requested failed; unlike ExecutionError's, its text is for the caller."""


class LoadFailed(OperationFailed):
    """A model could not be loaded on a caller's request."""


class SharedMemoryFailed(OperationFailed):
    """A shared memory object could not be opened."""


class ExecutionError(ServerError):
    """The model failed while it ran; the caller gets a fixed text and an id."""


class MemoryExhausted(ExecutionError):
    """The model wanted more memory for its run than there is."""
