"""Messages between the server and the processes of isolated models: pickled objects, arrays as raw bytes.

    8 bytes: parts, 8 bytes each: their sizes | pickle | the arrays' buffers

Both ends are this program's own, of one user, on a socket that nobody else can open.
"""

import pickle
import socket
import struct
from typing import Any

#: With this status a process ends that cannot hold a message: what follows in it could not be read.
OUT_OF_MEMORY = 12

_NUMBER = struct.Struct("<Q")


class Closed(Exception):
    """The other end is gone."""


def send(connection: socket.socket, message: object) -> None:
    """Send a message; Closed if nobody is there."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(body), *(buffer.raw() for buffer in buffers)]
    head = b"".join(_NUMBER.pack(number) for number in (len(parts), *map(len, parts)))
    try:
        connection.sendall(head + body if len(body) < 1 << 16 else head)
        for part in parts if len(body) >= 1 << 16 else parts[1:]:
            connection.sendall(part)
    except OSError:
        raise Closed from None


def receive(connection: socket.socket) -> Any:
    """Wait for a message; Closed if there is no more."""
    count = _NUMBER.unpack(_read(connection, _NUMBER.size))[0]
    sizes = struct.unpack(f"<{count}Q", _read(connection, _NUMBER.size * count))
    body, *buffers = (_read(connection, size) for size in sizes)
    return pickle.loads(body, buffers=buffers)


def _read(connection: socket.socket, size: int) -> bytearray:
    read = bytearray(size)
    view, at = memoryview(read), 0
    while at < size:
        try:
            count = connection.recv_into(view[at:])
        except OSError:
            raise Closed from None
        if not count:
            raise Closed
        at += count
    return read
