"""Which calls are refused unread; the clock is the test's own."""

import random
from collections import deque

import pytest

from zoo_server.protocols.grpc.transport.throttle import Throttle

PATIENCE = 0.1


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def held(clock, waiting=0):
    """Return a throttle whose connection `flood` was refused by the scheduler of a model."""
    throttle = Throttle(clock)
    refuse(throttle, b"flood", waiting)
    return throttle


def refuse(throttle, peer, waiting=0):
    for _ in range(4):
        throttle.refused(peer, b"slow", waiting, PATIENCE, 12)


def comes(throttle, peer=b"flood", patience=PATIENCE):
    """Return what becomes of a call: the hold that let it in, None without one, else False."""
    hold = throttle.hold_of(peer, patience) if throttle.active else None
    return hold if hold is None or hold.lets_in(throttle.clock()) else False


def test_a_held_connection_is_let_in_for_each_call_that_is_over():
    throttle = held(Clock())
    assert comes(throttle) is False
    throttle.over(b"flood", b"slow", was_held=False)
    throttle.over(b"other", b"slow", was_held=False)

    first, second = comes(throttle), comes(throttle)
    assert first
    assert second
    assert comes(throttle) is False
    assert throttle.hold_of(b"flood", PATIENCE).retry_ms == 12

    first.left(answered=False)
    assert comes(throttle)
    assert comes(throttle) is False


def test_the_queue_is_cut():
    """Of those who wait when the first is refused a fifth is not replaced."""
    throttle = held(Clock(), waiting=10)
    for _ in range(10):
        throttle.over(b"flood", b"slow", was_held=False)

    assert [bool(comes(throttle)) for _ in range(9)] == [True] * 8 + [False]


def test_the_window_grows_with_answers_and_shrinks_with_refusals():
    clock = Clock()
    throttle = held(clock)
    for _ in range(100):
        throttle.over(b"flood", b"slow", was_held=False)
    holds = [comes(throttle) for _ in range(100)]
    assert comes(throttle) is False
    for hold in holds[:80]:
        hold.left(answered=True)
    assert sum(bool(comes(throttle)) for _ in range(200)) == 80 + 10

    clock.now += 0.15
    throttle.refused(b"flood", b"slow", 100, PATIENCE, 12)
    assert comes(throttle)  # after 50 ms one always is
    assert comes(throttle) is False
    clock.now += 0.06
    throttle.refused(b"flood", b"slow", 100, PATIENCE, 12)
    for hold in holds[80:]:
        hold.left(answered=False)
    assert comes(throttle) is False  # cut by twenty


def test_some_are_let_in_whatever_happened():
    clock = Clock()
    throttle = held(clock, waiting=1000)
    came = 0
    for _ in range(1000):
        clock.now += 0.001
        came += bool(comes(throttle))
    assert 15 <= came <= 20


def test_a_connection_is_held_no_longer_than_it_has_too_many_calls():
    clock = Clock()
    throttle = held(clock)
    clock.now += 0.21
    assert comes(throttle) is None

    clock.now += 1.0
    assert comes(throttle) is None
    assert not throttle.active


def test_few_refusals_are_no_overload():
    throttle = Throttle(Clock())
    for _ in range(3):
        throttle.refused(b"flood", b"slow", 2, PATIENCE, 12)
    assert not throttle.active


def test_another_connection_is_let_in():
    throttle = held(Clock())
    assert all(comes(throttle, b"other") is None for _ in range(5))


def test_who_is_more_patient_is_let_in():
    """A short deadline that cannot be kept says nothing about a long one."""
    throttle = held(Clock())
    assert comes(throttle) is False
    assert comes(throttle, patience=1.0) is None
    assert comes(throttle, patience=float("inf")) is None


def test_a_connection_of_many_models_is_not_held():
    clock = Clock()
    throttle = held(clock)
    throttle.over(b"flood", b"quick", was_held=False)
    refuse(throttle, b"flood")
    assert all(comes(throttle) is None for _ in range(5))

    clock.now += 10.1
    refuse(throttle, b"flood")
    assert comes(throttle) is False


def test_a_call_that_is_late_among_few_says_nothing():
    throttle = Throttle(Clock())
    throttle.under_way = 10
    throttle.lost(b"one", PATIENCE)
    assert not throttle.active

    throttle.under_way = 100
    for _ in range(4):
        throttle.lost(b"one", PATIENCE)
    assert throttle.active
    assert comes(throttle, b"one") is False
    assert comes(throttle, b"other") is None


def test_peers_are_bounded():
    """A new connection for each call does not fill the memory: all are let go once there are very many."""
    throttle = Throttle(Clock())
    for number in range(5000):
        refuse(throttle, str(number).encode())

    assert comes(throttle, b"4999") is False
    assert comes(throttle, b"1") is None


@pytest.mark.parametrize("load", [0.8, 1, 1.1, 3, 10])
@pytest.mark.parametrize("bursts", [1, 50])
@pytest.mark.parametrize("run", [0.001, 0.010])
def test_the_model_does_not_run_dry(load, bursts, run):
    """A model that refuses what would wait for longer than 80 ms: whatever comes, the throttle costs it
    next to nothing, and under load few calls are read in vain.
    """
    clock, chance = Clock(), random.Random(1)
    throttle = Throttle(clock)
    answered, read, ideal, ideal_at, free_at = 0, 0, 0, clock.now, clock.now
    ends = deque()
    end = clock.now + 5000 * run
    while clock.now < end:
        clock.now += chance.expovariate(load / run / bursts)
        while ends and ends[0][0] <= clock.now:
            hold = ends.popleft()[1]
            if hold is not None:
                hold.left(answered=True)
            if throttle.active:
                throttle.over(b"caller", b"slow", was_held=hold is not None)
        for _ in range(bursts):
            # What it would answer without a throttle.
            if ideal_at - clock.now < 0.080:
                ideal_at = max(ideal_at, clock.now) + run
                ideal += 1
            hold = comes(throttle, b"caller")
            if hold is False:
                continue
            read += 1
            if free_at - clock.now >= 0.080:
                if hold is not None:
                    hold.left(answered=False)
                throttle.refused(b"caller", b"slow", len(ends) + 1, PATIENCE, 20)
            else:
                free_at = max(free_at, clock.now) + run
                ends.append((free_at, hold))
                answered += 1

    assert answered > 0.93 * ideal
    assert read - answered < (0.15 if bursts == 1 else 0.3) * answered
