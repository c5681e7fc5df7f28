"""The scheduler's shell: who runs, on which thread, and that everybody is answered once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from zoo_server.errors import Cancelled, Overloaded, QueueFull
from zoo_server.model_config import Batching, QueuePolicy
from zoo_server.schedulers.dynamic_batcher import DynamicBatcher
from zoo_server.schedulers.scheduler import UNBOUNDED, WouldWait
from zoo_server.schedulers.timer import Timer


class Member:
    """A request that notes its answer."""

    def __init__(self, name, rows=1):
        self.name = name
        self.rows = self.size = rows
        self.key = "k"
        self.level = self.timeout_ns = self.queued_ns = self.expires_ns = 0
        self.deadline_ns = self.nbytes = 0
        self.gone = False
        self.answers = []
        self.done = threading.Event()

    def is_gone(self):
        return self.gone


class Latency:
    """Says of every run what it was told."""

    def __init__(self, expected, most):
        self.expected = expected
        self.most_rows = most

    def measured_ns(self, size, key):
        return self.expected

    def usual_ns(self, size):
        return self.expected


class Model:
    """Runs that last until they are let go."""

    def __init__(self, expected=0, most=2**63):
        self.latency = Latency(expected, most)
        #: Raised by the next run, and by the answers to members of those names.
        self.fault = None
        self.faults = {}
        #: Whether all threads to compute with are taken, and whether answers are small.
        self.is_busy = False
        self.is_short = True
        self.answered_by = []
        self.batches = []
        self.threads = []
        self.order = []
        self.gates = {}
        self.entered = {}

    def hold(self, name):
        self.gates[name] = threading.Event()
        self.entered[name] = threading.Event()

    def is_short_to_answer(self, batch, outcomes):
        return self.is_short

    def execute(self, batch, *, waits):
        if self.is_busy and not waits:
            raise WouldWait
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        names = [member.name for member in batch]
        self.batches.append(names)
        self.threads.append(threading.current_thread().name)
        if names[0] in self.gates:
            self.entered[names[0]].set()
            assert self.gates[names[0]].wait(10)
        return [f"answer {name}" for name in names]

    def answer(self, member, outcome):
        if member.name in self.faults:
            raise self.faults[member.name]
        self.order.append(member.name)
        self.answered_by.append(threading.current_thread().name)
        member.answers.append(outcome)
        member.done.set()

    def refuse(self, member, error):
        member.answers.append(error)
        member.done.set()


@pytest.fixture
def scheduled():
    """Make schedulers; everything they started ends with the test."""
    workers, timer = ThreadPoolExecutor(4, "worker"), Timer()
    yield lambda model, **batching: DynamicBatcher(
        Batching(**{"max_rows": 8, "joins": True, **batching}), model, model.latency, workers, timer
    )
    timer.close()
    workers.shutdown()


def test_an_idle_model_is_run_by_who_came(scheduled):
    """No hand-over: the thread that brought a burst has run it when submit returns."""
    model = Model()
    members = [Member("a"), Member("b")]
    scheduled(model).submit(members, UNBOUNDED, stays=True)

    assert model.batches == [["a", "b"]]
    assert model.threads == [threading.current_thread().name]
    assert [member.answers for member in members] == [["answer a"], ["answer b"]]


def test_a_long_run_goes_to_a_worker(scheduled):
    """A thread that bears less than the run is expected to take is not held."""
    model, member = Model(expected=1000), Member("a")
    scheduled(model).submit([member], 999, stays=True)

    assert member.done.wait(10)
    assert model.threads[0].startswith("worker")


def test_what_queues_behind_a_run_becomes_one_batch(scheduled):
    """While the model is busy requests gather, and are run together when it is free."""
    model = Model()
    model.hold("first")
    scheduler = scheduled(model)
    first = Member("first")
    runner = threading.Thread(
        target=scheduler.submit, args=([first], UNBOUNDED), kwargs={"stays": False}
    )
    runner.start()
    assert model.entered["first"].wait(10)
    others = [Member(str(number)) for number in range(3)]
    for member in others:
        scheduler.submit([member], UNBOUNDED, stays=False)
    assert scheduler.waiting == 3
    model.gates["first"].set()
    runner.join()

    assert all(member.done.wait(10) for member in others)
    assert model.batches == [["first"], ["0", "1", "2"]]
    # The first one's thread went away with its answer; a worker did the rest.
    assert model.threads[1].startswith("worker")


def test_instances_run_side_by_side(scheduled):
    """As many runs at once as there are instances, and no more."""
    model = Model(expected=1)
    for name in "abc":
        model.hold(name)
    scheduler = scheduled(model, joins=False, instances=2)
    members = [Member(name) for name in "abc"]
    scheduler.submit(members, 0, stays=True)
    scheduler.submit([], 0, stays=True)

    assert model.entered["a"].wait(10)
    assert model.entered["b"].wait(10)
    assert not model.entered["c"].is_set()
    for name in "abc":
        model.gates[name].set()
    assert all(member.done.wait(10) for member in members)


def test_answers_keep_their_order(scheduled):
    """preserve_ordering: a later run that ends first waits with its answers."""
    model = Model(expected=1)
    model.hold("a")
    scheduler = scheduled(model, joins=False, instances=2, preserves_order=True)
    members = [Member("a"), Member("b")]
    for member in members:
        scheduler.submit([member], 0, stays=True)
    assert model.entered["a"].wait(10)
    while len(model.batches) < 2:
        threading.Event().wait(0.001)
    assert not members[1].done.wait(0.05)
    model.gates["a"].set()

    assert all(member.done.wait(10) for member in members)
    assert model.order == ["a", "b"]


def test_a_delay_ends_by_itself(scheduled):
    """A request that nobody joins is run once the delay is over, by no thread of its caller."""
    model, member = Model(), Member("a")
    scheduled(model, delay_ns=5_000_000).submit([member], UNBOUNDED, stays=True)

    assert member.done.wait(10)
    assert model.threads[0].startswith("worker")


def test_a_full_queue_answers_at_once(scheduled):
    """Whoever does not fit in the queue is refused, the others are answered."""
    model = Model()
    members = [Member("a"), Member("b")]
    scheduled(model, default_policy=QueuePolicy(max_size=1)).submit(members, UNBOUNDED, stays=True)

    assert members[0].answers == ["answer a"]
    assert isinstance(members[1].answers[0], QueueFull)


def test_many_threads_are_all_answered_once(scheduled):
    """Under contention nobody is lost, answered twice or given another's answer."""
    model = Model()
    scheduler = scheduled(model)
    members = [[Member(f"{thread}-{number}") for number in range(50)] for thread in range(8)]

    def bring(mine):
        for member in mine:
            scheduler.submit([member], UNBOUNDED, stays=False)

    threads = [threading.Thread(target=bring, args=(mine,)) for mine in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for member in (member for mine in members for member in mine):
        assert member.done.wait(10)
        assert member.answers == [f"answer {member.name}"]


def test_what_does_not_pay_together_is_run_one_by_one(scheduled):
    """What waited behind a run is not joined where the model says so."""
    model = Model(most=1)
    model.hold("first")
    scheduler = scheduled(model)
    members = [Member(name) for name in ("first", "second", "third")]
    first = threading.Thread(
        target=scheduler.submit, args=([members[0]], UNBOUNDED), kwargs={"stays": False}
    )
    first.start()
    assert model.entered["first"].wait(10)
    scheduler.submit(members[1:], UNBOUNDED, stays=False)
    model.gates["first"].set()
    first.join()

    assert all(member.done.wait(10) for member in members)
    assert model.batches == [["first"], ["second"], ["third"]]


@pytest.mark.parametrize("fault", [RuntimeError("a bug"), SystemExit(3)], ids=repr)
def test_a_run_that_raises_leaves_the_model_idle(scheduled, fault):
    """Whoever was in it is told, and the next request is run."""
    model = Model()
    model.fault = fault
    scheduler = scheduled(model)
    members = [Member(name) for name in "abc"]
    scheduler.submit(members[:2], UNBOUNDED, stays=True)
    scheduler.submit(members[2:], UNBOUNDED, stays=True)

    assert [type(member.answers[0]) for member in members[:2]] != [str, str]
    assert all(isinstance(member.answers[0], Exception) for member in members[:2])
    assert (members[2].answers, scheduler.running) == (["answer c"], 0)


@pytest.mark.parametrize("preserves_order", [False, True])
def test_an_answer_that_raises_is_its_own_fault(scheduled, preserves_order):
    """Its neighbours are answered, it is refused, and the model goes on."""
    model = Model()
    model.faults["a"] = RuntimeError("cannot be sent")
    scheduler = scheduled(model, preserves_order=preserves_order, instances=2)
    members = [Member(name) for name in "abc"]
    scheduler.submit(members[:2], UNBOUNDED, stays=True)
    scheduler.submit(members[2:], UNBOUNDED, stays=True)
    scheduler.follow([late := Member("late")])

    assert late.done.wait(10)
    assert [member.answers[0] for member in members[1:]] == ["answer b", "answer c"]
    assert members[0].answers == [model.faults["a"]]


def test_a_refusal_that_raises_holds_nobody_up(scheduled):
    """Of several that are refused, one that cannot even be told why."""
    model = Model()
    members = [Member(name) for name in "abc"]
    refuse = model.refuse

    def fail_on_b(member, error):
        if member.name == "b":
            raise RuntimeError("cannot be told")
        refuse(member, error)

    model.refuse = fail_on_b
    scheduled(model, default_policy=QueuePolicy(max_size=1)).submit(members, UNBOUNDED, stays=True)

    assert members[0].answers == ["answer a"]
    assert isinstance(members[2].answers[0], QueueFull)


def test_a_run_that_would_wait_for_threads_is_a_workers(scheduled):
    """A run that is expected to be short begins at once on the thread that brought it, or not there."""
    model, member = Model(), Member("a")
    model.is_busy = True
    scheduled(model).submit([member], 1_000_000, stays=True)

    assert member.done.wait(10)
    assert model.threads[0].startswith("worker")


def test_large_answers_are_a_workers(scheduled):
    """A run may be short, and what came out of it long to write."""
    model, members = Model(), [Member("a"), Member("b")]
    model.is_short = False
    scheduler = scheduled(model)
    for member in members:
        scheduler.submit([member], 1_000_000, stays=True)

    assert all(member.done.wait(10) for member in members)
    assert model.threads == [threading.current_thread().name] * 2
    assert all(name.startswith("worker") for name in model.answered_by)


def held(model, scheduler):
    """Let a scheduler learn a pace and then run something that lasts; return that, and one that waits."""
    scheduler.submit([Member("first")])
    model.hold("long")
    running, waiting = Member("long"), Member("waiting")
    scheduler.submit([running], 0)
    assert model.entered["long"].wait(10)
    scheduler.submit([waiting], 0)
    return running, waiting


def test_who_would_be_late_is_refused_at_once(scheduled):
    """A run takes a minute, and the caller waits for half of one; without a deadline it may wait."""
    model = Model(expected=60 * 10**9)
    scheduler = scheduled(model, joins=False)
    running, waiting = held(model, scheduler)
    late, patient = Member("late"), Member("patient")
    late.deadline_ns = time.perf_counter_ns() + 30 * 10**9
    with pytest.raises(Overloaded):
        scheduler.check(late)
    scheduler.submit([late, patient], 0)

    assert isinstance(late.answers[0], Overloaded)
    assert late.answers[0].retry_ms > 20_000
    model.gates["long"].set()
    for member in (running, waiting, patient):
        assert member.done.wait(10)
        assert member.answers == [f"answer {member.name}"]


def test_who_has_left_takes_no_place(scheduled):
    """A queue of one that is full of somebody who hung up has room."""
    model = Model(expected=1)
    scheduler = scheduled(model, joins=False, default_policy=QueuePolicy(max_size=1))
    running, left = held(model, scheduler)
    left.gone = True
    caller = Member("caller")
    scheduler.submit([caller], 0)

    assert isinstance(left.answers[0], Cancelled)
    model.gates["long"].set()
    assert caller.done.wait(10)
    assert caller.answers == ["answer caller"]
    assert running.done.wait(10)
