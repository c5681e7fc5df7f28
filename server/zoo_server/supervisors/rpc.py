"""Calls between the processes of one server: gRPC on unix sockets, with pickled arguments and results.

Only the user who started the server can open the sockets. An error of ours (zoo_server/errors.py) is a
result too, and raised where it arrives; so any status but OK says that the other process has ended,
was not in time, or has a bug.
"""

import pickle
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from zoo_server.errors import ServerError, Unavailable

_SERVICE = "zoo.Processes"

#: Seconds in which a worker answers: a load of a model, and anything else.
LOAD_SECONDS, ANSWER_SECONDS = 1800.0, 60.0

#: A worker is asked for a sign of life every so many seconds, gets so many to give it, and is replaced
#: once it has given none so often in a row: once may be the supervisor's own pause.
ALIVE_EVERY_SECONDS, ALIVE_SECONDS, MOST_MISSED = 2.0, 5.0, 2

#: Seconds in which a worker tells its counts to who asks for the whole's; the supervisor tells the last
#: that are known of one that does not, and gets a little longer itself.
READINGS_SECONDS, ASK_READINGS_SECONDS = 1.0, 3.0

#: Seconds in which the supervisor answers: first one worker is asked, then the others, then all told.
CHANGE_SECONDS, ASK_SECONDS = 2 * LOAD_SECONDS + 2 * ANSWER_SECONDS, 2 * ANSWER_SECONDS

#: Messages were bounded where they came in.
OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


#: What a call sends, of the types that the method takes, and the result or error that comes back: in a
#: tuple, since gRPC takes None for a failure.
Arguments = tuple[Any, ...]
Answer = tuple[object]


def path(method: str) -> str:
    """Return a method as gRPC names it."""
    return f"/{_SERVICE}/{method}"


def handlers(
    unary: Mapping[str, Callable[..., object]], **streams: Callable[..., object]
) -> grpc.GenericRpcHandler:
    """Return the handlers of some methods, which take what a caller sends, and the call's context."""
    every = {
        name: grpc.unary_unary_rpc_method_handler(function, pickle.loads, pickle.dumps)
        for name, function in unary.items()
    } | {
        name: grpc.stream_stream_rpc_method_handler(function, pickle.loads, pickle.dumps)
        for name, function in streams.items()
    }
    return grpc.method_handlers_generic_handler(_SERVICE, every)


def answering(function: Callable[..., object]) -> Callable[[Arguments, object], Answer]:
    """Return a function of some arguments as a handler, which answers with its result or error."""

    def answer(arguments: Arguments, _: object) -> Answer:
        try:
            return (function(*arguments),)
        except ServerError as error:
            return (error,)

    return answer


def result_of(answer: Answer) -> Any:
    """Return a result, whose type is the method's, or raise the error that it is."""
    (result,) = answer
    if isinstance(result, ServerError):
        raise result
    return result


def error_of(status: grpc.RpcError, lost: Unavailable) -> Exception:
    """Return what a status other than OK comes to; `lost` if the other process has not answered."""
    if status.code() in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL):
        return RuntimeError(f"another process of the server failed: {status.details()}")
    return lost
