"""Which calls are refused unread; the clock and the chance are the test's own."""

from zoo_server.protocols.grpc.transport.throttle import Throttle


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def flooded(clock, *, refused, answered):
    throttle = Throttle(clock, chance=lambda: 0.5)
    for _ in range(refused):
        throttle.refused(b"flood", 40)
    for _ in range(answered):
        throttle.answered(b"flood")
    return throttle


def test_a_connection_whose_calls_are_refused_is_refused_unread():
    """With the hint that the scheduler gave last."""
    assert flooded(Clock(), refused=90, answered=10).refuses(b"flood") == 40


def test_another_connection_is_let_in():
    assert flooded(Clock(), refused=90, answered=0).refuses(b"other") == 0


def test_what_is_mostly_answered_is_let_in():
    """As many refusals as answers are what makes sure that the model has enough to do."""
    assert flooded(Clock(), refused=50, answered=100).refuses(b"flood") == 0


def test_a_few_refusals_are_no_flood():
    assert flooded(Clock(), refused=2, answered=0).refuses(b"flood") == 0


def test_it_rests_without_refusals():
    clock = Clock()
    throttle = flooded(clock, refused=90, answered=0)
    assert throttle.active
    clock.now += 3

    assert throttle.refuses(b"flood") == 0
    assert not throttle.active


def test_old_refusals_count_less():
    clock = Clock()
    throttle = flooded(clock, refused=8, answered=0)
    clock.now += 1.5

    assert throttle.refuses(b"flood") == 0


def test_peers_are_bounded():
    """A new connection for each call does not fill the memory."""
    throttle = Throttle(Clock(), chance=lambda: 0.5)
    for number in range(5000):
        throttle.refused(str(number).encode(), 1)
    for _ in range(10):
        throttle.refused(b"flood", 7)

    assert throttle.refuses(b"flood") == 7
