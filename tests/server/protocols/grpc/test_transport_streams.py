"""What a gRPC server owes the handlers and the callers of streams: one suite over both transports."""

import queue
import threading

import grpc
import pytest

from tests.server.protocols.grpc.transport_callers import Status, status_of


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
