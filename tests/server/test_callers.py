"""Callers who come at once, come too late or leave before their turn."""

import threading

import grpc
import numpy as np
import pytest

from tests.server.slow_calls import ask, counting, predict, trips
from tests.waiting import until


def test_expired_call_is_not_run(slow, serve, make_request):
    """A call whose deadline passes while it waits for its turn never reaches the graph."""
    with serve(slow) as wire:
        count = trips(wire.stub, 0.15)
        model = wire.server.catalog.find("slow", "")
        statistics = model.statistics
        before = statistics.snapshot().execution_count
        busy = [ask(wire.stub, count) for _ in range(16)]
        until(lambda: model.waiting)
        with pytest.raises(grpc.RpcError) as caught:
            wire.stub.ModelInfer(make_request("slow", n=np.ones(1, np.int64)), timeout=0.05)
        # Refused at once where it is known to come too late.
        assert caught.value.code().name in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
        for call in busy:
            call.result()
        assert statistics.snapshot().execution_count == before + 16


@pytest.mark.parametrize("way", ["unary", "stream", "predict"])
def test_a_cancelled_call_is_not_run(way, slow, serve):
    """Who hangs up while his request waits behind another's run: it never reaches the graph, and
    is counted as cancelled."""
    with serve(slow) as wire:
        model = wire.server.catalog.find("slow", "")
        count = trips(wire.stub, 1.0)
        before = model.statistics.snapshot()
        running = ask(wire.stub, count)
        until(lambda: model.scheduler.running)
        go = threading.Event()
        waits = {
            "unary": lambda: ask(wire.stub, 1),
            "stream": lambda: wire.stub.ModelStreamInfer(one(counting(1), go), timeout=30),
            "predict": lambda: predict(wire.channel, 1),
        }[way]()
        until(lambda: model.waiting)
        waits.cancel()
        assert not running.done()  # else nothing is shown
        running.result()
        until(lambda: model.statistics.snapshot().fail.count > before.fail.count)
        go.set()
        after = model.statistics.snapshot()

        assert after.execution_count == before.execution_count + 1
        assert after.failures["CANCELED"] == before.failures["CANCELED"] + 1
        assert ask(wire.stub, 1).result().raw_output_contents


def one(request, then):
    """Ask on a stream that stays open."""
    yield request
    then.wait(20)


def test_concurrent_callers_get_their_own_answers(wire):
    """Many callers at once: each gets what it sent."""
    right = []

    def call(number):
        array = np.full((1, 4), number, np.float32)
        answers = [wire.infer("identity_fp32", x=array)["y"] for _ in range(20)]
        right.append(all(np.array_equal(answer, array) for answer in answers))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert right == [True] * 8
