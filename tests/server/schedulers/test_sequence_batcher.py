"""The sequence batcher alone, between a runner and a batcher that only note what they are given."""

import threading
from contextlib import closing

import pytest

from zoo_server.errors import Cancelled, InvalidRequest, QueueFull
from zoo_server.model_config import Sequences
from zoo_server.schedulers.sequence_batcher import SequenceBatcher
from zoo_server.schedulers.timer import Timer


class Noted:
    """One request, and what came of it."""

    rows = 1
    sequence = None
    gone = False

    def is_gone(self):
        return self.gone

    def __init__(self, parameters):
        self.parameters = parameters
        self.outcome = None
        self.inputs = {}

    def add_inputs(self, arrays):
        self.inputs = arrays

    def fail(self, error):
        self.outcome = error


class Runner:
    """Answers with what it is given; `faults` are raised instead, in order. Nothing is run."""

    def __init__(self):
        self.faults = []

    def execute(self, batch, *, waits):
        raise NotImplementedError

    def is_short_to_answer(self, batch, outcomes):
        raise NotImplementedError

    def answer(self, member, outcome):
        if self.faults:
            raise self.faults.pop()
        member.outcome = outcome

    def refuse(self, member, error):
        member.fail(error)


class Following:
    """A scheduler that only notes what it is given, at once or later."""

    waiting = running = 0

    def __init__(self, runner):
        self.runner = runner
        self.members = []

    def submit(self, members, inline_budget_ns, *, stays):
        self.members += members

    def follow(self, members):
        self.members += members


class Batcher:
    """A sequence batcher without a model: what it lets in, at once or later, is in `running`."""

    def __init__(self, timer, *, places, most):
        self.runner = Runner()
        self._batcher = SequenceBatcher(
            "m",
            Sequences(idle_ns=60 * 10**9, most=most),
            self.runner,
            self._following,
            batched=True,
            output_of=None,
            timer=timer,
            waiting=threading.Semaphore(places),
        )

    def _following(self, runner):
        self._inner = Following(runner)
        return self._inner

    @property
    def running(self):
        return self._inner.members

    def enter(self, sequence, *, start=False, end=False):
        noted = Noted({"sequence_id": sequence, "sequence_start": start, "sequence_end": end})
        self._batcher.submit([noted])
        if isinstance(noted.outcome, Exception):
            raise noted.outcome
        return noted

    def refuse(self, error):
        """Refuse the oldest, without a run."""
        self._inner.runner.refuse(self.running.pop(0), error)

    def answer(self):
        """Answer the oldest as the dynamic batcher does: what fails to be answered is refused."""
        member, runner = self.running.pop(0), self._inner.runner
        try:
            runner.answer(member, "done")
        except Exception as error:
            runner.refuse(member, error)


@pytest.fixture
def make_batcher():
    """Make batchers without models; their timer ends with the test."""
    with closing(Timer()) as timer:
        yield lambda **bounds: Batcher(timer, **bounds)


def test_an_answer_that_fails_frees_its_sequence(make_batcher):
    """The request is refused, and the next of its sequence takes its turn."""
    batcher = make_batcher(places=2, most=1)
    first, second = batcher.enter(1, start=True), batcher.enter(1)
    batcher.runner.faults.append(RuntimeError("cannot be sent"))
    batcher.answer()

    assert isinstance(first.outcome, RuntimeError)
    assert batcher.running == [second]
    batcher.answer()
    assert second.outcome == "done"


def test_requests_that_wait_are_bounded(make_batcher):
    """Behind others of their sequence or for a place: one too many is refused, and leaves nothing."""
    batcher = make_batcher(places=2, most=1)
    batcher.enter(1, start=True)
    behind, new = batcher.enter(1, end=True), batcher.enter(2, start=True)
    for refused in ({"sequence": 1}, {"sequence": 2}, {"sequence": 3, "start": True}):
        with pytest.raises(QueueFull, match="Exceeds maximum queue size"):
            batcher.enter(**refused)
    batcher.answer()  # lets `behind` run, and its place be taken
    third = batcher.enter(3, start=True)
    with pytest.raises(QueueFull):
        batcher.enter(4, start=True)
    with pytest.raises(InvalidRequest, match="START flag"):
        batcher.enter(4)
    batcher.answer()
    assert (behind.outcome, new.outcome, len(batcher.running)) == ("done", None, 1)
    batcher.answer()

    assert (new.outcome, third.outcome) == ("done", None)
    assert batcher.enter(2).outcome is None  # the second sequence has the place, and goes on
    assert len(batcher.running) == 1


def test_what_comes_behind_the_end_must_begin_anew(make_batcher):
    """Requests that wait behind an END are refused up to the next START, and free their places."""
    batcher = make_batcher(places=4, most=1)
    batcher.enter(1, start=True, end=True)
    late = [batcher.enter(1), batcher.enter(1)]
    anew, next_of_it = batcher.enter(1, start=True), batcher.enter(1)
    batcher.answer()

    for noted in late:
        assert isinstance(noted.outcome, InvalidRequest)
        assert "START flag" in str(noted.outcome)
    batcher.answer()
    batcher.answer()
    assert (anew.outcome, next_of_it.outcome) == ("done", "done")
    batcher.enter(1)
    for _ in range(4):
        batcher.enter(1)
    with pytest.raises(QueueFull):
        batcher.enter(1)


def test_a_start_whose_caller_left_takes_no_place(make_batcher):
    """Not while it waits for one: of a thousand in line the first that is still wanted gets it."""
    batcher = make_batcher(places=2000, most=1)
    batcher.enter(1, start=True, end=True)
    left = [batcher.enter(number, start=True) for number in range(2, 1002)]
    wanted = batcher.enter(2000, start=True)
    for noted in left:
        noted.gone = True
    batcher.answer()

    assert batcher.running == [wanted]
    assert all(isinstance(noted.outcome, Cancelled) for noted in left)


def test_a_start_that_was_not_run_has_begun_nothing(make_batcher):
    """Nor while it waits for its run: its place goes to the next, and its sequence must start anew."""
    batcher = make_batcher(places=4, most=1)
    batcher.enter(1, start=True)
    other = batcher.enter(2, start=True)
    batcher.refuse(Cancelled("gone"))

    assert batcher.running == [other]
    with pytest.raises(InvalidRequest, match="START flag"):
        batcher.enter(1)


def test_a_later_request_that_was_not_run_ends_nothing(make_batcher):
    batcher = make_batcher(places=4, most=1)
    batcher.enter(1, start=True)
    batcher.answer()
    batcher.enter(1)
    batcher.refuse(Cancelled("gone"))
    following = batcher.enter(1)

    assert batcher.running == [following]
