"""The scheduling policy: values in, a decision out; no threads and no clock."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_server.errors import Cancelled, DeadlineExpired, QueueFull, QueueTimeout
from zoo_server.model_config import Batching, QueuePolicy
from zoo_server.schedulers.batch_queue import RequestQueue


@dataclass
class Waiting:
    """One who waits."""

    name: str
    rows: int = 1
    key: object = "k"
    level: int = 0
    timeout_ns: int = 0
    queued_ns: int = 0
    expires_ns: int = 0
    gone: bool = False
    size: int = 1
    deadline_ns: int = 0
    nbytes: int = 0

    def is_gone(self):
        return self.gone


def filled(batching, *members, now=0):
    queue = RequestQueue(batching)
    for member in members:
        queue.push(member, now)
    return queue


def names(decision):
    return [member.name for member in decision.batch]


def many(count, **values):
    return [Waiting(str(number), **values) for number in range(count)]


def test_takes_what_waits_up_to_the_most_rows():
    """Without a delay everybody who waits is run at once, in order, up to max_rows."""
    queue = filled(Batching(max_rows=4, joins=True), *many(6))

    assert names(queue.take(0)) == ["0", "1", "2", "3"]
    assert names(queue.take(0)) == ["4", "5"]
    assert queue.take(0).batch == []


def test_no_more_are_joined_than_pay():
    """A bound that runs have taught ends a batch; one request that is larger is run as it is."""
    queue = filled(Batching(max_rows=8, joins=True), *many(3), Waiting("large", 6))

    assert names(queue.take(0, 2)) == ["0", "1"]
    assert names(queue.take(0, 1)) == ["2"]
    assert names(queue.take(0, 1)) == ["large"]


def test_a_delay_or_preferred_sizes_say_what_is_wanted():
    """Who asks for batches by name gets them, whatever runs have taught."""
    for wishes in ({"delay_ns": 5}, {"preferred": frozenset({3})}):
        queue = filled(Batching(max_rows=8, joins=True, **wishes), *many(3))

        assert names(queue.take(10, 1)) == ["0", "1", "2"]


def test_rows_count_not_requests():
    """A request that would make the batch too large waits for the next one."""
    queue = filled(Batching(max_rows=4, joins=True), Waiting("a", 3), Waiting("b", 2), Waiting("c"))

    assert names(queue.take(0)) == ["a"]
    assert names(queue.take(0)) == ["b", "c"]


def test_unlike_shapes_are_not_joined():
    """A member of another key ends the batch, and nobody behind it overtakes."""
    queue = filled(
        Batching(max_rows=8, joins=True), Waiting("a"), Waiting("b", key="other"), Waiting("c")
    )

    assert [names(queue.take(0)) for _ in range(3)] == [["a"], ["b"], ["c"]]


def test_without_dynamic_batching_each_runs_alone():
    """A model whose configuration does not say dynamic_batching runs requests one by one."""
    queue = filled(Batching(max_rows=8), *many(2))

    assert [names(queue.take(0)), names(queue.take(0))] == [["0"], ["1"]]


def test_who_hung_up_is_refused_and_not_run():
    """A cancelled member leaves the queue without being run, in the common case and in others."""
    for batching in (
        Batching(max_rows=4, joins=True),
        Batching(max_rows=4, joins=True, levels=1, default_level=1),
    ):
        queue = filled(batching, Waiting("a", gone=True), Waiting("b"))
        decision = queue.take(0)

        assert names(decision) == ["b"]
        assert [type(error) for _, error in decision.refused] == [Cancelled]


def test_waits_for_company_no_longer_than_the_delay():
    """With a delay a small batch is held, then run once its oldest member has waited so long."""
    queue = filled(Batching(max_rows=4, joins=True, delay_ns=100), *many(2), now=10)

    early = queue.take(50)
    assert early.batch == []
    assert early.ask_again_ns == 110
    assert names(queue.take(110)) == ["0", "1"]


def test_a_full_batch_does_not_wait():
    """As soon as max_rows have gathered, the delay no longer matters."""
    queue = filled(Batching(max_rows=2, joins=True, delay_ns=100), *many(2))

    assert names(queue.take(0)) == ["0", "1"]


def test_a_preferred_size_is_run_at_once():
    """The largest preferred size that can be made runs before the delay is over; the rest waits."""
    batching = Batching(max_rows=8, joins=True, preferred=frozenset({2, 4}), delay_ns=100)
    queue = filled(batching, *many(5))

    assert names(queue.take(0)) == ["0", "1", "2", "3"]
    assert queue.take(0).ask_again_ns == 100
    assert names(queue.take(100)) == ["4"]


def test_past_the_delay_all_go_whatever_is_preferred():
    """Triton's rule: once the delay is exceeded, everything pending is sent."""
    batching = Batching(max_rows=8, joins=True, preferred=frozenset({2}), delay_ns=100)

    assert names(filled(batching, *many(3)).take(100)) == ["0", "1", "2"]


def test_a_full_queue_refuses():
    """The bound is of those who wait, by level."""
    policy = QueuePolicy(max_size=1)
    queue = filled(Batching(default_policy=policy), Waiting("a"))

    with pytest.raises(QueueFull, match="Exceeds maximum queue size"):
        queue.push(Waiting("b"), 0)
    queue.take(0)
    queue.push(Waiting("b"), 0)


def test_timeouts_refuse_or_postpone():
    """Whoever waited too long is refused; or goes behind everybody else of the level."""
    for rejects in (True, False):
        policy = QueuePolicy(timeout_ns=100, rejects=rejects)
        queue = filled(Batching(max_rows=1, joins=True, default_policy=policy), Waiting("old"))
        queue.push(Waiting("new"), 90)
        decision = queue.take(100)

        assert names(decision) == ["new"]
        assert [type(error) for _, error in decision.refused] == [QueueTimeout] * rejects
        assert names(queue.take(100)) == ([] if rejects else ["old"])


@pytest.mark.parametrize(
    ("allowed", "timeout", "expires"),
    [(True, 50, 50), (True, 500, 100), (False, 50, 100), (True, 0, 100)],
)
def test_a_request_may_shorten_its_timeout(allowed, timeout, expires):
    """allow_timeout_override admits a shorter timeout only."""
    policy = QueuePolicy(timeout_ns=100, allows_override=allowed)
    member = Waiting("a", timeout_ns=timeout)
    filled(Batching(default_policy=policy), member)

    assert member.expires_ns == expires


def test_priorities():
    """Level 1 goes first; 0 and levels that are not there take the default."""
    batching = Batching(max_rows=1, joins=True, levels=3, default_level=2)
    queue = filled(
        batching,
        Waiting("low", level=3),
        Waiting("default"),
        Waiting("absent", level=9),
        Waiting("high", level=1),
    )

    assert [names(queue.take(0))[0] for _ in range(4)] == ["high", "default", "absent", "low"]


members = st.lists(
    st.builds(
        Waiting,
        name=st.uuids().map(str),
        rows=st.integers(1, 4),
        key=st.sampled_from("ab"),
        level=st.integers(0, 3),
        timeout_ns=st.sampled_from([0, 30]),
        gone=st.booleans(),
    ),
    max_size=30,
)
settings = st.builds(
    Batching,
    max_rows=st.integers(4, 8),
    joins=st.booleans(),
    preferred=st.sets(st.integers(1, 4)).map(frozenset),
    delay_ns=st.sampled_from([0, 40]),
    levels=st.sampled_from([0, 2]),
    default_level=st.just(1),
    default_policy=st.builds(
        QueuePolicy,
        timeout_ns=st.sampled_from([0, 25]),
        rejects=st.booleans(),
        allows_override=st.booleans(),
    ),
)


@given(settings, members)
def test_nobody_is_lost_and_no_batch_is_wrong(batching, given_members):
    """Every member is run or refused exactly once; every batch keeps the rules."""
    queue = RequestQueue(batching)
    seen = []
    now = 0
    for member in given_members:
        queue.push(member, now)
        now += 7
    for _ in range(200):
        decision = queue.take(now)
        assert not decision.batch or decision.ask_again_ns is None
        seen += [member.name for member, _ in decision.refused]
        seen += names(decision)
        assert sum(member.rows for member in decision.batch) <= batching.max_rows
        assert len({member.key for member in decision.batch}) <= 1
        assert batching.joins or len(decision.batch) <= 1
        now = decision.ask_again_ns or now
        if not len(queue):
            break

    assert sorted(seen) == sorted(member.name for member in given_members)


def test_a_queue_without_a_bound_has_the_servers():
    """And one that says what it wants has that."""
    queue = RequestQueue(Batching(), most_waiting=2)
    for member in many(2):
        queue.push(member, 0)
    with pytest.raises(QueueFull):
        queue.push(Waiting("third"), 0)

    chosen = RequestQueue(Batching(default_policy=QueuePolicy(max_size=3)), most_waiting=2)
    for member in many(3):
        chosen.push(member, 0)


def test_the_bytes_that_wait_are_bounded():
    """One message may have any size; more than 256 MiB together do not wait."""
    queue = RequestQueue(Batching())
    queue.push(Waiting("large", nbytes=1 << 29), 0)
    with pytest.raises(QueueFull, match="bytes of requests"):
        queue.push(Waiting("next", nbytes=1), 0)

    assert names(queue.take(0)) == ["large"]
    queue.push(Waiting("next", nbytes=1), 0)


@pytest.mark.parametrize("batching", [Batching(), Batching(delay_ns=1)], ids=["simple", "delay"])
def test_who_could_not_be_answered_in_time_is_not_run(batching):
    """5 of time left for a run of 10: refused, as long as others wait; the last one is tried."""
    queue = RequestQueue(batching, run_ns=lambda size: 10)
    for member in many(2, deadline_ns=105):
        queue.push(member, 0)
    decision = queue.take(100)

    assert [(member.name, type(error)) for member, error in decision.refused] == [
        ("0", DeadlineExpired)
    ]
    assert names(decision) == ["1"]
    queue.push(Waiting("over", deadline_ns=105), 0)
    assert [member.name for member, _ in queue.take(105).refused] == ["over"]


def test_a_wait_that_is_known_to_be_too_long_is_refused_at_once():
    policy = QueuePolicy(timeout_ns=50)
    queue = RequestQueue(Batching(default_policy=policy))
    queue.push(Waiting("short"), 0, wait_ns=50)
    with pytest.raises(QueueTimeout):
        queue.push(Waiting("long"), 0, wait_ns=51)

    patient = RequestQueue(Batching(default_policy=QueuePolicy(timeout_ns=50, rejects=False)))
    patient.push(Waiting("long"), 0, wait_ns=51)


def test_units_of_urgent_levels_are_before_a_newcomer():
    queue = RequestQueue(Batching(levels=3, default_level=2))
    for level, size in ((1, 5), (2, 7), (3, 11)):
        queue.push(Waiting("x", level=level, size=size), 0)

    assert [queue.units_before(Waiting("new", level=level)) for level in (1, 2, 3)] == [5, 12, 23]
    queue.take(0)
    assert queue.units_before(Waiting("new", level=3)) == 18


def test_those_who_left_are_taken_out():
    """Also those that were postponed; they count for nothing any more."""
    policy = QueuePolicy(timeout_ns=10, rejects=False)
    queue = RequestQueue(Batching(default_policy=policy))
    members = many(4)
    for member in members:
        queue.push(member, 0)
    queue.take(20)  # which postpones all but the one that it takes
    members[1].gone = members[3].gone = True

    assert [member.name for member, _ in queue.remove_lost(21)] == ["1", "3"]
    assert len(queue) == queue.units_before(Waiting("new")) == 1
