"""HTTP/2 frames, written by hand: what no gRPC client would send."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


OPENING = PREFACE + frame(SETTINGS, 0, 0)


def call(method: str, stream: int) -> bytes:
    """Return the headers of a call, which leave its message open."""
    fields = {
        ":method": "POST", ":scheme": "http", ":path": method, ":authority": "x",
        "te": "trailers", "content-type": "application/grpc",
    }  # fmt: skip
    block = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    return frame(HEADERS, 4, stream, block)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def frames(connection: socket.socket) -> "list[tuple[int, bytes]]":
    """Read to the end; return the kind and payload of each frame."""
    held = b""
    try:
        while part := connection.recv(1 << 16):
            held += part
    except ConnectionResetError:
        pass
    seen = []
    while len(held) >= 9:
        size = int.from_bytes(held[:3], "big")
        seen.append((held[3], held[9 : 9 + size]))
        held = held[9 + size :]
    return seen
