"""When memory is given back; the readings are the test's own."""

import pytest

from zoo_server.memory_trimmer import TRIM_SECONDS, MemoryTrimmer

MB = 1 << 20


class Process:
    """A process of a size, of which a trim leaves what it needs."""

    def __init__(self):
        self.resident, self.needed, self.idle, self.trims, self.calls = (
            100 * MB,
            100 * MB,
            True,
            0,
            0,
        )

    def trim(self):
        self.trims += 1
        self.resident = self.needed

    def trimmer(self):
        return MemoryTrimmer(
            lambda: self.idle, lambda: self.calls, lambda: self.resident, self.trim
        )


@pytest.fixture
def watched():
    process = Process()
    trimmer = process.trimmer()
    for _ in range(10):
        trimmer.trim_if_idle()
    process.trims = 0
    return process, trimmer


def test_a_burst_is_given_back_once_nothing_is_under_way(watched):
    process, trimmer = watched
    process.resident, process.idle = 500 * MB, False
    trimmer.trim_if_idle()
    assert process.trims == 0
    process.idle = True
    trimmer.trim_if_idle()

    assert (process.trims, process.resident) == (1, 100 * MB)


def test_what_the_start_needed_is_given_back():
    """Models are read before anybody looks."""
    process = Process()
    process.resident = 300 * MB
    process.trimmer().trim_if_idle()

    assert process.resident == 100 * MB


def test_what_stays_is_not_tried_again(watched):
    """As a model that was loaded: it is what the process needs from now on."""
    process, trimmer = watched
    process.resident = process.needed = 300 * MB
    for _ in range(30):
        trimmer.trim_if_idle()

    assert process.trims < 10


def test_what_is_freed_late_is_given_back_as_well(watched):
    process, trimmer = watched
    process.resident = process.needed = 300 * MB
    trimmer.trim_if_idle()
    process.needed = 100 * MB
    trimmer.trim_if_idle()

    assert process.resident == 100 * MB


def test_while_calls_come_it_is_kept_for_them(watched):
    """Between two calls the server is idle as well; in the long run it gives back even so."""
    process, trimmer = watched
    process.resident = 500 * MB
    looks = 0
    while not process.trims:
        process.calls += 1
        trimmer.trim_if_idle()
        looks += 1

    assert 30 / TRIM_SECONDS < looks < 90 / TRIM_SECONDS


def test_between_two_large_messages_it_is_kept(watched):
    """The second takes a while to come, and is no call before it is there."""
    process, trimmer = watched
    process.calls += 1
    process.resident = 500 * MB
    looks = 0
    while not process.trims:
        trimmer.trim_if_idle()
        looks += 1

    assert 5 / TRIM_SECONDS < looks < 30 / TRIM_SECONDS


def test_a_little_is_not_worth_it(watched):
    process, trimmer = watched
    process.resident += 8 * MB
    trimmer.trim_if_idle()

    assert process.trims == 0
