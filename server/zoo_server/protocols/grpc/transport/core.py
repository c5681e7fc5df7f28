"""The only use of grpcio's private module: its C core, without the public server.

`grpc._cython.cygrpc` is what grpcio's own server and channel are written on. Its surface as used here
has not changed from 1.50 to 1.85, but nobody promises that it will not, so: everything used is named
in this file, `check` tries it all before a server relies on it, and server/zoo_server/protocols/grpc/transport/__init__.py
falls back to the public server if it fails. grpcio's range in pyproject.toml is what is tested.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import grpc
from grpc._cython import cygrpc

from zoo_server.malloc import heap

#: Marks an operation without flags.
NO_FLAGS = 0

Server = cygrpc.Server
CompletionQueue = cygrpc.CompletionQueue
ReceiveMessage = cygrpc.ReceiveMessageOperation
ReceiveClose = cygrpc.ReceiveCloseOnServerOperation
SendInitialMetadata = cygrpc.SendInitialMetadataOperation
SendMessage = cygrpc.SendMessageOperation
SendStatus = cygrpc.SendStatusFromServerOperation

TIMED_OUT = cygrpc.CompletionType.queue_timeout
OK = cygrpc.StatusCode.ok

#: Metadata by which a call chooses the compression of its answers.
COMPRESSION_KEY = cygrpc.GRPC_COMPRESSION_REQUEST_ALGORITHM_MD_KEY
NO_COMPRESS = cygrpc.WriteFlag.no_compress

peer_identities = cygrpc.peer_identities
peer_identity_key = cygrpc.peer_identity_key
auth_context = cygrpc.auth_context

Metadata = tuple[tuple[str, str | bytes], ...]

#: A grpc.RpcMethodHandler: which of its four functions is set no type tells.
Handler = Any


class Call(Protocol):
    """The core's call."""

    def start_server_batch(self, operations: Sequence[object], tag: object) -> None:
        """Begin operations; once all are done an event with the tag comes."""

    def peer(self) -> bytes:
        """Return the caller's address, as ipv4:127.0.0.1:5678."""

    def cancel(self) -> None:
        """End the call at once."""


class CallDetails(Protocol):
    """What a call says before its message."""

    method: bytes
    #: By time.time(); infinite where there is none.
    deadline: float


class Operation(Protocol):
    """An operation that is done: each has one of these."""

    def message(self) -> bytes | None:
        """Return what was received, None at the end of the messages."""

    def cancelled(self) -> bool:
        """Tell whether the caller hung up."""


class Event(Protocol):
    """What the core reports: a call has arrived, or operations are done."""

    completion_type: int
    tag: Callable[["Event"], None]
    success: bool
    call: Call
    call_details: CallDetails
    invocation_metadata: Metadata
    batch_operations: Sequence[Operation]


#: Messages from this on are worth `prepare_copy`, and what the core adds to one.
_LARGE_MESSAGE, _SLICE_HEAD = 1 << 20, 1 << 10

#: A check that takes longer than this has failed.
_CHECK_SECONDS = 5.0


def status_code(code: grpc.StatusCode) -> Any:
    """Return the core's name of a status."""
    return code.value[0]


def prepare_copy(message: bytes) -> None:
    """Make the pages of the copy that the core makes of a message when it sends it, with the interpreter's lock held.

    To be called without any lock of one's own, just before.
    """
    if len(message) >= _LARGE_MESSAGE:
        heap.make_pages(len(message) + _SLICE_HEAD)


def server_credentials(credentials: grpc.ServerCredentials) -> Any:
    """Return what the core takes, out of grpcio's public credentials."""
    return credentials._credentials  # type: ignore[attr-defined]  # the core's, not public


def check() -> None:
    """Answer one call over loopback with every operation used here; raises if any is not as known."""
    queue = CompletionQueue()
    server = Server((("grpc.so_reuseport", 0),), False)
    server.register_completion_queue(queue)
    port = server.add_http2_port(b"127.0.0.1:0")
    server.start()
    arrival, received, sent, stopped = object(), object(), object(), object()
    server.request_call(queue, queue, arrival)
    answers: list[bytes] = []
    thread = threading.Thread(target=_ask, args=(port, answers), daemon=True)
    thread.start()
    try:
        event = _next(queue, arrival)
        call = event.call
        if event.call_details.method != b"/check/Echo" or event.call_details.deadline <= 0:
            raise RuntimeError("call details are not as known")
        call.start_server_batch((ReceiveMessage(NO_FLAGS),), received)
        message = _next(queue, received).batch_operations[0].message()
        operations = (
            SendInitialMetadata(None, NO_FLAGS),
            SendMessage(message, NO_FLAGS),
            SendStatus(None, OK, b"", NO_FLAGS),
            ReceiveClose(NO_FLAGS),
        )
        call.start_server_batch(operations, sent)
        if _next(queue, sent).batch_operations[3].cancelled():
            raise RuntimeError("a call that ended well is said to be cancelled")
        thread.join(_CHECK_SECONDS)
    finally:
        server.shutdown(queue, stopped)
        if thread.is_alive():
            server.cancel_all_calls()
        _next(queue, stopped)
        server.destroy()
    if answers != [b"as sent"]:
        raise RuntimeError("the answer did not arrive")


def _next(queue: Any, tag: object) -> Any:
    event = queue.poll(time.time() + _CHECK_SECONDS)
    if event.completion_type == TIMED_OUT or event.tag is not tag:
        raise RuntimeError("an event did not come")
    return event


def _ask(port: int, answers: list[bytes]) -> None:
    # An answer's absence says enough.
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, suppress(grpc.RpcError):
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/check/Echo")
        answers.append(ask(b"as sent", timeout=_CHECK_SECONDS))
