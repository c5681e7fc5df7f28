"""HTTP: uvicorn on a thread of its own, one event loop for every HTTP port.

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
from dataclasses import dataclass
from typing import Any

from zoo_server.errors import AddressError
from zoo_server.protocols.ports import listen

#: Connections at once on one port; more are answered with 503.
_MOST_CONNECTIONS = 4096

_BACKLOG = 1024

#: How long an idle connection is kept: clients that pool theirs must not find them closed.
_KEEP_ALIVE_SECONDS = 75

#: The longest request line and headers.
_MOST_HEADER_BYTES = 65536

#: How long what was cut off may take to end.
_CANCEL_SECONDS = 2.0

#: How often the Date header is brought up to date.
_TICK_SECONDS = 1.0


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
    taken: int | None = None


class HttpTransport:
    """Every HTTP port of a server."""

    def __init__(
        self, host: str, listeners: Sequence[HttpListener], tls: ssl.SSLContext | None = None
    ) -> None:
        self._host = host
        self._listeners = tuple(listeners)
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving: asyncio.Event | None = None
        self._grace_seconds = 0.0
        self._thread: threading.Thread | None = None

    @property
    def names(self) -> list[str]:
        """What each port is for, in order."""
        return [listener.name for listener in self._listeners]

    def bind(self) -> list[int]:
        """Take the ports and return their numbers, in order; AddressError says why that fails."""
        try:
            for listener in self._listeners:
                self._sockets.append(_take(self._host, listener))
        except AddressError:
            self._close_sockets()
            raise
        return [taken.getsockname()[1] for taken in self._sockets]

    def start(self, applications: Mapping[str, Callable[[], Any]]) -> None:
        """Begin to answer; each application is what answers on the port of that name.

        They are made on the HTTP thread, once everything else runs; what is wrong with one of them is
        raised here.
        """
        if not self._listeners:
            return
        started: _Started = _Started()
        self._thread = threading.Thread(
            target=self._run, args=(started, applications), name="http-loop", daemon=True
        )
        self._thread.start()
        started.wait()

    def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, cut off what is still under way after the grace, and return."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            self._close_sockets()
            return
        self._grace_seconds = grace_seconds
        assert self._leaving is not None
        if thread.is_alive():
            loop.call_soon_threadsafe(self._leaving.set)
            # Not for ever: a run on the loop itself cannot be stopped from outside.
            thread.join(grace_seconds + _CANCEL_SECONDS)

    def _close_sockets(self) -> None:
        for taken in self._sockets:
            taken.close()

    def _run(self, started: "_Started", applications: Mapping[str, Callable[[], Any]]) -> None:
        try:
            asyncio.run(self._serve(started, applications))
        except BaseException as error:
            if not started.tell(error):
                raise
            self._close_sockets()

    async def _serve(
        self, started: "_Started", applications: Mapping[str, Callable[[], Any]]
    ) -> None:
        servers = [self._server(applications[name]()) for name in self.names]
        for server, taken in zip(servers, self._sockets, strict=True):
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            await server.startup(sockets=[taken])
        self._leaving = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        started.tell(None)
        await self._tick(servers)
        for server in servers:
            server.config.timeout_graceful_shutdown = self._grace_seconds
        await asyncio.gather(
            *(
                server.shutdown(sockets=[taken])
                for server, taken in zip(servers, self._sockets, strict=True)
            )
        )

    async def _tick(self, servers: Sequence[Any]) -> None:
        """Let uvicorn do what it does now and then, until told to leave.

        Its own loop wakes ten times a second and a server, which an idle one need not.
        """
        assert self._leaving is not None
        while not self._leaving.is_set():
            for server in servers:
                await server.on_tick(0)
            try:
                await asyncio.wait_for(self._leaving.wait(), _TICK_SECONDS)
            except TimeoutError:
                continue

    def _server(self, application: Any) -> Any:
        import uvicorn

        from zoo_server.protocols.rest.http_protocol import JsonErrors

        tls = self._tls
        return uvicorn.Server(
            uvicorn.Config(
                application,
                loop="asyncio",
                http=JsonErrors,  # on h11; httptools would take headers of any length
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
                ssl_context_factory=None if tls is None else lambda *_: tls,
            )
        )


class _Started:
    """How the thread tells that it serves, or why not."""

    def __init__(self) -> None:
        self._told = threading.Event()
        self._error: BaseException | None = None

    def tell(self, error: BaseException | None) -> bool:
        """Return False if it was told before."""
        if self._told.is_set():
            return False
        self._error = error
        self._told.set()
        return True

    def wait(self) -> None:
        self._told.wait()
        if self._error is not None:
            raise self._error


def _take(host: str, listener: HttpListener) -> socket.socket:
    if listener.taken is not None:
        return socket.socket(fileno=listener.taken)
    return listen(host, listener.port, listener.flag)
