"""ModelStreamInfer: any number of requests on one stream, answered in their order.

    message ──> slot ──> the same path as ModelInfer ──> slot is full ──> leaves when it is the first

Requests of one stream run side by side, and join the batches that others are in; the answers wait
for their turn here. No more is read of a stream than its caller reads: an answer counts as under way
until it is out. The rules are docs/protocol.md 2.4: an error is a message and leaves the stream open,
unless the caller asked for real statuses with the header `triton_grpc_error: true`; every answer
says that it is final; when the caller has no more to ask, what is under way is finished.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import grpc

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.protocols.copies import join
from zoo_server.protocols.grpc.infer import InferPath
from zoo_server.protocols.grpc.unparsed_request import request_id
from zoo_server.protocols.interceptor import BlockingCall, Context
from zoo_server.protocols.response_sender import Call
from zoo_server.varint import delimited

#: Requests of one stream under way at once; the next is read when an answer to one is out.
_READ_AHEAD = 256

#: The end of a stream whose server leaves (docs/protocol.md 1c).
_EXITING = "Server exiting"

_GRPC_ERROR = "triton_grpc_error"


def _final_response() -> bytes:
    """Return the parameter that every answer carries: a model that is not decoupled answers once."""
    message = pb.ModelInferResponse()
    message.parameters["triton_final_response"].bool_param = True
    return message.SerializeToString()


_FINAL = _final_response()

#: ModelStreamInferResponse.infer_response
_INFER_RESPONSE = 2


Metadata = Sequence[tuple[str, str | bytes]]


class Port(Protocol):
    """One stream of a transport that works by callbacks (zoo_server.protocols.grpc.transport.fast_streams)."""

    #: Whose stream it is.
    peer: str

    def read(self, then: Callable[[bytes | None], None]) -> None:
        """Ask for the next message, None once there are no more."""

    def gather(self, call: Call) -> None:
        """Let a request join the burst that the transport is gathering."""

    def send(self, message: bytes, then: Callable[[], None]) -> None:
        """Send a message after those before it; `then` is called once it is out or lost."""

    def finish(self, code: grpc.StatusCode | None, details: bytes = b"") -> None:
        """End the stream once all that was sent is out."""

    @property
    def is_cancelled(self) -> bool:
        """Whether the caller hung up."""


class InferStreams:
    """Serves streams, by callbacks or by iterators; knows those that are open."""

    def __init__(self, path: InferPath, most_iterated: int) -> None:
        """`most_iterated` is how many streams may hold a thread at once."""
        self._path = path
        self._most_iterated = most_iterated
        self._iterators = 0
        self._lock = threading.Lock()
        self._open: set[_Stream] = set()
        self._leaving = False

    def serve(self, port: Port, context: grpc.ServicerContext) -> None:
        """Serve a stream without holding a thread (zoo_server.protocols.grpc.transport.fast's `on_stream`)."""
        stream = _Stream(port, tuple(context.invocation_metadata() or ()))
        with self._lock:
            self._open.add(stream)
            leaving = self._leaving
        if not context.add_callback(lambda: self._forget(stream)):
            self._forget(stream)
        if leaving:
            stream.close()
        stream.read()

    def iterate(self, requests: Iterator[bytes], context: Context) -> Iterator[bytes]:
        """Serve a stream on the thread of grpcio's own server, one request after the other."""
        with self._lock:
            full = self._iterators >= self._most_iterated
            self._iterators += not full
        if full:
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"Concurrent stream limit exceeded! ({self._most_iterated} streams are open)",
            )
        try:
            yield from self._answers(requests, context)
        finally:
            with self._lock:
                self._iterators -= 1

    def _answers(self, requests: Iterator[bytes], context: Context) -> Iterator[bytes]:
        statuses = _wants_statuses(tuple(context.invocation_metadata() or ()))
        for raw in requests:
            call = BlockingCall(raw, context)
            self._path.answer([call])
            answer, status = call.outcome()
            if status is None:
                yield _answer(answer)
            elif statuses:
                context.abort(*status)
            else:
                yield _error(raw, status[1])
            if self._leaving:
                context.abort(grpc.StatusCode.UNAVAILABLE, _EXITING)

    def close(self) -> None:
        """End the streams as soon as what is under way on them is answered.

        One that is iterated and idle waits for its caller, or for the transport's end.
        """
        with self._lock:
            self._leaving = True
            streams = list(self._open)
        for stream in streams:
            stream.close()

    def _forget(self, stream: "_Stream") -> None:
        with self._lock:
            self._open.discard(stream)


class _Stream:
    """One open stream; entered from the transport's loop and from the threads that answer."""

    def __init__(self, port: Port, metadata: Metadata) -> None:
        self._port = port
        self.metadata = metadata
        self.peer = port.peer
        self._statuses = _wants_statuses(metadata)
        self._lock = threading.RLock()
        self._slots: deque[_Slot] = deque()
        #: Answers that are on their way out.
        self._unsent = 0
        self._reading = False
        self._ended = False
        self._closing = False

    def read(self) -> None:
        """Ask for the next request, if there is room for one."""
        with self._lock:
            if self._reading or self._ended:
                return
            if len(self._slots) + self._unsent >= _READ_AHEAD:
                return
            self._reading = True
        self._port.read(self._came)

    def close(self) -> None:
        """Let go of the caller once everything is answered."""
        with self._lock:
            self._closing = True
            self._finish_if_done()

    def _came(self, raw: bytes | None) -> None:
        with self._lock:
            self._reading = False
            if raw is None:
                self._ended = True
                self._finish_if_done()
                return
            slot = _Slot(raw, self)
            self._slots.append(slot)
        self._port.gather(slot)
        self.read()

    def is_cancelled(self) -> bool:
        return self._port.is_cancelled

    def filled(self) -> None:
        """Send what has come to the front."""
        with self._lock:
            while self._slots and self._slots[0].answer is not None:
                slot = self._slots.popleft()
                if slot.status is not None and self._statuses:
                    self._port.finish(slot.status[0], slot.status[1].encode())
                    self._slots.clear()
                    self._ended = True
                    return
                assert slot.answer is not None
                self._unsent += 1
                self._port.send(slot.answer, self._out)
            self._finish_if_done()
        self.read()

    def _out(self) -> None:
        """One answer is out: there may be room for a request again."""
        with self._lock:
            self._unsent -= 1
            if self._reading:  # nearly always, unless the caller is slow to read
                return
        self.read()

    def _finish_if_done(self) -> None:
        if self._slots:
            return
        if self._ended:
            self._port.finish(None)
        elif self._closing:
            self._port.finish(grpc.StatusCode.UNAVAILABLE, _EXITING.encode())


class _Slot:
    """One request of a stream (zoo_server.protocols.unary.Call)."""

    __slots__ = ("_stream", "answer", "is_gone", "message", "status")

    def __init__(self, message: bytes, stream: _Stream) -> None:
        self.message = message
        #: What leaves, once it is known.
        self.answer: bytes | None = None
        self.status: tuple[grpc.StatusCode, str] | None = None
        self._stream = stream
        self.is_gone = stream.is_cancelled

    def peer(self) -> str:
        """Return whose stream it is."""
        return self._stream.peer

    def time_remaining(self) -> float:
        """The stream's deadline is none of a request's."""
        return math.inf

    @property
    def metadata(self) -> Metadata:
        """What came with the stream besides its messages."""
        return self._stream.metadata

    def watch(self) -> None:
        """The stream itself is watched."""

    def reply(self, answer: bytes) -> None:
        self.answer = _answer(answer)
        self._stream.filled()

    def abort(
        self, code: grpc.StatusCode, details: str, retry_ms: int = 0, *, waiting: int = 0
    ) -> None:
        self.status = (code, details)
        self.answer = _error(self.message, details)
        self._stream.filled()


def _answer(answer: bytes) -> bytes:
    """Wrap a ModelInferResponse: fields may come in any order, so the parameter goes last."""
    size = len(answer) + len(_FINAL)
    return join((delimited(_INFER_RESPONSE, size), answer, _FINAL))


def _error(raw: bytes, details: str) -> bytes:
    response = pb.ModelStreamInferResponse(error_message=details)
    response.infer_response.id = request_id(raw).decode("utf-8", "replace")
    response.infer_response.parameters["triton_final_response"].bool_param = True
    message: bytes = response.SerializeToString()
    return message


def _wants_statuses(metadata: Metadata) -> bool:
    return any(key == _GRPC_ERROR and value == "true" for key, value in metadata)
