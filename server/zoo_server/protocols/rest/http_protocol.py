"""uvicorn's HTTP/1.1, with time limits on callers, and {"error": …} as the answer to invalid HTTP.

    head ──> body ──> run ──> answer being read ──> idle ──> head …
     30 s     10 kB in 20 s     10 kB in 20 s       75 s

uvicorn limits the idle time alone, and writes head and body apart. Here both leave in one segment, as
from Triton: Triton's asynchronous HTTP client stands on geventhttpclient, which can wait for ever when they come
apart. Imported once the HTTP ports are started, as all of HTTP; h11 is what uvicorn itself stands on.
"""

import asyncio
import enum
import socket
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from zoo_server.protocols.rest.asgi import SEND_AT_ONCE
from zoo_server.protocols.rest.connections import Connections
from zoo_server.protocols.rest.errors import JSON, error_body


class _Phase(enum.Enum):
    """What a connection waits for."""

    #: The first request, or the rest of the head of any.
    HEAD = enum.auto()
    #: The next request.
    IDLE = enum.auto()
    BODY = enum.auto()
    #: The server.
    RUN = enum.auto()
    #: The caller, who has an answer to read.
    READING = enum.auto()


class TimedConnection(H11Protocol):
    """One connection."""

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        state = {**app_state, SEND_AT_ONCE: self.send_at_once}
        super().__init__(config, server_state, state, _loop)
        self._connections = connections
        self._limits = connections.limits
        self._phase = _Phase.HEAD
        #: When the phase is looked at, by the loop's clock.
        self._deadline = 0.0
        #: Bytes that have come, and what was done of them or of an answer when the phase was looked at.
        self._received = 0
        self._progress = 0
        self._timer: asyncio.TimerHandle | None = None
        self._number = -1
        self._socket: socket.socket | None = None
        #: Whether the kernel keeps back segments that are not full.
        self._is_corked = False
        #: Whether each part of the answer leaves as it is written.
        self._at_once = False

    def send_at_once(self) -> None:
        """Keep nothing of the present answer back: who writes it may wait before its next part."""
        self._at_once = True
        self._cork(False)

    # -- uvicorn's hooks ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._socket = transport.get_extra_info("socket")
        self._number = transport.get_extra_info("socket").fileno()
        self._enter(_Phase.HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        self._update()

    def on_response_complete(self) -> None:
        self._at_once = False
        self._cork(False)
        super().on_response_complete()
        self._update()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._update()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._update()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP, and close; just close where an answer went out already."""
        self._refuse(400, b"Bad Request", msg)

    # -- phases ------------------------------------------------------------------------------------

    def _update(self) -> None:
        """Enter the phase that the connection is in now."""
        phase = self._present()
        if phase is not self._phase:
            self._enter(phase)
        # Not before the body is there: "100 Continue" goes out at once.
        self._cork(phase is _Phase.RUN and not self._at_once)

    def _cork(self, on: bool) -> None:
        """Keep back segments that are not full, or send them. An answer's are kept until it is whole."""
        if (
            on is not self._is_corked
            and self._socket is not None
            and not self.transport.is_closing()
        ):
            self._is_corked = on
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)

    def _present(self) -> _Phase:
        cycle = self.cycle
        if self.transport.is_closing() or self.flow.write_paused:
            return _Phase.READING
        if cycle is not None and not cycle.response_complete:
            # What the server has not read yet holds nobody up but itself.
            return _Phase.BODY if cycle.more_body and not self.flow.read_paused else _Phase.RUN
        if self.transport.get_write_buffer_size():
            return _Phase.READING
        if self.conn.their_state is h11.SEND_BODY:  # of a request that has been refused
            return _Phase.BODY
        if cycle is None or self.conn.trailing_data[0]:
            return _Phase.HEAD
        return _Phase.IDLE

    def _enter(self, phase: _Phase) -> None:
        limits, self._phase = self._limits, phase
        if phase is _Phase.RUN:
            self._connections.works(self._number)
        else:
            in_request = phase in (_Phase.BODY, _Phase.READING)
            self._connections.waits(self._number, in_request=in_request)
        seconds = limits.progress_seconds
        if phase is _Phase.HEAD:
            seconds = limits.head_seconds
        elif phase is _Phase.IDLE:
            seconds = limits.idle_seconds
        self._deadline = self.loop.time() + seconds
        self._progress = self._done()
        # The timer waits for what is first, but no request sets it anew that takes its usual way.
        is_usual = phase in (_Phase.RUN, _Phase.IDLE)
        if self._timer is None or (self._deadline < self._timer.when() and not is_usual):
            self._set_timer()

    def _done(self) -> int:
        """Return a count that grows as the phase moves on: bytes received, or fewer to be sent."""
        if self._phase is _Phase.READING:
            return -self.transport.get_write_buffer_size()
        return self._received

    def _look(self) -> None:
        """Close the connection if its time is over; else look again later."""
        self._update()
        now = self.loop.time()
        if now >= self._deadline:
            done = self._done()
            moves = self._phase in (_Phase.BODY, _Phase.READING)
            enough = moves and done - self._progress >= self._limits.progress_bytes
            if not (enough or self._phase is _Phase.RUN):
                self._expire()
            self._deadline = now + self._limits.progress_seconds
            self._progress = done
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(self._deadline, self._look)

    def _expire(self) -> None:
        if self._phase is _Phase.READING:
            self.transport.abort()
        elif self._phase is _Phase.BODY:
            self._refuse(408, b"Request Timeout", "the body of the request comes too slowly")
        elif self.conn.trailing_data[0]:
            self._refuse(408, b"Request Timeout", "the head of the request comes too slowly")
        else:
            self.transport.close()

    def _refuse(self, status: int, reason: bytes, text: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = error_body(text)
            headers = [
                ("content-type", JSON),
                ("connection", "close"),
                ("content-length", str(len(body))),
            ]
            events = (
                h11.Response(status_code=status, headers=headers, reason=reason),
                h11.Data(data=body),
                h11.EndOfMessage(),
            )
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
        self.transport.close()
