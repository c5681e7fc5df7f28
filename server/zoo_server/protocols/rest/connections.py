"""The open connections of one HTTP port: how many there may be, and which one makes room for another.

    accept ──> room? ──> counted ──> handshake, requests … ──> closed
                 └─ no ──> the connection that has kept the server waiting longest is closed

Connections are counted as sockets, from accept to close: a TLS handshake that never ends counts too.
"""

import logging
import socket
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain

from zoo_server.protocols.ports import peer_of

_LOG = logging.getLogger(__name__)

#: Connections that are accepted before the requests of others are read.
_ACCEPTED_AT_ONCE = 64

#: At most one line about connections that had to go in so many seconds.
_LOG_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What one port grants its peers."""

    #: Connections at once, in all and of one peer. For the sake of another one, the connection is
    #: closed that has waited longest for its peer; while every one has an answer coming, the next is
    #: answered 503.
    most: int = 4096
    most_of_a_peer: int = 1024
    #: Seconds until the first request's head is whole, and each further one's from its first byte.
    head_seconds: float = 30.0
    #: Seconds without a request, once one was answered: clients that pool their connections must not
    #: find them closed.
    idle_seconds: float = 75.0
    #: A body, and the reading of an answer, must move by so many bytes in each so many seconds.
    progress_seconds: float = 20.0
    progress_bytes: int = 10_000


@dataclass(slots=True, eq=False)
class _Accepted:
    """One connection."""

    socket: socket.socket
    peer: str


@dataclass(slots=True)
class _Waiting:
    """Connections that wait for their peers, longest first; those without any request come before."""

    idle: dict[_Accepted, None] = field(default_factory=dict)
    in_request: dict[_Accepted, None] = field(default_factory=dict)

    def discard(self, one: _Accepted) -> None:
        self.idle.pop(one, None)
        self.in_request.pop(one, None)

    def longest(self) -> _Accepted | None:
        return next(chain(self.idle, self.in_request), None)


class Connections:
    """The connections of one port; used by the event loop only."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: dict[int, _Accepted] = {}
        self._of_peer: Counter[str] = Counter()
        self._waiting = _Waiting()
        self._waiting_of_peer: dict[str, _Waiting] = {}
        #: How many had to go for another since the last line about it, and when that was.
        self._closed = 0
        self._logged_at = -_LOG_SECONDS

    def __len__(self) -> int:
        return len(self._open)

    def add(self, accepted: socket.socket, address: Sequence[object]) -> None:
        """Count a connection, and close another one if there are too many."""
        one = _Accepted(accepted, peer_of(address))
        limits, peer = self.limits, one.peer
        longest = None
        if self._of_peer[peer] >= limits.most_of_a_peer:
            # One of its own, or this one where all of them have answers coming.
            waiting = self._waiting_of_peer.get(peer)
            longest = waiting.longest() if waiting is not None else one
        elif len(self._open) >= limits.most:
            longest = self._waiting.longest()
        self._open[accepted.fileno()] = one
        self._of_peer[peer] += 1
        self._list(one, in_request=False)
        if longest is not None:
            self._close(longest)

    def discard(self, number: int) -> None:
        """Forget a connection whose descriptor is about to be closed."""
        one = self._open.pop(number, None)
        if one is None:
            return
        self._unlist(one)
        self._of_peer[one.peer] -= 1
        if not self._of_peer[one.peer]:
            del self._of_peer[one.peer]

    def waits(self, number: int, *, in_request: bool) -> None:
        """Note that a connection waits for its peer from now on; `in_request` is within a request."""
        one = self._open.get(number)
        if one is not None:
            self._unlist(one)
            self._list(one, in_request=in_request)

    def works(self, number: int) -> None:
        """Note that something is computed for a connection."""
        one = self._open.get(number)
        if one is not None:
            self._unlist(one)

    def _list(self, one: _Accepted, *, in_request: bool) -> None:
        for waiting in (self._waiting, self._waiting_of_peer.setdefault(one.peer, _Waiting())):
            (waiting.in_request if in_request else waiting.idle)[one] = None

    def _unlist(self, one: _Accepted) -> None:
        self._waiting.discard(one)
        of_peer = self._waiting_of_peer.get(one.peer)
        if of_peer is not None:
            of_peer.discard(one)
            if not (of_peer.idle or of_peer.in_request):
                del self._waiting_of_peer[one.peer]

    def _close(self, one: _Accepted) -> None:
        """Shut a connection down: its transport reads the end, and closes it."""
        of_peer = self._of_peer[one.peer]
        self.discard(one.socket.fileno())
        with suppress(OSError):  # its peer has closed it
            one.socket.shutdown(socket.SHUT_RDWR)
        self._closed += 1
        now = time.monotonic()
        if now - self._logged_at >= _LOG_SECONDS:
            _LOG.warning(
                "%d HTTP connections, %d of them of %s: %d that waited were closed to make room",
                len(self._open) + 1,
                of_peer,
                one.peer,
                self._closed,
            )
            self._closed, self._logged_at = 0, now


class CountedListener(socket.socket):
    """A listening socket whose connections are counted."""

    connections: Connections
    _accepted = 0

    @classmethod
    def of(cls, listener: socket.socket, connections: Connections) -> "CountedListener":
        """Take a listening socket over."""
        counted = cls(fileno=listener.detach())
        counted.connections = connections
        return counted

    def accept(self) -> tuple[socket.socket, Sequence[object]]:
        """Accept a connection, as socket.socket does; now and then none, as if there were no more.

        The event loop accepts all that wait before it reads a request: of very many, the first
        would make room for the last unread.
        """
        self._accepted += 1
        if not self._accepted % _ACCEPTED_AT_ONCE:
            raise BlockingIOError
        plain, address = super().accept()
        accepted = _CountedSocket(fileno=plain.detach())
        accepted.connections = self.connections
        self.connections.add(accepted, address)
        return accepted, address


class _CountedSocket(socket.socket):
    """One connection, which is no longer counted once it is closed."""

    connections: Connections

    def close(self) -> None:
        number = self.fileno()
        if number >= 0:
            self.connections.discard(number)
        super().close()
