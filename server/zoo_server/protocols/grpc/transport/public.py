"""The `public` transport: grpcio's own synchronous server, by its public interface only.

bind    takes the port, so that a port in use is said before any model is loaded
start   begins to answer
stop    refuses new calls, gives those under way some time, then ends
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import grpc

from zoo_server.protocols.grpc.transport.threads import GrowingThreads
from zoo_server.protocols.ports import address_error, join_address, probe

#: Asked with a call's method and metadata before its message is read; None lets it in, else the
#: status that it is refused with.
Guard = Callable[[str, Any], tuple[grpc.StatusCode, str] | None]


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
    #: More arguments of grpcio's, by name.
    channel_arguments: tuple[tuple[str, int | str], ...] = ()
    #: None serves in plain text.
    credentials: grpc.ServerCredentials | None = None
    guard: Guard | None = None
    #: Other processes of this server listen on the same port; who starts them has probed it.
    shared: bool = False
    #: Called on the transport's own thread if that ends without `stop`. grpcio's own server keeps
    #: its thread to itself: only the fast transport calls it.
    on_failure: Callable[[BaseException], None] = lambda error: None


class PublicTransport:
    """One listening gRPC server."""

    def __init__(self, options: TransportOptions) -> None:
        self._options = options
        self._threads = GrowingThreads(
            options.handler_threads, options.most_handler_threads, "grpc"
        )
        self.held_threads = max(options.handler_threads, options.most_handler_threads)
        self._started = False
        self._server = grpc.server(
            cast("ThreadPoolExecutor", self._threads),  # of which it calls `submit` only
            interceptors=[] if options.guard is None else [_Guarded(options.guard)],
            maximum_concurrent_rpcs=options.max_calls,
            options=(
                ("grpc.max_receive_message_length", options.max_message_bytes),
                ("grpc.max_send_message_length", options.max_message_bytes),
                # If it is not to be shared: else a second server on the same port would silently
                # take half of the calls.
                ("grpc.so_reuseport", int(options.shared)),
                *options.channel_arguments,
            ),
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
        return port

    def start(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Begin to answer."""
        self._server.add_generic_rpc_handlers(tuple(handlers))
        self._server.start()
        self._started = True

    def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, cancel what is still under way after the grace, and return."""
        if not self._started:  # grpcio gives the port back of a server that has been started only
            self._server.start()
        self._server.stop(grace_seconds).wait()
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
