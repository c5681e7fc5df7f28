"""Which calls are refused unread; the clock is the test's own."""

import random

import pytest

from zoo_server.protocols.grpc.transport.throttle import Throttle


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def held(clock, retry_ms=12):
    throttle = Throttle(clock)
    throttle.refused(b"flood", retry_ms)
    return throttle


def test_a_connection_is_held_until_another_try_is_worth_it():
    clock = Clock()
    throttle = held(clock)
    clock.now += 0.0105
    assert throttle.refuses(b"flood") == 2
    clock.now += 0.002

    assert throttle.refuses(b"flood") == 0
    assert not throttle.active


def test_another_connection_is_let_in():
    assert held(Clock()).refuses(b"other") == 0


def test_no_hold_is_long():
    """A scheduler may say seconds; calls with later deadlines may be let in before."""
    clock = Clock()
    throttle = held(clock, retry_ms=60_000)
    clock.now += 0.021

    assert throttle.refuses(b"flood") == 0


def test_one_hold_does_not_end_another():
    clock = Clock()
    throttle = held(clock, retry_ms=20)
    throttle.refused(b"other", 1)
    clock.now += 0.010

    assert throttle.refuses(b"other") == 0
    assert throttle.refuses(b"flood") > 0


def test_peers_are_bounded():
    """A new connection for each call does not fill the memory."""
    throttle = Throttle(Clock())
    for number in range(5000):
        throttle.refused(str(number).encode(), 1)
    throttle.refused(b"flood", 7)

    assert throttle.refuses(b"flood") > 0


@pytest.mark.parametrize("load", [0.8, 1, 1.1, 3, 10])
@pytest.mark.parametrize("bursts", [1, 50])
def test_the_model_does_not_run_dry(load, bursts):
    """A model of 1 ms a call, which refuses what would wait for longer than 80 ms: whatever comes, the
    throttle costs it nothing, and under load few calls are read in vain.
    """
    clock, chance = Clock(), random.Random(1)
    throttle = Throttle(clock)
    answered, read, free_at, ideal_at = 0, 0, clock.now, clock.now
    ideal = 0
    end = clock.now + 5
    while clock.now < end:
        clock.now += chance.expovariate(1000 * load / bursts)
        for _ in range(bursts):
            # What it would answer without a throttle.
            if ideal_at - clock.now < 0.080:
                ideal_at = max(ideal_at, clock.now) + 0.001
                ideal += 1
            if throttle.active and throttle.refuses(b"caller"):
                continue
            read += 1
            wait = free_at - clock.now
            if wait >= 0.080:
                throttle.refused(b"caller", int(wait * 1000 / 4))
            else:
                free_at = max(free_at, clock.now) + 0.001
                answered += 1

    assert answered > 0.98 * ideal
    assert read - answered < 0.1 * answered
