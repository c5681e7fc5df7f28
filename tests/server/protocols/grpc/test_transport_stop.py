"""A gRPC server's port: taken once, and given back by a stop that cuts nobody off without a word."""

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tests.server.protocols.grpc.transport_callers import Status, call, unary
from zoo_server.errors import AddressError
from zoo_server.protocols.grpc.transport import open_transport
from zoo_server.protocols.grpc.transport.public import TransportOptions


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
        threads = [threading.Thread(target=ask, args=(channel.port,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(300):
            assert began.acquire(timeout=10)
        channel.server.stop(1)
        for _ in range(300):
            assert began.acquire(timeout=10)
        over.set()
        for thread in threads:
            thread.join()

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
