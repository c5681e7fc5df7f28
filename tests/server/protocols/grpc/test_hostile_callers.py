"""Callers who mean a gRPC server no good: whatever they send, a good caller is answered."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import grpc
import pytest

from tests.server.protocols.grpc.http2 import (
    DATA,
    GOAWAY,
    OPENING,
    PING,
    RST_STREAM,
    SETTINGS,
    call,
    connect,
    frame,
    frames,
)
from tests.waiting import until
from zoo_server.protocols.grpc.transport import open_transport
from zoo_server.protocols.grpc.transport.public import TransportOptions

Status = grpc.StatusCode


class Handlers(grpc.GenericRpcHandler):
    """An echo, and a stream that answers each message with many bytes."""

    def service(self, details):
        if details.method.endswith("Echo"):
            return grpc.unary_unary_rpc_method_handler(lambda message, _: message)
        return grpc.stream_stream_rpc_method_handler(
            lambda messages, _: (bytes(50_000) for _ in messages)
        )


@pytest.fixture
def port(transport):
    """Serve on a port: `with port(**options) as number`."""

    @contextmanager
    def serve(**options):
        with ThreadPoolExecutor(8) as workers:
            options = {"max_message_bytes": 100_000, "handler_threads": 8, **options}
            server = open_transport(
                transport, TransportOptions(host="127.0.0.1", port=0, **options), workers
            )
            number = server.bind()
            server.start([Handlers()])
            try:
                yield number
            finally:
                server.stop(0)

    return serve


def echoed(port):
    """Ask as everybody does, on a connection of its own."""
    with grpc.insecure_channel(
        f"127.0.0.1:{port}", (("grpc.use_local_subchannel_pool", 1),)
    ) as channel:
        return channel.unary_unary("/s/Echo")(b"x", timeout=10)


FLOODS = {
    "pings": (OPENING, frame(PING, 0, 0, bytes(8)) * 1000),
    "settings": (OPENING, frame(SETTINGS, 0, 0) * 1000),
    "garbage": (b"", bytes(range(256)) * 64),
    "a message without end": (
        OPENING + call("/s/Echo", 1),
        frame(DATA, 0, 1, b"\0\xff\xff\xff\xff" + bytes(16_000)),
    ),
    "empty data": (OPENING + call("/s/Echo", 1), frame(DATA, 0, 1) * 1000),
    "resets": (
        OPENING,
        b"".join(
            call("/s/Echo", number) + frame(RST_STREAM, 0, number, bytes(4))
            for number in range(1, 400, 2)
        ),
    ),
}


@contextmanager
def flooding(number, flood):
    """Send frames without end, and again on a new connection when the server closes one."""
    opening, burst = FLOODS[flood]
    over, sent = threading.Event(), []

    def send():
        while not over.is_set():
            with suppress(OSError), connect(number) as connection:
                connection.sendall(opening)
                connection.settimeout(0.2)
                while not over.is_set():
                    connection.sendall(burst)
                    sent.append(len(burst))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        until(lambda: len(sent) >= 3)
        yield
    finally:
        over.set()
        sender.join()


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_keeps_no_other_waiting(flood, port):
    """Callers on open and on new connections are answered beside it."""
    with (
        port() as number,
        grpc.insecure_channel(f"127.0.0.1:{number}") as channel,
        flooding(number, flood),
    ):
        for _ in range(5):
            assert channel.unary_unary("/s/Echo")(b"x", timeout=10) == b"x"
            assert echoed(number) == b"x"


#: As `zoo serve` runs the fast transport.
OLDER_POLLER = """
from zoo_server.protocols.grpc.poller import prefer_older_poller
assert prefer_older_poller()
"""


def test_a_flood_keeps_no_other_waiting_with_the_older_poller(repository, graphs, server_process):
    """There the thread that polls reads a connection for as long as something comes."""
    repository.add("m", graphs.identity())
    process = server_process(repository.path, "--grpc-port", "0", first=OLDER_POLLER)
    address = process.address()
    with (
        grpc.insecure_channel(address) as channel,
        flooding(int(address.rpartition(":")[2]), "settings"),
    ):
        for _ in range(5):
            live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            assert live(b"", timeout=5)


def test_too_many_pings_end_the_connection(port):
    """With GOAWAY, which says why."""
    with port() as number, connect(number) as connection:
        connection.sendall(OPENING + frame(PING, 0, 0, bytes(8)) * 10)
        kind, payload = frames(connection)[-1]
    assert (kind, b"too_many_pings" in payload) == (GOAWAY, True)


@pytest.mark.parametrize("limits", [{"max_connections": 8}, {"max_connections_of_a_peer": 8}])
@pytest.mark.parametrize("sent", [b"", OPENING])
def test_silent_connections_make_room(limits, sent, port):
    """Beyond the most, those that are silent longest are closed."""
    with port(**limits) as number, ExitStack() as stack:
        opened = [stack.enter_context(connect(number)) for _ in range(24)]
        for connection in opened:
            connection.sendall(sent)

        def ended(connection):
            connection.setblocking(False)
            try:
                while connection.recv(1 << 16):
                    pass
            except BlockingIOError:
                return False
            except ConnectionResetError:
                pass
            return True

        until(lambda: sum(map(ended, opened)) >= 16)
        assert echoed(number) == b"x"


def test_streams_of_one_peer_leave_room_for_calls(port, transport):
    """Who opens more streams than a peer may is refused the next, and calls are answered."""
    if transport == "public":
        pytest.skip("bounded by the threads that streams hold (InferStreams)")
    with (
        port(max_streams_of_a_peer=4) as number,
        grpc.insecure_channel(f"127.0.0.1:{number}") as channel,
    ):
        go = threading.Event()

        def requests():
            yield b"x"
            go.wait(10)

        streams = [channel.stream_stream("/s/Stream")(requests(), timeout=20) for _ in range(4)]
        assert [len(next(stream)) for stream in streams] == [50_000] * 4
        with pytest.raises(grpc.RpcError) as refused:
            next(channel.stream_stream("/s/Stream")(iter([b"x"]), timeout=10))
        assert refused.value.code() is Status.RESOURCE_EXHAUSTED
        assert echoed(number) == b"x"
        go.set()
        for stream in streams:
            assert list(stream) == []

        def another():
            with suppress(grpc.RpcError):
                return next(channel.stream_stream("/s/Stream")(iter([b"x"]), timeout=10))

        until(another)


def test_calls_whose_message_never_comes_make_room(port, transport):
    """As many as there may be calls, and no byte of a message: the next callers are answered."""
    if transport == "public":
        pytest.skip("grpcio's own server counts calls and cannot end those that wait")
    with port(max_calls=8) as number, connect(number) as connection:
        connection.sendall(OPENING + b"".join(call("/s/Echo", 2 * i + 1) for i in range(20)))

        def answered():
            with suppress(grpc.RpcError):
                return echoed(number)

        until(answered)
        assert [echoed(number) for _ in range(5)] == [b"x"] * 5
