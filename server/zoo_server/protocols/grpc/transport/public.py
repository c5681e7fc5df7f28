"""The `public` transport: grpcio's own synchronous server, by its public interface only.

bind    takes the port, so that a port in use is said before any model is loaded
start   begins to answer
stop    refuses new calls, gives those under way some time, then ends
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import grpc

from zoo_server.protocols.grpc.transport.connection_limit import ConnectionLimit, close_connections
from zoo_server.protocols.grpc.transport.threads import GrowingThreads
from zoo_server.protocols.ports import address_error, join_address, probe
from zoo_server.telemetry.server_counts import Refusal

#: Calls of one connection at once; a client's further ones wait on its side.
_STREAMS_OF_A_CONNECTION = 1024

#: Connections beyond the most that may be there until the next look at them.
_MARGIN = 4096

#: Milliseconds for a handshake, TLS and HTTP/2; for a connection without calls; and after which a
#: silent caller is asked for a sign of life, and may take to give it.
_HANDSHAKE_MS, _IDLE_MS, _KEEPALIVE_MS, _KEEPALIVE_TIMEOUT_MS = 20_000, 600_000, 60_000, 20_000

#: How long cancelled calls may take to come back, and how often it is looked whether any are left.
_CANCEL_SECONDS, _LOOK_SECONDS = 2.0, 0.01

#: What a caller hears who comes too late.
EXITING = "Server exiting"

#: Asked with a call's method and metadata before its message is read; None lets it in, else the
#: status that it is refused with.
Guard = Callable[[str, Sequence[tuple[str, str | bytes]]], tuple[grpc.StatusCode, str] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportOptions:
    """What a transport needs to know; sizes in bytes."""

    host: str
    #: 0 takes any free one.
    port: int
    max_message_bytes: int
    #: Calls answered at once by the public transport while they are short; more wait their turn.
    handler_threads: int
    #: The most threads it starts, for calls that hold theirs: open streams, and requests that wait.
    most_handler_threads: int = 1024
    #: Calls under way at once, streams included; more are refused with RESOURCE_EXHAUSTED.
    max_calls: int = 16_384
    #: Open streams at once on the fast transport, in all and of one peer: likewise.
    max_streams: int = 4096
    max_streams_of_a_peer: int = 1024
    #: Connections at once, in all and of one peer: see connection_limit.py.
    max_connections: int = 4096
    max_connections_of_a_peer: int = 1024
    #: More arguments of grpcio's, by name.
    channel_arguments: tuple[tuple[str, int | str], ...] = ()
    #: None serves in plain text.
    credentials: grpc.ServerCredentials | None = None
    guard: Guard | None = None
    #: Called for each call that is refused before its message is read.
    on_refusal: Callable[[Refusal], None] = lambda reason: None
    #: Other processes of this server listen on the same port; who starts them has probed it.
    shared: bool = False
    #: Called on a thread of the transport's if its loop ends without `stop`.
    on_failure: Callable[[BaseException], None] = lambda error: None

    def arguments(self) -> tuple[tuple[str, int | str], ...]:
        """Return grpcio's channel arguments.

        Of pings without data its defaults allow one in five minutes, and end the connection at the
        third that comes sooner.
        """
        return (
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            # If it is not to be shared: else a second server on the same port would silently take
            # half of the calls.
            ("grpc.so_reuseport", int(self.shared)),
            ("grpc.max_concurrent_streams", _STREAMS_OF_A_CONNECTION),
            ("grpc.max_allowed_incoming_connections", self.max_connections + _MARGIN),
            ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
            ("grpc.max_connection_idle_ms", _IDLE_MS),
            # A caller that reads nothing does not read the ping either, and loses its connection.
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            *self.channel_arguments,
        )


class PublicTransport:
    """One listening gRPC server."""

    def __init__(self, options: TransportOptions) -> None:
        self._options = options
        self._threads = GrowingThreads(
            options.handler_threads, options.most_handler_threads, "grpc"
        )
        self.held_threads = max(options.handler_threads, options.most_handler_threads)
        self._started = False
        self._stopping = False
        self._port = options.port
        self._connections = ConnectionLimit(
            options.max_connections, options.max_connections_of_a_peer
        )
        self._server = grpc.server(
            cast("ThreadPoolExecutor", self._threads),  # of which it calls `submit` only
            interceptors=[_Guarded(self._refusal)],
            maximum_concurrent_rpcs=options.max_calls,
            options=options.arguments(),
        )

    def bind(self) -> int:
        """Take the port and return its number; AddressError says why that fails."""
        options = self._options
        if not options.shared:
            probe(options.host, options.port)
        address, credentials = join_address(options.host, options.port), options.credentials
        try:
            if credentials is None:
                port: int = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError:
            raise address_error(options.host, options.port, "the address cannot be bound") from None
        self._port = port
        return port

    def start(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Begin to answer."""
        self._server.add_generic_rpc_handlers(tuple(handlers))
        before = set(threading.enumerate())
        self._server.start()
        self._started = True
        # grpcio gives no sign of its loop but the thread that `start` begins for it.
        for thread in set(threading.enumerate()) - before:
            if "_serve" in thread.name:
                threading.Thread(
                    target=self._watch, args=(thread,), name="grpc-watch", daemon=True
                ).start()
        self._connections.start(self._port)

    def _refusal(
        self, method: str, metadata: Sequence[tuple[str, str | bytes]]
    ) -> tuple[grpc.StatusCode, str] | None:
        """Return what a call is refused with before its message is read (Guard)."""
        if self._stopping:
            return grpc.StatusCode.UNAVAILABLE, EXITING
        guard = self._options.guard
        refused = None if guard is None else guard(method, metadata)
        if refused is not None:
            self._options.on_refusal(Refusal.TOKEN)
        return refused

    def _watch(self, loop: threading.Thread) -> None:
        """Wait for the end of grpcio's loop, which only a stop may bring."""
        loop.join()
        if not self._stopping:
            self._options.on_failure(RuntimeError("the thread of grpcio's server has ended"))

    def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, cancel what is still under way after the grace, and return."""
        self._stopping = True
        self._connections.stop()
        if not self._started:  # grpcio gives the port back of a server that has been started only
            self._server.start()
        # New calls are refused by us (_Guarded): grpcio would cancel them.
        end = time.monotonic() + grace_seconds
        while self._threads.are_busy() and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)
        time.sleep(_LOOK_SECONDS)  # the last answers are on their way
        close_connections(self._port)
        # Not for ever: a loop that has ended stops nothing any more.
        self._server.stop(0).wait(_CANCEL_SECONDS)
        self._threads.shutdown(wait=False)


class _Guarded(grpc.ServerInterceptor):
    """Asks the guard first."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        refused = self._guard(details.method, details.invocation_metadata)
        if refused is None:
            return continuation(details)
        # A stream's handler, since it is called without waiting for a message.
        return grpc.stream_stream_rpc_method_handler(lambda _, context: context.abort(*refused))
