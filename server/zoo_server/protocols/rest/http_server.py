"""The HTTP server: uvicorn on a thread of its own, one event loop for every HTTP port.

bind    takes the ports, so that one in use is said before any model is loaded
start   imports uvicorn, begins to answer, and returns once it does
stop    refuses new connections, gives those under way some time, then ends

Nothing of HTTP is imported before `start`: gRPC answers meanwhile.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from zoo_server.protocols.ports import listen
from zoo_server.protocols.rest.asgi import Application, ConnectionLimitMiddleware
from zoo_server.protocols.rest.connections import ConnectionLimits, Connections, CountedListener

if TYPE_CHECKING:
    import uvicorn

_BACKLOG = 4096

#: Requests whose connections are gone and which have not noticed yet.
_MOST_OUTLIVING = 4096

#: The longest request line and headers.
_MOST_HEADER_BYTES = 65536

#: How long what was cut off may take to end.
_CANCEL_SECONDS = 2.0

#: How often it is looked whether uvicorn has started.
_START_SECONDS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpListener:
    """One port."""

    #: What it is for.
    name: str
    #: 0 takes any free one.
    port: int
    #: The option that sets the port, for errors.
    flag: str
    #: The descriptor of a listening socket to take over instead of taking the port.
    descriptor: int | None = None


class HttpTransport:
    """Every HTTP port of a server."""

    def __init__(
        self,
        host: str,
        listeners: Sequence[HttpListener],
        tls: ssl.SSLContext | None = None,
        on_failure: Callable[[BaseException], None] = lambda error: None,
        limits: ConnectionLimits | None = None,
    ) -> None:
        """`on_failure` hears of it, on the HTTP thread, if the loop ends without `stop`.

        `limits` are those of each port.
        """
        self._host = host
        self._listeners = tuple(listeners)
        self._tls = tls
        self._on_failure = on_failure
        self._limits = limits or ConnectionLimits()
        self._sockets: list[socket.socket] = []
        self._servers: Sequence[uvicorn.Server] = ()
        self._thread: threading.Thread | None = None

    @property
    def names(self) -> list[str]:
        """What each port is for, in order."""
        return [listener.name for listener in self._listeners]

    def bind(self) -> list[int]:
        """Take the ports and return their numbers, in order; AddressError says why that fails."""
        for listener in self._listeners:
            self._sockets.append(_take(self._host, listener))
        return [bound.getsockname()[1] for bound in self._sockets]

    def start(self, applications: Mapping[str, Callable[[], Application]]) -> None:
        """Begin to answer; each application is what answers on the port of that name.

        They are made on the HTTP thread, once everything else runs; what is wrong with one of them is
        raised here.
        """
        if not self._listeners:
            return
        started: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(started, applications), name="http-loop", daemon=True
        )
        self._thread.start()
        started.result()

    def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, cut off what is still under way after the grace, and return."""
        for server in self._servers:
            # uvicorn hands it to asyncio.wait_for, which takes fractions.
            server.config.timeout_graceful_shutdown = cast("int", grace_seconds)
            server.should_exit = True
        if self._thread is not None:
            # Not for ever: a run on the loop itself cannot be stopped from outside.
            self._thread.join(grace_seconds + _CANCEL_SECONDS)
        if self._thread is None or not self._thread.is_alive():
            for bound in self._sockets:
                bound.close()

    def _run(
        self, started: "Future[None]", applications: Mapping[str, Callable[[], Application]]
    ) -> None:
        try:
            asyncio.run(self._serve(started, applications))
        except BaseException as error:
            if started.done():
                self._on_failure(error)
            else:
                started.set_exception(error)

    async def _serve(
        self, started: "Future[None]", applications: Mapping[str, Callable[[], Application]]
    ) -> None:
        counts = [Connections(self._limits) for _ in self.names]
        self._sockets = [
            CountedListener.of(bound, count)
            for bound, count in zip(self._sockets, counts, strict=True)
        ]
        self._servers = servers = [
            self._server(applications[name](), count)
            for name, count in zip(self.names, counts, strict=True)
        ]
        serving = asyncio.gather(
            *(
                server.serve(sockets=[bound])
                for server, bound in zip(servers, self._sockets, strict=True)
            )
        )
        while not all(server.started for server in servers) and not serving.done():
            await asyncio.sleep(_START_SECONDS)
        if not serving.done():
            started.set_result(None)
        await serving

    def _server(self, application: Application, connections: Connections) -> "uvicorn.Server":
        import uvicorn

        from zoo_server.protocols.rest.http_protocol import TimedConnection

        def count() -> int:
            """Count connections, or requests that outlive theirs."""
            return max(len(connections), len(server.server_state.tasks) - _MOST_OUTLIVING)

        tls = self._tls
        protocol = cast("type[asyncio.Protocol]", partial(TimedConnection, connections))
        config = uvicorn.Config(
            ConnectionLimitMiddleware(application, self._limits.most, count),
            loop="asyncio",
            http=protocol,  # on h11; httptools would take headers of any length
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=cast("int", self._limits.idle_seconds),  # fractions will do
            h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
            ssl_context_factory=None if tls is None else lambda *_: tls,
        )
        server = uvicorn.Server(config)
        return server


def _take(host: str, listener: HttpListener) -> socket.socket:
    if listener.descriptor is not None:
        return socket.socket(fileno=listener.descriptor)
    return listen(host, listener.port, listener.flag)
