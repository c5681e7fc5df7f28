"""HTTP connections that keep the server waiting: each ends in its time, and never at another's cost."""

import asyncio
import http.client
import json
import socket
import ssl
import threading
import time
from asyncio.trsock import TransportSocket
from contextlib import ExitStack, contextmanager

import pytest
import trustme

from tests.waiting import until
from zoo_server.protocols.rest.asgi import SEND_AT_ONCE, respond
from zoo_server.protocols.rest.connections import ConnectionLimits
from zoo_server.protocols.rest.http_server import HttpListener, HttpTransport

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
BRIEF = {"head_seconds": 0.3, "idle_seconds": 0.3, "progress_seconds": 0.2}


async def answering(scope, receive, send):
    """Read the body; answer with as many bytes as the path says."""
    while (message := await receive()).get("more_body"):
        pass
    if message["type"] == "http.request":
        await respond(send, 200, bytes(int(scope["path"][1:] or 2)), {})


@pytest.fixture
def http_port():
    """Serve on a port with limits: `port = http_port(most=3)`."""
    with ExitStack() as stack:

        def start(tls=None, application=answering, **limits):
            listener = HttpListener(name="HTTP", port=0, flag="--http-port")
            limits = ConnectionLimits(**limits)
            transport = HttpTransport("127.0.0.1", [listener], tls, limits=limits)
            (port,) = transport.bind()
            transport.start({"HTTP": lambda: application})
            stack.callback(transport.stop, 0)
            return port

        yield start


@contextmanager
def caller(port):
    """Open a connection that sends what it likes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        yield connection


def status_of(port, path="/"):
    """Ask as everybody does, on a connection of its own; return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def end_of(connection):
    """Read to the end; return what came."""
    parts = []
    while True:
        try:
            part = connection.recv(1 << 16)
        except ConnectionResetError:
            part = b""
        if not part:
            return b"".join(parts)
        parts.append(part)


def drip(connection, first, byte=b"x"):
    """Send a byte at a time until the connection ends; return what the server said."""
    connection.sendall(first)
    connection.settimeout(0.03)
    until_then = time.monotonic() + 20
    while time.monotonic() < until_then:
        try:
            connection.sendall(byte)
            said = connection.recv(1 << 16)
        except TimeoutError:
            continue
        except OSError:
            return b""
        connection.settimeout(20)
        return said and said + end_of(connection)
    raise AssertionError("it never ended")


@pytest.mark.parametrize("sent", [b"", HEAD, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_silent_connection_ends(http_port, sent):
    """One that sends nothing, half a head, or nothing more once it was answered."""
    with caller(http_port(**BRIEF)) as connection:
        connection.sendall(sent)
        said = end_of(connection)
    assert said[9:12] == {b"": b"", HEAD: b"408"}.get(sent, b"200")


@pytest.mark.parametrize(
    ("first", "byte", "what"),
    [
        (HEAD + b"A: ", b"x", "head"),
        (HEAD + b"Content-Length: 100000\r\n\r\n", b"x", "body"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", "body"),
    ],
)
def test_a_byte_at_a_time_is_too_slow(http_port, first, byte, what):
    """A head has its time, and a body must move: else 408 says what was too slow."""
    port, head, body = http_port(**BRIEF), b"", b""
    while (
        not body
    ):  # a byte that crosses the answer resets the connection, and may take some of it along
        with caller(port) as connection:
            head, _, body = drip(connection, first, byte).partition(b"\r\n\r\n")
    assert b" 408 Request Timeout" in head
    assert json.loads(body) == {"error": f"the {what} of the request comes too slowly"}


def test_a_body_that_moves_has_its_time(http_port):
    """Slower than all limits together, but never too slow."""
    port = http_port(**{**BRIEF, "progress_seconds": 1.0}, progress_bytes=1000)
    with caller(port) as connection:
        connection.sendall(HEAD + b"Content-Length: 90000\r\n\r\n")
        for _ in range(30):
            connection.sendall(bytes(3000))
            time.sleep(0.05)
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_a_body_that_was_refused_must_move_too(http_port):
    """An answer that did not wait for the body leaves no connection that may drip for ever."""

    async def refusing(scope, receive, send):
        await respond(send, 400, b"no", {})

    with caller(http_port(application=refusing, **BRIEF)) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 400"
        drip(connection, b"")


def test_an_answer_that_nobody_reads_is_dropped(http_port):
    """Its bytes are held for as long as somebody takes some of them, and no longer."""
    port = http_port(**BRIEF)

    def read_after(seconds):
        with caller(port) as connection:
            connection.sendall(b"GET /50000000 HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(seconds)
            return len(end_of(connection))

    # Longer where the machine is so busy that the server itself comes late.
    assert any(read_after(seconds) < 50_000_000 for seconds in (1, 2, 4, 8))
    assert status_of(port, "/50000000") == 200


@pytest.mark.parametrize(
    ("limits", "sent"),
    [
        ({"most": 8}, b""),
        ({"most": 8}, HEAD),
        ({"most": 8}, HEAD + b"Content-Length: 9\r\n\r\n"),
        ({"most_of_a_peer": 8}, HEAD),
    ],
)
def test_who_waits_longest_makes_room(http_port, limits, sent):
    """However many connections keep the server waiting, a caller is answered at once."""
    port = http_port(**limits)
    with ExitStack() as stack:
        opened = [stack.enter_context(caller(port)) for _ in range(24)]
        for connection in opened:
            connection.sendall(sent)
        assert [status_of(port) for _ in range(4)] == [200] * 4
        assert end_of(opened[0]) == b""
        newest = opened[-1]
        newest.setblocking(False)
        with pytest.raises(BlockingIOError):
            newest.recv(1)


def test_no_running_request_makes_room(http_port):
    """Where every connection has an answer coming the next is told to come again: 503."""
    go = []

    async def slow(scope, receive, send):
        go.append(scope)
        while len(go) < 100:
            await asyncio.sleep(0.01)
        await respond(send, 200, b"ok", {})

    port = http_port(application=slow, most=2)
    with ExitStack() as stack:
        opened = [stack.enter_context(caller(port)) for _ in range(2)]
        for connection in opened:
            connection.sendall(HEAD + b"Content-Length: 0\r\n\r\n")
        until(lambda: len(go) == 2)
        assert status_of(port) == 503
        go += [None] * 100
        assert [connection.recv(12) for connection in opened] == [b"HTTP/1.1 200"] * 2


def test_handshakes_that_never_end_make_room_too(http_port):
    """Over TLS a connection counts from its first packet on."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    port = http_port(tls=context, most=8)
    with ExitStack() as stack:
        opened = [stack.enter_context(caller(port)) for _ in range(24)]
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=trusting)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        assert end_of(opened[0]) == b""


def test_an_answer_in_parts_leaves_part_by_part(http_port, monkeypatch):
    """Nothing of it is kept back until the next part; the answer after it is whole again."""
    kept_back, set_option = [], TransportSocket.setsockopt

    def setsockopt(self, level, option, value):
        set_option(self, level, option, value)
        if option == socket.TCP_CORK:
            kept_back.append(value)

    monkeypatch.setattr(TransportSocket, "setsockopt", setsockopt)
    read = threading.Event()

    async def in_parts(scope, receive, send):
        if scope["path"] == "/5":
            await answering(scope, receive, send)
            return
        await receive()
        scope["state"][SEND_AT_ONCE]()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await asyncio.to_thread(read.wait, 20)
        await send({"type": "http.response.body", "body": b"two"})

    connection = http.client.HTTPConnection(
        "127.0.0.1", http_port(application=in_parts), timeout=20
    )
    connection.request("POST", "/", b"x")
    answer = connection.getresponse()
    assert answer.read(3) == b"one"
    assert kept_back == [True, False]
    read.set()
    assert answer.read() == b"two"
    kept_back.clear()
    connection.request("POST", "/5", b"x")
    assert connection.getresponse().status == 200
    until(lambda: kept_back == [True, False])
    connection.close()
