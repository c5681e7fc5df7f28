"""What can go wrong, by who is to blame. Knows no gRPC: server/api/status.py gives each a status.

    ServerError                    never raised itself
    ├── RequestError               the caller: this request cannot be answered as it stands
    │   ├── InvalidRequest         malformed, or does not fit the model
    │   ├── NotFound               no such model or version
    │   ├── Unsupported            the server, or this model, does not offer it
    │   ├── Unauthenticated        the server wants a token, and this call shows none or another
    │   ├── Cancelled              the caller hung up
    │   └── DeadlineExpired        the caller's time was over before the work began
    ├── Unavailable                nobody's mistake: ask again later
    │   ├── ModelNotReady          known, but not loaded
    │   ├── QueueFull              as many wait for this model as may
    │   ├── QueueTimeout           its time in the queue ran out
    │   └── ServerExiting          shutting down
    ├── OperatorError              whoever runs the server: the text says what to change
    │   ├── ConfigurationError     an option has a bad value
    │   ├── AddressError           the address cannot be listened on
    │   ├── RuntimeMissing         neither onnxruntime wheel is installed
    │   └── ModelLoadError         one model of the repository cannot be served
    │       └── ProviderError      the execution provider asked for is not really there
    └── ExecutionError             a bug, or the model failed while it ran: details stay in the log

Every message is one line that names the culprit, the value seen and, where there is one, the cure.
"""


class ServerError(Exception):
    """Base of everything above; raise a leaf."""


class RequestError(ServerError):
    """The caller's request cannot be answered as it stands."""


class InvalidRequest(RequestError):
    """The request is malformed or does not fit the model."""


class NotFound(RequestError):
    """No such model or version."""


class Unsupported(RequestError):
    """The server, or this model, does not offer what was asked."""


class Unauthenticated(RequestError):
    """The server wants a token, and the call shows none or another."""


class Cancelled(RequestError):
    """The caller hung up before the work began."""


class DeadlineExpired(RequestError):
    """The caller's deadline passed before the work began."""


class Unavailable(ServerError):
    """Nobody's mistake: the same request may succeed later."""


class ModelNotReady(Unavailable):
    """The model or version is known but not loaded."""


class QueueFull(Unavailable):
    """As many requests wait for this model as its queue policy allows."""


class QueueTimeout(Unavailable):
    """The request's time in the queue ran out before its turn came."""


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


class ModelLoadError(OperatorError):
    """One model of the repository cannot be served; the others can."""


class ProviderError(ModelLoadError):
    """The execution provider asked for is not one that the created session has."""


class ExecutionError(ServerError):
    """The model failed while it ran; what the caller is told is a fixed text and an id."""
