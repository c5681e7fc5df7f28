"""grpcio's own synchronous server: how bytes reach the api, by grpcio's public interface only.

bind    takes the port, so that a port in use is said before any model is loaded
start   begins to answer
stop    refuses new calls, gives those under way some time, then ends
"""

import errno
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import grpc

from zoo_server.errors import AddressError
from zoo_server.protocols.grpc.transport.threads import GrowingThreads

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
    #: Hears of it, on the transport's own thread, if that ends without `stop`.
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
            raise refusal(options, "the address cannot be bound") from None
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


def probe(host: str, port: int) -> None:
    """Try the address with a plain socket first: grpcio's own error does not say what is wrong."""
    options = TransportOptions(host=host, port=port, max_message_bytes=0, handler_threads=0)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        raise refusal(options, "the host name cannot be resolved") from None
    with socket.socket(family, kind, protocol) as probe:
        # A port whose last connections are only cooling down is free, as it is for grpcio.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            raise refusal(options, cause_of(error)) from None


def cause_of(error: OSError, flag: str = "--grpc-port") -> str:
    """Say why an address cannot be bound, and what to do; `flag` is the option for its port."""
    if error.errno == errno.EADDRINUSE:
        return f"the port is in use; stop what uses it or choose another with {flag}"
    if error.errno == errno.EACCES:
        return f"ports below 1024 need privileges; choose another with {flag}"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address; choose another with --host"
    return str(error.strerror)


def refusal(options: TransportOptions, cause: str) -> AddressError:
    """Return the error that says why an address cannot be listened on."""
    return AddressError(f"cannot listen on {join_address(options.host, options.port)}: {cause}")


def join_address(host: str, port: int) -> str:
    """Return HOST:PORT, with brackets where the host is an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
