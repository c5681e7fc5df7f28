"""What a gRPC server owes its handlers and its callers: one suite over both transports."""

import gc
import threading
import weakref

import grpc
import pytest

from tests.server.protocols.grpc.transport_callers import Status, call, status_of, unary
from tests.waiting import until


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
        statuses = {}
        for name in ("Sets", "Aborts", "Raises", "Nowhere"):
            with pytest.raises(grpc.RpcError) as error:
                call(channel, name)
            statuses[name] = status_of(error)

    assert statuses == {
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
