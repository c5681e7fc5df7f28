"""Threads that grow in number while all are held, and only then."""

import threading
import time

import pytest

from tests.waiting import until
from zoo_server.protocols.grpc.transport.threads import GrowingThreads


@pytest.fixture
def threads():
    """Make pools; what they hold is let go of, and their threads end, with the test."""
    pools, go = [], threading.Event()

    def make(least, most):
        pools.append(GrowingThreads(least, most, "test"))
        return pools[-1]

    make.go = go
    yield make
    go.set()
    for pool in pools:
        pool.shutdown()


def count():
    return sum(thread.name.startswith("test_") for thread in threading.enumerate())


def test_calls_that_are_held_keep_nobody_out(threads):
    """Twenty held calls on two threads: the next one is answered, on a thread of its own."""
    pool = threads(2, 100)
    held = [pool.submit(threads.go.wait, 20) for _ in range(20)]

    assert pool.submit(int, "7").result(10) == 7
    assert not any(future.done() for future in held)
    assert 20 < count() <= 40  # as many again as are needed, at most


def test_the_number_is_bounded(threads):
    """Beyond the bound calls wait; once those before them are over, they are run."""
    pool, entered = threads(2, 4), []

    def hold(number):
        entered.append(number)
        return threads.go.wait(20)

    held = [pool.submit(hold, number) for number in range(10)]
    until(lambda: len(entered) == 4)
    time.sleep(0.2)  # long enough for one more, were there one
    assert (len(entered), count()) == (4, 4)
    threads.go.set()
    assert all(future.result(10) for future in held)
    assert count() == 4


def test_many_short_calls_need_no_more(threads):
    """However many wait: as long as some are taken, nothing is started for them."""
    pool = threads(2, 300)
    done = [pool.submit(time.sleep, 0.002) for _ in range(300)]
    for future in done:
        future.result(10)

    assert count() < 100  # 2, and more if this machine stood still meanwhile


def test_a_call_that_raises_ends_its_future_alone(threads):
    """The thread goes on."""
    pool = threads(1, 1)

    with pytest.raises(ValueError, match="invalid literal"):
        pool.submit(int, "x").result(10)
    assert pool.submit(int, "7").result(10) == 7


def test_a_shutdown_runs_what_waits_and_ends_the_threads(threads):
    """Nothing is left behind, the thread that watches included."""
    before = threading.active_count()
    pool = threads(2, 8)
    results = [pool.submit(int, number) for number in range(50)]
    pool.shutdown()

    assert [future.result(0) for future in results] == list(range(50))
    until(lambda: threading.active_count() <= before)


def test_a_system_without_threads_left_is_said_once(threads, monkeypatch, caplog):
    """Those that run go on, and answer what waits."""
    pool = threads(1, 100)
    assert pool.submit(int, "7").result(10) == 7
    start = threading.Thread.start

    def refuses(thread):
        if thread.name.startswith("test_"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuses)
    held = [pool.submit(threads.go.wait, 20) for _ in range(5)]
    time.sleep(0.2)
    threads.go.set()

    assert all(future.result(10) for future in held)
    assert [record.getMessage() for record in caplog.records] == [
        "no more than 1 threads for calls can be started"
    ]
