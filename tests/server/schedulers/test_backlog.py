"""The pace of a model's work, and who is refused for it; moments are the test's own."""

import pytest

from zoo_server.errors import DeadlineExpired, Overloaded
from zoo_server.schedulers.backlog import Backlog, check_deadline

MS = 1_000_000


def paced(*, unit_ms=10):
    """Return a backlog that has seen one run of one unit."""
    backlog = Backlog()
    backlog.begin(1, 0)
    backlog.end(1, unit_ms * MS, waiting=False)
    return backlog


def test_nothing_is_predicted_before_a_run():
    assert Backlog().wait_ns(1000, 1000, 0) == 0


def test_what_waits_and_what_is_left_of_the_run_is_waited_for():
    """Three units wait and one runs since 4 of its 10 ms."""
    backlog = paced(unit_ms=10)
    backlog.begin(1, 100 * MS)

    assert backlog.wait_ns(3, 3, 104 * MS) == 36 * MS


def test_a_stall_that_nobody_asked_about_is_not_the_rule():
    """Of runs that are only noted none counts for more than it would have at once."""
    backlog = paced(unit_ms=1)
    for ms in (1000, *[1] * 31):
        backlog.begin(1, 0)
        backlog.end(1, ms * MS, waiting=False)

    assert backlog.wait_ns(1, 1, 0) == pytest.approx(1 * MS, rel=0.1)


def test_a_run_that_is_overdue_is_expected_at_once():
    backlog = paced(unit_ms=10)
    backlog.begin(1, 0)

    assert backlog.wait_ns(0, 0, 50 * MS) == 0


def test_instances_side_by_side_double_the_pace():
    """What counts is the time between two ends, not how long each run took."""
    backlog = Backlog()
    backlog.begin(1, 0)
    backlog.begin(1, 0)
    for end in range(10, 410, 5):
        backlog.end(1, end * MS, waiting=True)
        backlog.begin(1, end * MS)

    assert backlog.wait_ns(10, 10, 405 * MS) == pytest.approx(60 * MS, rel=0.05)


def test_one_stall_is_not_the_rule():
    backlog = paced(unit_ms=10)
    backlog.begin(1, 0)
    backlog.end(1, 10_000 * MS, waiting=False)

    assert backlog.wait_ns(1, 1, 0) <= 14 * MS


def grown(*sizes, base_ms=8, unit_ms=2):
    """Return a backlog that has seen runs of these sizes."""
    backlog = Backlog()
    for units in sizes:
        backlog.begin(units, 0)
        backlog.end(units, (base_ms + unit_ms * units) * MS, waiting=False)
    return backlog


def test_what_runs_together_is_waited_for_together():
    backlog = grown(1, 2, 4, 8, 4, 1)

    assert backlog.wait_ns(8, 1, 0) == pytest.approx(24 * MS, rel=0.01)
    assert backlog.wait_ns(8, 8, 0) == pytest.approx(80 * MS, rel=0.01)


def test_how_much_is_done_in_time():
    """(60 ms / 1.25 - 8 ms) / 2 ms; and never more than twice what was seen."""
    assert grown(1, 2, 4, 8, 16).units_in_time(60 * MS, 0) == pytest.approx(20, abs=1)
    assert grown(1, 2, 4, 8).most_known == 16
    assert grown(1, 2, 4, 8).units_in_time(1 * MS, 0) == 1


def test_late_is_refused_with_a_hint():
    """90 ms of work and 20 ms of its own do not fit into 100 ms; 33 ms later they would."""
    with pytest.raises(Overloaded, match=r"in 110 ms, and the deadline is in 100 ms") as caught:
        check_deadline(100 * MS, 90 * MS, 20 * MS)

    assert caught.value.retry_ms == 33


def test_what_finds_the_model_idle_is_let_in():
    """Though runs have taken too long so far: this one may show that they do no longer."""
    check_deadline(10 * MS, 0, 50 * MS)


def test_a_deadline_that_has_passed():
    with pytest.raises(DeadlineExpired):
        check_deadline(0, 0, 0)
