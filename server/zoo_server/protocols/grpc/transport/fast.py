"""A lean gRPC server on grpcio's C core: one loop that takes every event, and replies from any thread.

    poll ──> all events that are ready ──> calls answered here, handed to a worker, or …
                                      └──> … gathered: the burst goes to its handler as one

It is driven by the same generic handlers as grpcio's own server, and behaves alike on the wire: one
suite of tests runs over both. What is different is the cost of a call, of which grpcio's public
server spends three quarters in Python of its own (bench/results/serve.md: grpcio echo, fast echo).

Handlers may carry attributes (server/zoo_server/protocols/behaviour.py), which the public server ignores:

    burst      unary; takes all calls that are ready at once: burst(calls, inline_budget_ns, stays=)
    in_place   unary; so short that the loop may run it itself, where the message is small
    on_stream  stream-stream; opened with a stream, fed by callbacks, holds no thread; with `burst`
               its messages may join the bursts of unary calls

A handler without any runs on a worker thread.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, NamedTuple, cast

import grpc

from zoo_server.protocols.grpc.transport import core
from zoo_server.protocols.grpc.transport.fast_calls import RawCall, UnaryCall, run_unary
from zoo_server.protocols.grpc.transport.fast_streams import StreamCall, run_stream
from zoo_server.protocols.grpc.transport.public import TransportOptions
from zoo_server.protocols.ports import address_error, join_address, probe
from zoo_server.protocols.unary import SMALL_MESSAGE

_LOG = logging.getLogger(__name__)

#: Arrivals that the core may hand over before the loop has asked for more: at least a burst.
_ARRIVALS = 256

#: The most events taken before what was gathered is answered: a longer burst would delay its first
#: answer for the sake of its last.
_MOST_EVENTS = 1024

#: Looks in vain before a burst is answered, where others are likely to come.
_PATIENCE = 5

#: Bursts of one after which nobody else is likely to come, and after which that is tried again.
_ALONE, _TRY_AGAIN = 4, 32

#: The longest run that the loop takes on itself; meanwhile everybody else waits. A full batch of a
#: tiny model takes about a millisecond.
_INLINE_BUDGET_NS = 2_000_000

#: How long a worker may keep the interpreter's lock once the loop wants it.
_SWITCH_SECONDS = 0.001

#: How long a cancelled call may take to come back.
_CANCEL_SECONDS = 2.0


class HandlerCallDetails(NamedTuple):
    """What a generic handler is asked with (grpc.HandlerCallDetails)."""

    method: str
    invocation_metadata: Sequence[tuple[str, str | bytes]]


#: What a route does with the event of a call that has arrived, and its handler.
Opens = Callable[[Any, Any], RawCall]


class FastTransport:
    """One listening gRPC server."""

    held_threads = 0

    def __init__(self, options: TransportOptions, workers: Executor) -> None:
        self._options = options
        self._workers = workers
        self._queue = core.CompletionQueue()
        self._server = core.Server(
            (
                ("grpc.max_receive_message_length", options.max_message_bytes),
                ("grpc.max_send_message_length", options.max_message_bytes),
                ("grpc.so_reuseport", int(options.shared)),
                *options.channel_arguments,
            ),
            False,
        )
        self._server.register_completion_queue(self._queue)
        self._handlers: Sequence[grpc.GenericRpcHandler] = ()
        self._routes: dict[bytes, tuple[Opens, Any]] = {}
        #: Arrivals taken that the core has not been asked to make up for; touched by the loop only.
        self._owed = 0
        #: Calls that are not over; touched by the loop only.
        self._calls: set[RawCall] = set()
        #: What has been gathered for each burst handler.
        self._bursts: dict[Callable[..., None], list[Any]] = {}
        self._lock = threading.Lock()
        self._accepting = False
        self._stopping = False
        self._shut = False
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def bind(self) -> int:
        """Take the port and return its number; AddressError says why that fails."""
        options = self._options
        if not options.shared:
            probe(options.host, options.port)
        address = join_address(options.host, options.port).encode()
        credentials = options.credentials
        try:
            if credentials is None:
                port: int = self._server.add_http2_port(address)
            else:
                port = self._server.add_http2_port(address, core.server_credentials(credentials))
        except RuntimeError:
            port = 0
        if not port:
            raise address_error(options.host, options.port, "the address cannot be bound")
        return port

    def start(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Begin to answer."""
        self._handlers = tuple(handlers)
        # The loop takes the interpreter's lock several times a call. Beside a worker that reads a large
        # request it waits for an interval each time, 5 ms by default.
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_SECONDS))
        self._server.start()
        self._accepting = True
        for _ in range(_ARRIVALS):
            self._server.request_call(self._queue, self._queue, self._arrived)
        self._thread = threading.Thread(target=self._run, name="grpc-loop", daemon=True)
        self._thread.start()

    def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, cancel what is still under way after the grace, and return.

        A handler that cannot be stopped may outlive this; its answer goes nowhere.
        """
        if self._thread is None:
            self._close_unstarted()
            return
        with self._lock:
            if not self._stopping:
                self._stopping = True
                self._accepting = False
                self._server.shutdown(self._queue, self._shut_down)
        if not self._over.wait(grace_seconds):
            with self._lock:
                if not self._over.is_set():
                    self._server.cancel_all_calls()
            self._over.wait(_CANCEL_SECONDS)

    def _close_unstarted(self) -> None:
        """Let go of the port: the core does that for a server that has been started only."""
        if not self._stopping:
            self._stopping = True
            self._server.start()
            self._server.shutdown(self._queue, self._shut_down)
            self._queue.poll(time.time() + _CANCEL_SECONDS)
            self._queue.shutdown()
            self._server.destroy()

    # -- the loop ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # whatever it is, nobody takes events any more
            self._over.set()  # so that `stop` waits for nothing
            self._options.on_failure(error)

    def _serve(self) -> None:
        """Take events until the server has shut down and every call is over."""
        poll, timed_out, bursts = self._queue.poll, core.TIMED_OUT, self._bursts
        alone = 0
        while not self._over.is_set():
            event = poll()
            taken = looks = 0
            while True:
                if event.completion_type == timed_out:
                    # One look takes one socket's events: where several calls came together lately,
                    # others are likely to be ready on other connections. Answered one by one they
                    # keep coming one by one, at twice the time each.
                    looks += 1
                    likely = alone < _ALONE or not alone % _TRY_AGAIN
                    if looks > _PATIENCE or not (likely and self._has_gathered()):
                        break
                    event = poll(0)
                    continue
                try:
                    event.tag(event)
                except Exception:  # one call's fault must not end all others
                    _LOG.exception("a call could not be handled")
                taken += 1
                if taken >= _MOST_EVENTS:
                    break
                # Drop the event first: it may hold the last reference to a call.
                event = None
                event = poll(0)
            event = None
            gathered = 0
            for handler, calls in bursts.items():
                if calls:
                    gathered += len(calls)
                    self._answer_burst(handler, calls)
            if gathered:
                alone = alone + 1 if gathered == 1 else 0
            if self._owed:
                self._ask_for_more()
        # `stop` may still be inside the core's shutdown, whose event has brought us here: to destroy
        # the server under it would end the process.
        with self._lock:
            self._queue.shutdown()
            self._server.destroy()

    def _has_gathered(self) -> bool:
        """Tell whether a burst has begun, or will with the message of a call that has arrived."""
        return self._owed > 0 or any(self._bursts.values())

    def _ask_for_more(self) -> None:
        """Make up for the arrivals that were taken; after the answers, which do not wait for it."""
        owed, self._owed = self._owed, 0
        with self._lock:
            if self._accepting:
                for _ in range(owed):
                    self._server.request_call(self._queue, self._queue, self._arrived)

    def _answer_burst(self, handler: Callable[..., None], gathered: list[Any]) -> None:
        calls = list(gathered)
        gathered.clear()
        try:
            handler(calls, _INLINE_BUDGET_NS, stays=True)
        except Exception as error:
            _LOG.exception("a burst could not be handled")
            for call in calls:
                call.abort(grpc.StatusCode.INTERNAL, f"unexpected {type(error).__name__}")
        for call in calls:
            call.watch()

    def _arrived(self, event: Any) -> None:
        """The tag of an arrival; one that failed is a sign of shutting down."""
        if not event.success:
            return
        self._owed += 1
        method = event.call_details.method
        guard = self._options.guard
        if guard is not None:
            refused = guard(method.decode("utf-8", "replace"), event.invocation_metadata)
            if refused is not None:
                RawCall(event.call, self._ended).reject(*refused)
                return
        found = self._routes.get(method) or self._find(method, event.invocation_metadata)
        if found is None:
            RawCall(event.call, self._ended).reject(
                grpc.StatusCode.UNIMPLEMENTED, "Method not found!"
            )
        elif len(self._calls) >= self._options.max_calls:
            RawCall(event.call, self._ended).reject(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!"
            )
        else:
            opens, handler = found
            self._calls.add(opens(event, handler))

    def _ended(self, call: RawCall) -> None:
        """A call's last operation is done."""
        self._calls.discard(call)
        if self._stopping and not self._calls and self._shut:
            self._over.set()

    def _shut_down(self, _: Any) -> None:
        """The tag of the shutdown: no call will arrive any more."""
        self._shut = True
        if not self._calls:
            self._over.set()

    # -- routes --------------------------------------------------------------------------------

    def _find(self, method: bytes, metadata: Any) -> tuple[Opens, Any] | None:
        """Ask the generic handlers; what one of them knows is remembered."""
        details = HandlerCallDetails(method.decode("utf-8", "replace"), metadata)
        for generic in self._handlers:
            handler = generic.service(cast("grpc.HandlerCallDetails", details))
            if handler is not None:
                route = self._routes[method] = (self._opener(handler), handler)
                return route
        return None

    def _opener(self, handler: Any) -> Opens:
        behaviour = handler.unary_unary or handler.stream_stream
        burst = getattr(behaviour, "burst", None)
        gather = None if burst is None else self._bursts.setdefault(burst, []).append
        if handler.request_streaming or handler.response_streaming:
            return partial(self._open_stream, gather)
        if gather is not None:
            return partial(self._open_burst, gather)
        if getattr(behaviour, "in_place", False):
            return self._open_in_place
        return self._open_unary

    def _open_burst(self, gather: Callable[[Any], None], event: Any, _: Any) -> UnaryCall:
        call = UnaryCall(event, self._ended, gather)
        call.receive()
        return call

    def _open_in_place(self, event: Any, handler: Any) -> UnaryCall:
        def received(arrived: UnaryCall) -> None:
            if len(arrived.message) <= SMALL_MESSAGE:
                run_unary(arrived, handler)
            else:
                self._on_a_worker(arrived, handler)

        call = UnaryCall(event, self._ended, received)
        call.receive()
        return call

    def _open_unary(self, event: Any, handler: Any) -> UnaryCall:
        call = UnaryCall(event, self._ended, lambda arrived: self._on_a_worker(arrived, handler))
        call.receive()
        return call

    def _on_a_worker(self, call: UnaryCall, handler: Any) -> None:
        call.watch()
        self._workers.submit(run_unary, call, handler)

    def _open_stream(
        self, gather: Callable[[Any], None] | None, event: Any, handler: Any
    ) -> StreamCall:
        call = StreamCall(event, self._ended, gather)
        call.watch()
        run_stream(call, handler, self._workers)
        return call
