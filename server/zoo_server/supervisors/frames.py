"""What goes through the pipe between the supervisor and a worker.

    kind   number   length of name   length of payload   name    payload
    u8     u64      u16              u64                 UTF-8   bytes

    CALL      number of the call    method        request
    ANSWER    number of the call                  answer
    FAILURE   number of the call    error's class its text
    TELL      0                     subject       what is told; nobody answers

Both ends number their own calls. A payload is at most one gRPC message (server/zoo_server/config.py).
"""

import asyncio
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum

from zoo_server import errors
from zoo_server.config import MAX_MESSAGE_BYTES

_HEADER = struct.Struct("!BQHQ")

#: A message, and what little may stand around it.
_MOST_BYTES = MAX_MESSAGE_BYTES + 65536


class Kind(IntEnum):
    """What a frame is for."""

    CALL = 1
    ANSWER = 2
    FAILURE = 3
    TELL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One of them."""

    kind: Kind
    number: int = 0
    name: str = ""
    payload: bytes = b""

    def parts(self) -> tuple[bytes, bytes]:
        """Return what to write, in two pieces so that a large payload is not copied."""
        name = self.name.encode()
        head = _HEADER.pack(self.kind, self.number, len(name), len(self.payload))
        return head + name, self.payload

    @classmethod
    def failure(cls, number: int, error: Exception) -> "Frame":
        """Return the frame that says how a call has failed."""
        text = str(error) if isinstance(error, errors.ServerError) else repr(error)
        return cls(
            kind=Kind.FAILURE, number=number, name=type(error).__name__, payload=text.encode()
        )

    def error(self) -> Exception:
        """Return the error of a FAILURE: what was raised on the other end, if it is one of ours."""
        kind = getattr(errors, self.name, None)
        text = self.payload.decode("utf-8", "replace")
        if isinstance(kind, type) and issubclass(kind, errors.ServerError):
            return kind(text)
        return RuntimeError(f"another process of the server failed: {text}")


async def read(reader: asyncio.StreamReader) -> Frame | None:
    """Return the next frame, None at the end."""
    try:
        head = await reader.readexactly(_HEADER.size)
        kind, number, name, payload = _sizes(head)
        body = await reader.readexactly(name + payload)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return _frame(kind, number, body, name)


def receive(pipe: socket.socket) -> Frame | None:
    """Return the next frame, None at the end."""
    try:
        head = _exactly(pipe, _HEADER.size)
        if head is None:
            return None
        kind, number, name, payload = _sizes(head)
        body = _exactly(pipe, name + payload)
    except ConnectionError:
        return None
    return None if body is None else _frame(kind, number, body, name)


def _sizes(head: bytes) -> tuple[int, int, int, int]:
    kind, number, name, payload = _HEADER.unpack(head)
    if payload > _MOST_BYTES:
        raise ValueError(f"a frame of {payload} bytes is longer than {_MOST_BYTES}")
    return kind, number, name, payload


def _frame(kind: int, number: int, body: bytes, name: int) -> Frame:
    return Frame(
        kind=Kind(kind), number=number, name=body[:name].decode(), payload=bytes(body[name:])
    )


def _exactly(pipe: socket.socket, size: int) -> bytes | None:
    taken = bytearray(size)
    view, filled = memoryview(taken), 0
    while filled < size:
        count = pipe.recv_into(view[filled:])
        if not count:
            return None
        filled += count
    return bytes(taken)
