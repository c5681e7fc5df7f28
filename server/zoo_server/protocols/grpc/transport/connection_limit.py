"""How many gRPC connections there may be, in all and of one peer: the silent ones make room.

grpcio's core bounds connections in all only, by refusing new ones: whoever holds that many open would
keep everybody else out. This thread looks at the process's own sockets instead, once a second, and
shuts down those that have received nothing for longest; the core sees their end like any other.
A peer is an IPv4 address, or the /64 network of an IPv6 address.
"""

import logging
import os
import socket
import struct
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zoo_server.protocols.ports import peer_of

_LOG = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0

#: Where Linux says in its struct tcp_info how many milliseconds ago data was received last.
_LAST_RECEIVED = struct.Struct("=52xI")

_DESCRIPTORS = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class _Connection:
    descriptor: int
    peer: str
    silent_ms: int


class ConnectionLimit:
    """Watches the connections of one port, where the system says what they are (Linux)."""

    def __init__(self, most: int, most_of_a_peer: int) -> None:
        self._port = 0
        self._most = most
        self._most_of_a_peer = most_of_a_peer
        self._over = threading.Event()

    def start(self, port: int) -> None:
        """Begin to look at the connections of a port."""
        self._port = port
        if _DESCRIPTORS.is_dir() and hasattr(socket, "TCP_INFO"):
            threading.Thread(target=self._run, name="grpc-connections", daemon=True).start()

    def stop(self) -> None:
        """End; the thread follows within a second."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            descriptors = [int(path.name) for path in _DESCRIPTORS.iterdir()]
            if len(descriptors) <= min(self._most, self._most_of_a_peer):
                continue
            closed = self.close_surplus(descriptors)
            if closed:
                _LOG.warning("%d silent gRPC connections were closed to make room", closed)

    def close_surplus(self, descriptors: list[int]) -> int:
        """Shut down what is too many of the connections among some descriptors; return how many."""
        by_peer: dict[str, list[_Connection]] = defaultdict(list)
        for descriptor in descriptors:
            connection = self._connection(descriptor)
            if connection is not None:
                by_peer[connection.peer].append(connection)
        surplus: list[_Connection] = []
        kept: list[_Connection] = []
        for connections in by_peer.values():
            connections.sort(key=lambda each: each.silent_ms)
            kept += connections[: self._most_of_a_peer]
            surplus += connections[self._most_of_a_peer :]
        kept.sort(key=lambda each: each.silent_ms)
        surplus += kept[self._most :]
        return sum(self._shut_down(each) for each in surplus)

    def _connection(self, descriptor: int) -> _Connection | None:
        """Return what a descriptor is, None if it is no connection of the port."""
        try:
            # A descriptor of our own, since the core may close its own at any moment.
            with socket.socket(fileno=os.dup(descriptor)) as own:
                if own.getsockname()[1] != self._port:
                    return None
                peer = peer_of(own.getpeername())  # fails for what only listens
                info = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_RECEIVED.size)
        except (OSError, IndexError, TypeError):
            return None
        return _Connection(descriptor, peer, _LAST_RECEIVED.unpack(info)[0])

    def _shut_down(self, connection: _Connection) -> bool:
        with suppress(OSError), socket.socket(fileno=os.dup(connection.descriptor)) as own:
            # Closed meanwhile, the descriptor may be another's.
            if own.getsockname()[1] == self._port and peer_of(own.getpeername()) == connection.peer:
                own.shutdown(socket.SHUT_RDWR)
                return True
        return False
