"""What a gRPC server owes its handlers and its callers: one suite over both transports."""

import gc
import queue
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from tests.waiting import until
from zoo_server.errors import AddressError
from zoo_server.protocols.grpc.transport import open_transport
from zoo_server.protocols.grpc.transport.public import TransportOptions

Status = grpc.StatusCode


class Handlers(grpc.GenericRpcHandler):
    """Handlers by the last part of the method's name."""

    def __init__(self, **handlers):
        self._handlers = handlers

    def service(self, details):
        return self._handlers.get(details.method.rpartition("/")[2])


def unary(behaviour):
    return grpc.unary_unary_rpc_method_handler(behaviour)


@pytest.fixture
def served(transport):
    """Serve handlers: `with served(Name=handler) as channel:`."""

    @contextmanager
    def serve(grace=5.0, channel_options=(), **handlers):
        options = {"max_message_bytes": 100_000, **handlers.pop("options", {})}
        workers = ThreadPoolExecutor(8, "worker")
        server = open_transport(
            transport,
            TransportOptions(host="127.0.0.1", port=0, handler_threads=8, **options),
            workers,
        )
        port = server.bind()
        server.start([Handlers(**handlers)])
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}", channel_options) as channel:
                channel.server, channel.port = server, port
                yield channel
        finally:
            server.stop(grace)
            workers.shutdown()

    return serve


def call(channel, name, message=b"x", **options):
    return channel.unary_unary(f"/s/{name}")(message, timeout=options.pop("timeout", 10), **options)


def status_of(error):
    return error.value.code(), error.value.details()


def test_a_handler_sees_its_call(served):
    """Metadata, peer and the time left arrive; initial and trailing metadata go back."""
    seen = {}

    def handler(message, context):
        seen["metadata"] = dict(context.invocation_metadata())
        seen["peer"] = context.peer()
        seen["left"] = context.time_remaining()
        seen["active"] = context.is_active()
        seen["auth"] = (context.peer_identities(), context.peer_identity_key())
        context.send_initial_metadata((("first", "1"),))
        context.set_trailing_metadata((("last", "2"), ("raw-bin", b"\x00\xff")))
        return message[::-1]

    with served(Echo=unary(handler)) as channel:
        answer, done = channel.unary_unary("/s/Echo").with_call(
            b"abc", timeout=10, metadata=(("asked", "yes"), ("data-bin", b"\x01"))
        )

    assert answer == b"cba"
    assert seen["metadata"]["asked"] == "yes"
    assert seen["metadata"]["data-bin"] == b"\x01"
    assert seen["peer"].startswith("ipv4:127.0.0.1:")
    assert 5 < seen["left"] < 11  # the wire rounds timeouts up
    assert seen["active"] is True
    assert seen["auth"] == (None, None)
    assert ("first", "1") in [tuple(pair) for pair in done.initial_metadata()]
    trailing = dict(done.trailing_metadata())
    assert trailing["last"] == "2"
    assert trailing["raw-bin"] == b"\x00\xff"


def test_statuses_and_details(served):
    """A status set, an abort, a rich status and an error each reach the caller as meant."""

    def sets(_message, context):
        context.set_code(Status.FAILED_PRECONDITION)
        context.set_details("as set")
        return b""

    def aborts(_message, context):
        context.abort(Status.NOT_FOUND, "größer")

    def raises(_message, _context):
        raise RuntimeError("inside")

    with served(Sets=unary(sets), Aborts=unary(aborts), Raises=unary(raises)) as channel:
        found = {}
        for name in ("Sets", "Aborts", "Raises", "Nowhere"):
            with pytest.raises(grpc.RpcError) as error:
                call(channel, name)
            found[name] = status_of(error)

    assert found == {
        "Sets": (Status.FAILED_PRECONDITION, "as set"),
        "Aborts": (Status.NOT_FOUND, "größer"),
        "Raises": (Status.UNKNOWN, "Exception calling application: inside"),
        "Nowhere": (Status.UNIMPLEMENTED, "Method not found!"),
    }


def test_deadline_and_cancellation_reach_the_handler(served):
    """A handler that still works learns that nobody waits, and its late answer harms nobody."""
    entered, told, left = threading.Event(), threading.Event(), threading.Event()

    def slow(_message, context):
        assert context.add_callback(told.set)
        entered.set()
        assert told.wait(10)
        assert not context.is_active()
        left.set()
        return b"too late"

    with served(Slow=unary(slow), Echo=unary(lambda message, _: message)) as channel:
        for how in ("deadline", "cancel"):
            for event in (entered, told, left):
                event.clear()
            future = channel.unary_unary("/s/Slow").future(
                b"", timeout=0.2 if how == "deadline" else 10
            )
            assert entered.wait(10)
            if how == "cancel":
                future.cancel()
            assert left.wait(10)
        assert call(channel, "Echo") == b"x"


@pytest.mark.parametrize("way", ["request", "answer"])
def test_message_caps(way, served):
    """A message above the cap ends its call with RESOURCE_EXHAUSTED, and no other."""
    size = 200_000
    big = [("grpc.max_receive_message_length", -1)]
    with served(
        Give=unary(lambda message, _: bytes(int(message or b"0"))),
        Take=unary(lambda message, _: b"ok"),
        channel_options=big,
    ) as channel:
        name, message = ("Take", bytes(size)) if way == "request" else ("Give", b"%d" % size)
        with pytest.raises(grpc.RpcError) as error:
            call(channel, name, message)
        assert error.value.code() is Status.RESOURCE_EXHAUSTED
        assert call(channel, "Take") == b"ok"


def test_compression_both_ways(served):
    """Compressed requests are understood, and a handler may compress its answer."""

    def handler(message, context):
        context.set_compression(grpc.Compression.Gzip)
        return message * 2

    text = b"abc" * 10_000
    with served(Echo=unary(handler)) as channel:
        answer, done = channel.unary_unary("/s/Echo").with_call(
            text, timeout=10, compression=grpc.Compression.Gzip
        )

        assert answer == text * 2
        assert done.code() is Status.OK


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate], ids=str)
def test_a_message_that_decompresses_past_the_cap(algorithm, served):
    """A thousandth of its size on the wire, and within the cap there: RESOURCE_EXHAUSTED."""
    bomb = bytes(20_000_000)
    seen = []
    with served(Take=unary(lambda message, _: seen.append(len(message)) or b"ok")) as channel:
        with pytest.raises(grpc.RpcError) as error:
            call(channel, "Take", bomb, compression=algorithm)
        stream = channel.stream_stream("/s/Take")(iter([bomb]), timeout=10, compression=algorithm)
        with pytest.raises(grpc.RpcError) as streamed:
            next(stream)
        fits = call(channel, "Take", bytes(90_000), compression=algorithm)

    code, text = status_of(error)
    assert code is Status.RESOURCE_EXHAUSTED
    assert "Decompressed message larger than max" in text
    assert streamed.value.code() is Status.RESOURCE_EXHAUSTED
    assert (fits, seen) == (b"ok", [90_000])


def test_the_four_kinds(served):
    """Unary and streams, in and out, by grpcio's own iterator handlers."""
    with served(
        Count=grpc.unary_stream_rpc_method_handler(
            lambda message, _: (bytes([number]) for number in range(message[0]))
        ),
        Sum=grpc.stream_unary_rpc_method_handler(
            lambda messages, _: bytes([sum(message[0] for message in messages)])
        ),
        Double=grpc.stream_stream_rpc_method_handler(
            lambda messages, _: (message * 2 for message in messages)
        ),
    ) as channel:
        counted = list(channel.unary_stream("/s/Count")(b"\x05", timeout=10))
        summed = channel.stream_unary("/s/Sum")(iter([b"\x01", b"\x02", b"\x03"]), timeout=10)
        doubled = list(
            channel.stream_stream("/s/Double")(iter([b"a" * 300, b"b"] * 500), timeout=20)
        )

    assert counted == [bytes([number]) for number in range(5)]
    assert summed == b"\x06"
    assert doubled == [b"a" * 600, b"bb"] * 500


def test_a_stream_that_fails_keeps_what_it_said(served):
    """Answers sent before an error arrive, then its status."""

    def half(messages, context):
        yield next(messages)
        context.abort(Status.DATA_LOSS, "no more")

    with served(Half=grpc.stream_stream_rpc_method_handler(half)) as channel:
        answers = channel.stream_stream("/s/Half")(iter([b"a", b"b"]), timeout=10)
        assert next(answers) == b"a"
        with pytest.raises(grpc.RpcError) as error:
            next(answers)

    assert status_of(error) == (Status.DATA_LOSS, "no more")


def test_a_cancelled_stream_ends_its_handler(served):
    """A handler that waits for a next message, or for a reader, is let go when the caller leaves."""
    waiting, ended = threading.Event(), threading.Event()

    def reads(messages, _context):
        try:
            for message in messages:
                yield message
                waiting.set()
        finally:
            ended.set()

    def writes(_message, _context):
        try:
            for _ in range(100_000):
                yield bytes(50_000)
                waiting.set()
        finally:
            ended.set()

    hold = threading.Event()

    def one():
        yield b"a"
        hold.wait(10)

    with served(
        Reads=grpc.stream_stream_rpc_method_handler(reads),
        Writes=grpc.unary_stream_rpc_method_handler(writes),
    ) as channel:
        for stream in (
            channel.stream_stream("/s/Reads")(one()),
            channel.unary_stream("/s/Writes")(b""),
        ):
            waiting.clear()
            ended.clear()
            assert next(stream)
            assert waiting.wait(10)
            stream.cancel()
            assert ended.wait(10)
        hold.set()


def test_more_calls_than_allowed_are_refused(served):
    """Beyond max_calls the answer is RESOURCE_EXHAUSTED, until one is over."""
    go, entered = threading.Event(), threading.Semaphore(0)

    def slow(message, _context):
        entered.release()
        assert go.wait(10)
        return message

    with served(Slow=unary(slow), options={"max_calls": 2}) as channel:
        pending = [channel.unary_unary("/s/Slow").future(b"x", timeout=10) for _ in range(2)]
        for _ in pending:
            assert entered.acquire(timeout=10)
        with pytest.raises(grpc.RpcError) as error:
            call(channel, "Slow")
        go.set()
        assert [future.result() for future in pending] == [b"x", b"x"]

    assert status_of(error) == (Status.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")


def refusal_of_new_calls(port):
    """Call from new connections until one is refused: the listener closes soon after a stop."""
    while True:
        with grpc.insecure_channel(
            f"127.0.0.1:{port}", (("grpc.use_local_subchannel_pool", 1),)
        ) as channel:
            try:
                call(channel, "Echo")
            except grpc.RpcError as error:
                return error.code()


def test_a_graceful_stop_finishes_what_is_under_way(served):
    """Calls under way are answered, new ones are not taken; then the port is free."""
    go, entered = threading.Event(), threading.Event()

    def slow(message, _context):
        entered.set()
        assert go.wait(10)
        return message

    with served(Slow=unary(slow), Echo=unary(lambda message, _: message)) as channel:
        future = channel.unary_unary("/s/Slow").future(b"x", timeout=10)
        assert entered.wait(10)
        stopper = threading.Thread(target=channel.server.stop, args=(10,))
        stopper.start()
        assert refusal_of_new_calls(channel.port) is Status.UNAVAILABLE
        go.set()
        assert future.result() == b"x"
        stopper.join(10)
        assert not stopper.is_alive()


def test_a_stop_cuts_off_what_outlasts_its_grace(served):
    """After the grace the caller is told, whatever the handler does; stopping twice is no error."""
    go, entered = threading.Event(), threading.Event()

    def slow(message, _context):
        entered.set()
        assert go.wait(10)
        return message

    with served(Slow=unary(slow), grace=0) as channel:
        future = channel.unary_unary("/s/Slow").future(b"x", timeout=10)
        assert entered.wait(10)
        stopper = threading.Thread(target=channel.server.stop, args=(0.05,))
        stopper.start()
        with pytest.raises(grpc.RpcError) as error:
            future.result()
        go.set()
        stopper.join(10)

    assert error.value.code() is Status.UNAVAILABLE


def test_no_late_call_is_cancelled(served):
    """Whenever a call comes while the server leaves, it is answered or hears UNAVAILABLE."""
    statuses = set()
    over, began = threading.Event(), threading.Semaphore(0)

    def ask(port):
        while not over.is_set():
            options = (("grpc.use_local_subchannel_pool", 1),)
            with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
                echo = channel.unary_unary("/s/Echo")
                for future in [echo.future(b"x", timeout=10) for _ in range(50)]:
                    error = future.exception()
                    statuses.add(Status.OK if error is None else error.code())
                    began.release()

    with served(Echo=unary(lambda message, _: message)) as channel:
        askers = [threading.Thread(target=ask, args=(channel.port,)) for _ in range(3)]
        for asker in askers:
            asker.start()
        for _ in range(300):
            assert began.acquire(timeout=10)
        channel.server.stop(1)
        for _ in range(300):
            assert began.acquire(timeout=10)
        over.set()
        for asker in askers:
            asker.join()

    assert statuses == {Status.OK, Status.UNAVAILABLE}


def test_a_port_in_use_is_said(served, transport):
    """Binding a port that somebody listens on names the port and the cure."""
    with served(Echo=unary(lambda message, _: message)) as channel:
        options = TransportOptions(
            host="127.0.0.1", port=channel.port, handler_threads=1, max_message_bytes=1000
        )
        workers = ThreadPoolExecutor(1)
        second = open_transport(transport, options, workers)
        with pytest.raises(AddressError, match="the port is in use"):
            second.bind()
        second.stop(0)
        workers.shutdown()


def test_a_caller_who_hangs_up_is_no_error_of_the_handlers(served, caplog):
    """A handler that waits for the next request learns of it; the log does not.

    The core ends the requests before it tells that the caller is gone, so that a handler may by
    chance see them end as if the caller had only finished sending; on both transports.
    """
    learned = queue.Queue()
    asks = threading.Event()

    def streams(messages, _context):
        try:
            yield next(messages)
            asks.set()
            yield from messages
            learned.put(None)
        except Exception as error:
            learned.put(error)
            raise

    def hang_up(channel):
        more = threading.Event()

        def requests():
            yield b"first"
            more.wait(10)

        asks.clear()
        stream = channel.stream_stream("/s/Stream")(requests(), timeout=10)
        assert next(stream) == b"first"
        assert asks.wait(10)  # one that is just answering is closed, and hears of no error
        stream.cancel()
        more.set()
        return learned.get(timeout=10)

    with served(Stream=grpc.stream_stream_rpc_method_handler(streams)) as channel:
        told = [error for error in (hang_up(channel) for _ in range(20)) if error is not None]

    assert told, "nobody was told in twenty tries"
    assert all(isinstance(error, grpc.RpcError) for error in told)
    assert not caplog.records


@pytest.mark.parametrize("transport", ["fast"])  # grpcio's own server does leave cycles
def test_a_call_that_is_over_is_let_go_of_without_the_collector(served):
    """Answered, failed, streamed or cancelled: no cycle is left for a collection to find."""
    contexts = []

    def remembers(message, context):
        contexts.append(weakref.ref(context))
        if message == b"fail":
            context.abort(Status.NOT_FOUND, "no")
        return message

    def streams(messages, context):
        contexts.append(weakref.ref(context))
        yield from messages

    def forgotten():
        return all(context() is None for context in contexts)

    gc.disable()
    try:
        with served(
            Echo=unary(remembers), Stream=grpc.stream_stream_rpc_method_handler(streams)
        ) as channel:
            call(channel, "Echo")
            with pytest.raises(grpc.RpcError):
                call(channel, "Echo", b"fail")
            stream = channel.stream_stream("/s/Stream")
            assert list(stream(iter([b"a", b"b"]), timeout=10)) == [b"a", b"b"]
            gone = threading.Event()
            endless = stream(iter(lambda: gone.wait(0.01) or b"a", None), timeout=10)
            next(endless)
            endless.cancel()
            until(forgotten)
            gone.set()

            assert len(contexts) == 4
    finally:
        gc.enable()
