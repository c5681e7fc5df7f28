"""gRPC's connections as the process's own sockets: how many there may be, and their end.

ConnectionLimit      bounds them, in all and of one peer: the silent ones make room
close_connections    closes all of them

grpcio's core bounds connections in all only, by refusing new ones: whoever holds that many open would
keep everybody else out. A thread looks at the process's own sockets instead, once a second, and
shuts down those that have received nothing for longest; the core sees their end like any other.
A peer is an IPv4 address, or the /64 network of an IPv6 address.
"""

import ctypes
import logging
import os
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from zoo_server.protocols.ports import peer_of

_LOG = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0

#: How long the core may take to close its connections, and how often it is looked whether it has.
_CLOSE_SECONDS, _CLOSE_LOOK_SECONDS = 0.2, 0.005

#: Where Linux says in its struct tcp_info how many milliseconds ago data was received last.
_LAST_RECEIVED = struct.Struct("=52xI")

_DESCRIPTORS = Path("/proc/self/fd")

#: Linux's struct sock_fprog of a filter of packets that is one instruction, "return 0": whoever
#: connects tries again until the port is closed, and then is refused. An end of the listening socket
#: itself would be an error in the core's log.
_SO_ATTACH_FILTER = 26
_RETURN_NOTHING = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0), 8)
_NOTHING_PASSES = struct.pack("@HP", 1, ctypes.addressof(_RETURN_NOTHING))


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
        with suppress(OSError), _duplicate(descriptor, self._port) as own:
            info = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_RECEIVED.size)
            return _Connection(
                descriptor, peer_of(own.getpeername()), _LAST_RECEIVED.unpack(info)[0]
            )
        return None

    def _shut_down(self, connection: _Connection) -> bool:
        with suppress(OSError), _duplicate(connection.descriptor, self._port) as own:
            if peer_of(own.getpeername()) == connection.peer:  # else it was closed meanwhile
                own.shutdown(socket.SHUT_RDWR)
                return True
        return False


def close_connections(port: int) -> None:
    """Close every connection of a port, and return once the core has; what it has written arrives.

    A call that comes while the core shuts down would hear CANCELLED, as if its caller had wanted
    that; of a connection that closes it hears UNAVAILABLE. No new connection comes in the meantime.
    """
    end = time.monotonic() + _CLOSE_SECONDS
    while _shut_down_all(port) and time.monotonic() < end:
        time.sleep(_CLOSE_LOOK_SECONDS)


def _shut_down_all(port: int) -> int:
    """Let the core read the end of every connection; return how many there are."""
    count = 0
    for path in _DESCRIPTORS.iterdir() if _DESCRIPTORS.is_dir() else ():
        with suppress(OSError), _duplicate(int(path.name), port) as own:
            if own.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                own.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _NOTHING_PASSES)
            else:
                own.shutdown(socket.SHUT_RD)
                count += 1
    return count


@contextmanager
def _duplicate(descriptor: int, port: int) -> Iterator[socket.socket]:
    """Open a socket of a port anew: the core may close its own at any moment. OSError if it is none."""
    duplicate = os.dup(descriptor)
    try:
        own = socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise
    with own:
        name = own.getsockname()
        if not (isinstance(name, tuple) and name[1] == port):
            raise OSError("another socket")
        yield own
