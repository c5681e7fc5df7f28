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
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import NamedTuple, cast

import grpc

from zoo_server.errors import Overloaded
from zoo_server.protocols.grpc.transport import core
from zoo_server.protocols.grpc.transport.call_context import run_unary
from zoo_server.protocols.grpc.transport.connection_limit import ConnectionLimit, close_connections
from zoo_server.protocols.grpc.transport.fast_calls import OverloadWatch, RawCall, UnaryCall
from zoo_server.protocols.grpc.transport.fast_loop import BurstLoop
from zoo_server.protocols.grpc.transport.fast_streams import StreamCall, run_stream
from zoo_server.protocols.grpc.transport.public import EXITING, TransportOptions
from zoo_server.protocols.grpc.transport.throttle import Throttle
from zoo_server.protocols.ports import address_error, join_address, peer_of_call, probe
from zoo_server.protocols.status import RETRY_KEY, log_refusal
from zoo_server.protocols.unary import SMALL_MESSAGE
from zoo_server.telemetry.server_counts import Refusal

_LOG = logging.getLogger(__name__)

#: Arrivals that the core may hand over before the loop has asked for more: at least a burst.
_ARRIVALS = 1024

#: Calls beyond those that the core keeps while the loop is busy; from here on it refuses more and more of
#: them itself, and all beyond twice as many. What waits here is old before anybody sees it.
_PENDING = 256

#: What a caller may send of a message before it is asked for: HTTP/2's own default. gRPC's window of 4 MB
#: would let those come in whole that are refused unread; of a longer message the rest is asked for once
#: its call is let in, a round trip later.
_UNASKED_BYTES = 65_535

#: How long a worker may keep the interpreter's lock once the loop wants it.
_SWITCH_SECONDS = 0.0003

#: The share of the most calls from which on those are ended whose messages do not come.
_CROWDED = 3 / 4

#: A call must have so many times longer to its deadline as the loop has been behind: what lies in the
#: queue of events is refused faster than it is answered, oldest first, and those that follow are in time.
_WORTH_WAITING = 4
_BEHIND = b"too many requests: the answer would be late"

#: What a call is told that is refused unread.
_THROTTLED = (
    b"too many requests: the model that this connection asks for has as many as it can answer"
)

#: How long the status of a call that is cut off may take to leave, and a cancelled one to come back.
_REFUSE_SECONDS, _CANCEL_SECONDS = 0.5, 2.0

#: How often it is looked whether calls are under way.
_LOOK_SECONDS = 0.005


class HandlerCallDetails(NamedTuple):
    """The details of a call that a generic handler receives (grpc.HandlerCallDetails)."""

    method: str
    invocation_metadata: core.Metadata


#: What a route does with the event of a call that has arrived, and its handler.
Opens = Callable[[core.Event, core.Handler], RawCall]


class FastTransport:
    """One listening gRPC server."""

    held_threads = 0

    def __init__(self, options: TransportOptions, workers: Executor) -> None:
        self._options = options
        self._workers = workers
        self._queue = core.CompletionQueue()
        pending = (
            ("grpc.server.max_pending_requests", _PENDING),
            ("grpc.server.max_pending_requests_hard_limit", 2 * _PENDING),
        )
        window = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", _UNASKED_BYTES))
        self._server = core.Server((*pending, *window, *options.arguments()), False)
        self._connections = ConnectionLimit(
            options.max_connections, options.max_connections_of_a_peer
        )
        self._port = options.port
        self._server.register_completion_queue(self._queue)
        self._handlers: Sequence[grpc.GenericRpcHandler] = ()
        self._routes: dict[bytes, tuple[Opens, core.Handler]] = {}
        self._throttle = Throttle()
        self._loop = BurstLoop(self._queue, self._replenish)
        #: Calls that are not over; touched by the loop only.
        self._calls: set[RawCall] = set()
        #: Of them, streams by peer.
        self._streams: Counter[str] = Counter()
        #: Calls whose message had not come at the last look, and when the next is due.
        self._silent: set[UnaryCall] = set()
        self._next_look = 0.0
        self._lock = threading.Lock()
        self._accepting = False
        self._stopping = False
        self._shut = False
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
        self._port = port
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
        self._connections.start(self._port)

    def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, cancel what is still under way after the grace, and return.

        A handler that cannot be stopped may outlive this; its answer goes nowhere.
        """
        self._connections.stop()
        if self._thread is None:
            self._close_unstarted()
            return
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
        # Calls that come now are refused by us: the core would cancel them.
        self._wait_until_idle(grace_seconds)
        for call in list(self._calls):
            call.reject(grpc.StatusCode.UNAVAILABLE, EXITING)
        self._wait_until_idle(_REFUSE_SECONDS)
        close_connections(self._port)
        with self._lock:
            self._accepting = False
            self._server.shutdown(self._queue, self._shut_down)
        if not self._loop.over.wait(_REFUSE_SECONDS):
            with self._lock:
                if not self._loop.over.is_set():
                    self._server.cancel_all_calls()
            self._loop.over.wait(_CANCEL_SECONDS)

    def _wait_until_idle(self, seconds: float) -> None:
        """Wait until no call is under way, at most so long."""
        end = time.monotonic() + seconds
        while self._calls and time.monotonic() < end and not self._loop.over.wait(_LOOK_SECONDS):
            pass

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
            self._loop.run()
            # `stop` may still be inside the core's shutdown, whose event has brought us here: to
            # destroy the server under it would end the process.
            with self._lock:
                self._queue.shutdown()
                self._server.destroy()
        except BaseException as error:  # whatever it is, no thread takes events any more
            self._loop.over.set()  # so that `stop` waits for nothing
            self._options.on_failure(error)

    def _replenish(self, count: int) -> None:
        """Ask the core for so many arrivals more."""
        with self._lock:
            if self._accepting:
                for _ in range(count):
                    self._server.request_call(self._queue, self._queue, self._arrived)

    def _arrived(self, event: core.Event) -> None:
        """The tag of an arrival; one that failed is a sign of shutting down."""
        if not event.success:
            return
        self._loop.owed += 1
        if self._stopping:
            RawCall(event.call, self._ended).reject(grpc.StatusCode.UNAVAILABLE, EXITING)
            return
        method = event.call_details.method
        guard = self._options.guard
        if guard is not None:
            refused = guard(method.decode("utf-8", "replace"), event.invocation_metadata)
            if refused is not None:
                self._options.on_refusal(Refusal.TOKEN)
                RawCall(event.call, self._ended).reject(*refused)
                return
        route = self._routes.get(method) or self._find(method, event.invocation_metadata)
        if route is None:
            RawCall(event.call, self._ended).reject(
                grpc.StatusCode.UNIMPLEMENTED, "Method not found!"
            )
            return
        calls, most = len(self._calls), self._options.max_calls
        if calls >= most * _CROWDED:
            self._end_silent_calls()
        if calls >= most:
            self._options.on_refusal(Refusal.CONCURRENCY)
            RawCall(event.call, self._ended).reject(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!"
            )
            return
        opens, handler = route
        self._calls.add(opens(event, handler))

    def _end_silent_calls(self) -> None:
        """End the calls whose message has not come since the last look, at least a second ago."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + 1.0
        silent = {
            call for call in self._calls if isinstance(call, UnaryCall) and not call.has_message
        }
        for call in silent & self._silent:
            call.reject(grpc.StatusCode.RESOURCE_EXHAUSTED, "the request took too long to arrive")
        self._silent = silent - self._silent

    def _ended(self, call: RawCall) -> None:
        """A call's last operation is done."""
        self._calls.discard(call)
        if isinstance(call, StreamCall):
            self._streams[call.peer] -= 1
            if not self._streams[call.peer]:
                del self._streams[call.peer]
        if self._stopping and not self._calls and self._shut:
            self._loop.over.set()

    def _shut_down(self, _: object) -> None:
        """The tag of the shutdown: no call will arrive any more."""
        self._shut = True
        if not self._calls:
            self._loop.over.set()

    # -- routes --------------------------------------------------------------------------------

    def _find(self, method: bytes, metadata: core.Metadata) -> tuple[Opens, core.Handler] | None:
        """Ask the generic handlers; what one of them knows is remembered."""
        details = HandlerCallDetails(method.decode("utf-8", "replace"), metadata)
        for generic in self._handlers:
            handler = generic.service(cast("grpc.HandlerCallDetails", details))
            if handler is not None:
                route = self._routes[method] = (self._opener(handler), handler)
                return route
        return None

    def _opener(self, handler: core.Handler) -> Opens:
        behaviour = handler.unary_unary or handler.stream_stream
        burst = getattr(behaviour, "burst", None)
        gather = None if burst is None else self._loop.gatherer(burst)
        if handler.request_streaming or handler.response_streaming:
            return partial(self._open_stream, gather)
        if gather is not None:
            watch = OverloadWatch(self._throttle, getattr(behaviour, "model_of", bytes))
            return partial(self._open_burst, gather, watch)
        if getattr(behaviour, "in_place", False):
            return self._open_in_place
        return self._open_unary

    def _open_burst(
        self,
        gather: Callable[[UnaryCall], None],
        watch: OverloadWatch,
        event: core.Event,
        _: object,
    ) -> RawCall:
        if self._loop.behind_since:
            now = time.time()
            behind = now - self._loop.behind_since
            if event.call_details.deadline - now < _WORTH_WAITING * behind:
                return self._refuse_unread(event, _BEHIND, max(1, int(behind * 1000)))
        hold, throttle = None, self._throttle
        if throttle.active:
            patience = event.call_details.deadline - time.time()
            hold = throttle.hold_of(event.call.peer(), patience)
            if hold is not None and not hold.lets_in(throttle.clock()):
                return self._refuse_unread(event, _THROTTLED, hold.retry_ms)
        call = UnaryCall(event, self._ended, gather, watch, hold)
        self._loop.expects = True
        call.receive()
        return call

    def _refuse_unread(self, event: core.Event, why: bytes, retry_ms: int) -> RawCall:
        """Refuse a call under overload, at as little cost as there can be."""
        self._options.on_refusal(Refusal.OVERLOAD)
        refused = RawCall(event.call, self._ended)
        refused.trailing_metadata = ((RETRY_KEY, str(retry_ms)),)
        refused.end(grpc.StatusCode.UNAVAILABLE, why)
        method = event.call_details.method.rpartition(b"/")[2].decode("utf-8", "replace")
        log_refusal(method, Overloaded, why.decode())
        return refused

    def _open_in_place(self, event: core.Event, handler: core.Handler) -> UnaryCall:
        def received(arrived: UnaryCall) -> None:
            if len(arrived.message) <= SMALL_MESSAGE:
                run_unary(arrived, handler)
            else:
                self._on_a_worker(arrived, handler)

        call = UnaryCall(event, self._ended, received)
        call.receive()
        return call

    def _open_unary(self, event: core.Event, handler: core.Handler) -> UnaryCall:
        call = UnaryCall(event, self._ended, lambda arrived: self._on_a_worker(arrived, handler))
        call.receive()
        return call

    def _on_a_worker(self, call: UnaryCall, handler: core.Handler) -> None:
        call.watch()
        self._workers.submit(run_unary, call, handler)

    def _open_stream(
        self, gather: Callable[[object], None] | None, event: core.Event, handler: core.Handler
    ) -> RawCall:
        options, peer = self._options, peer_of_call(event.call.peer().decode())
        if (
            self._streams[peer] >= options.max_streams_of_a_peer
            or self._streams.total() >= options.max_streams
        ):
            options.on_refusal(Refusal.CONCURRENCY)
            refused = RawCall(event.call, self._ended)
            refused.reject(grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent stream limit exceeded!")
            return refused
        call = StreamCall(event, self._ended, gather, peer)
        self._streams[peer] += 1
        call.watch()
        run_stream(call, handler, self._workers)
        return call
