"""Streams on the C core, by callbacks: an open stream holds no thread.

    StreamCall    one stream: read asks for a message, send queues one, finish sends the status
    run_stream    serves a stream by a handler: by callbacks where the handler offers them, else by
                  grpcio's blocking iterators on a worker thread

The core takes one message of a call at a time; what is sent meanwhile waits here, in order.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any

import grpc

from zoo_server.protocols.grpc.transport import core
from zoo_server.protocols.grpc.transport.call_context import CallContext, CallerGone
from zoo_server.protocols.grpc.transport.fast_calls import Ended, RawCall

Read = Callable[[bytes | None], None]
Sent = Callable[[], None]


class StreamCall(RawCall):
    """One stream; every method from any thread."""

    def __init__(
        self, event: core.Event, ended: Ended, gather: Callable[[object], None] | None, peer: str
    ) -> None:
        """`gather`, on the loop: lets a request of the stream join the burst being gathered."""
        super().__init__(event.call, ended)
        self.peer = peer
        self.gather = gather
        self.event = event
        self._lock = threading.Lock()
        self._outgoing: deque[tuple[bytes, int, Sent | None]] = deque()
        self._sending = False
        self._last: tuple[grpc.StatusCode | None, bytes] | None = None

    def _closed(self, event: core.Event) -> None:
        super()._closed(event)
        if self.is_cancelled:
            self.finish(grpc.StatusCode.CANCELLED)  # nobody hears it, but the call must end

    def read(self, then: Read) -> None:
        """Ask for the next message: `then` gets it on the loop, None once there are no more."""
        if self.has_ended:  # nothing will come, and the core's queue may be closed already
            then(None)
            return
        self._call.start_server_batch(
            (core.ReceiveMessage(core.NO_FLAGS),),
            lambda event: then(event.batch_operations[0].message()),
        )

    def send(self, message: bytes, then: Sent | None = None, flags: int = core.NO_FLAGS) -> None:
        """Send a message after those before it; `then` is called once it is out or lost."""
        with self._lock:
            if self._last is None and not self.is_cancelled:
                self._outgoing.append((message, flags, then))
                if not self._sending:
                    self._send_next()
                return
        if then is not None:
            then()

    def finish(self, code: grpc.StatusCode | None, details: bytes = b"") -> None:
        """End the stream once all that was sent is out; the first call counts."""
        with self._lock:
            if self._last is not None:
                return
            self._last = (code, details)
            if self._sending:
                return
        self.end(code, details)

    def _send_next(self) -> None:
        message, flags, _ = self._outgoing[0]
        self._sending = True
        operations = [core.SendMessage(message, flags)]
        if not self._initial_sent:
            self._initial_sent = True
            operations.insert(0, core.SendInitialMetadata(self.initial_metadata, core.NO_FLAGS))
        self._call.start_server_batch(operations, self._sent)

    def _sent(self, event: core.Event) -> None:
        """One message is out, or was lost with the call."""
        with self._lock:
            done = [self._outgoing.popleft()]
            if not event.success or self.is_cancelled:
                done += self._outgoing
                self._outgoing.clear()
            self._sending = False
            if self._outgoing:
                self._send_next()
            last = None if self._sending else self._last
        for _, _, then in done:
            if then is not None:
                then()
        if last is not None:
            self.end(*last)


def run_stream(call: StreamCall, handler: core.Handler, workers: Executor) -> None:
    """Serve a stream by its handler."""
    context = CallContext(call, call.event)
    on_stream = getattr(handler.stream_stream, "on_stream", None)
    if on_stream is not None:
        on_stream(call, context)
    elif handler.request_streaming:
        workers.submit(_run_blocking, call, context, handler, _Requests(call, handler))
    else:
        call.read(lambda message: _first(call, context, handler, workers, message))


def _first(
    call: StreamCall,
    context: CallContext,
    handler: core.Handler,
    workers: Executor,
    message: bytes | None,
) -> None:
    """The one request of a unary-stream call has come."""
    if message is None:
        method = call.event.call_details.method.decode("utf-8", "replace")
        call.finish(
            grpc.StatusCode.UNIMPLEMENTED,
            f'"{method}" requires exactly one request message.'.encode(),
        )
        return
    try:
        request = handler.request_deserializer(message) if handler.request_deserializer else message
    except Exception:
        call.finish(grpc.StatusCode.INTERNAL, b"Exception deserializing request!")
        return
    if getattr(handler.unary_stream, "experimental_non_blocking", False):
        _run_callbacks(call, context, handler, request)
    else:
        workers.submit(_run_blocking, call, context, handler, request)


def _run_callbacks(
    call: StreamCall, context: CallContext, handler: core.Handler, request: object
) -> None:
    """A handler that gets a function to send with, and whose None ends the stream."""

    def send(response: object) -> None:
        if response is None:
            call.finish(*context.status())
        else:
            call.send(_serialized(handler, response))

    try:
        handler.unary_stream(request, context, send)
    except Exception as error:
        call.finish(*context.failure(error))


def _run_blocking(
    call: StreamCall, context: CallContext, handler: core.Handler, argument: object
) -> None:
    """A handler that takes and gives iterators, and holds a worker while it does."""
    try:
        if not handler.response_streaming:
            response = handler.stream_unary(argument, context)
            code, _ = context.status()
            if code is None:
                call.send(_serialized(handler, response))
        else:
            behaviour = handler.stream_stream or handler.unary_stream
            for response in behaviour(argument, context):
                if not _send_and_wait(call, _serialized(handler, response), context.message_flags):
                    break
                context.message_flags = core.NO_FLAGS
    except Exception as error:
        call.finish(*context.failure(error))
    else:
        call.finish(*context.status())


def _send_and_wait(call: StreamCall, message: bytes, flags: int) -> bool:
    """Send, and wait until it is out: a slow reader slows its handler; False if nobody reads."""
    out = threading.Event()
    call.send(message, out.set, flags)
    out.wait()
    return not call.is_cancelled


def _serialized(handler: core.Handler, response: Any) -> bytes:
    serializer = handler.response_serializer
    message: bytes = response if serializer is None else serializer(response)
    return message


class _Requests(Iterator[object]):
    """The requests of a stream, for a handler that waits for each."""

    def __init__(self, call: StreamCall, handler: core.Handler) -> None:
        self._call = call
        self._deserializer = handler.request_deserializer
        self._came: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def __next__(self) -> object:
        self._call.read(self._came.put)
        message = self._came.get()
        if message is None:
            # The core reports the end of the requests first and then that the caller is gone: between
            # the two a handler sees an end, as it does on grpcio's own server.
            if self._call.is_cancelled:
                raise CallerGone
            raise StopIteration
        return message if self._deserializer is None else self._deserializer(message)
