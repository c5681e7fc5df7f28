"""Calls between the processes of a server: what crosses, what is bounded, and who is lost."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import grpc
import pytest

from tests.waiting import until
from zoo_server.config import ServerConfig
from zoo_server.errors import AlreadyExists, QueueFull, ServerExiting, WorkerLost
from zoo_server.models.readiness import Readiness
from zoo_server.supervisors import rpc
from zoo_server.supervisors.sequence_forwarder import SequenceForwarder, answer_forwarded
from zoo_server.supervisors.state import WorkerSpec, WorkerState
from zoo_server.supervisors.supervisor_channel import SupervisorChannel
from zoo_server.supervisors.worker_group import WorkerGroup
from zoo_server.supervisors.worker_process import WorkerProcess

CONFIG = ServerConfig(repository=Path("models"), workers=2)


@pytest.fixture
def address(tmp_path):
    """Where a process may answer."""
    return f"unix:{tmp_path}/s"


@contextmanager
def answering(address, **functions):
    """Answer unary calls at an address; a function that is a generator answers a stream."""
    streams = {"forward": functions.pop("forward")} if "forward" in functions else {}
    unary = {name: rpc.answering(function) for name, function in functions.items()}
    server = grpc.server(ThreadPoolExecutor(4), options=rpc.OPTIONS)
    server.add_generic_rpc_handlers((rpc.handlers(unary, **streams),))
    server.add_insecure_port(address)
    server.start()
    try:
        yield server
    finally:
        server.stop(0).wait()


def spec(number, address):
    return WorkerSpec(
        config=CONFIG, number=number, address=address, supervisor=address, listeners={}
    )


def raising(error):
    def function(*_):
        raise error

    return function


# -- a worker asks the supervisor ------------------------------------------------------------------


@pytest.fixture
def channel(address):
    """A worker's channel."""
    channel = SupervisorChannel(spec(2, address), lambda: None)
    yield channel
    channel.close()


def test_results_and_errors_cross(address, channel):
    """A worker gets what the supervisor returns, and the same error whoever found the mistake."""
    with answering(
        address, add=lambda caller, a, b: (caller, a + b), fail=raising(AlreadyExists("taken"))
    ):
        assert channel.call("add", 1, 2) == (address, 3)
        with pytest.raises(AlreadyExists, match="taken"):
            channel.call("fail")
        channel.tell("fail")  # nobody waits for what comes of it


@pytest.mark.parametrize("size", [0, 5_000_000])
def test_large_values_cross(size, address, channel):
    """A model's files may be of any size, where a single process would take them."""
    with answering(address, size=lambda _, raw: len(raw)):
        assert channel.call("size", bytes(size)) == size


def test_a_bug_elsewhere_is_none_of_the_callers_business(address, channel, caplog):
    """What the other process did not mean to raise is an internal error here, and logged there."""
    words = "another process of the server failed"
    with answering(address, bug=raising(KeyError("x"))), pytest.raises(RuntimeError, match=words):
        channel.call("bug")
    assert "KeyError" in caplog.text


def test_no_answer_is_a_server_that_exits(address, channel):
    """Nobody there, or nobody in time: a worker without its supervisor is about to leave."""
    with pytest.raises(ServerExiting):
        channel.call("add", 1, 2)
    over = Event()
    with answering(address, wait=lambda _: over.wait(20)):
        with pytest.raises(ServerExiting):
            channel.call("wait", seconds=0.01)
        over.set()


# -- the supervisor asks a worker ------------------------------------------------------------------


class Process:
    """A process that only remembers that it was ended."""

    pid = 1
    returncode = None

    def kill(self):
        self.returncode = -9


def test_a_worker_that_does_not_answer_is_ended(address):
    """What is not answered in time fails, and the worker is ended, so that it is replaced."""

    async def asking():
        process = Process()
        worker = WorkerProcess(spec(1, address), process)
        for _ in range(2):
            with pytest.raises(WorkerLost, match="worker 1 has ended"):
                await worker.call("exchange", seconds=0.05)
            assert process.returncode == -9
        return worker

    over = Event()
    with answering(address, exchange=lambda: over.wait(20)):
        asyncio.run(asking())
        over.set()


@pytest.mark.parametrize(("method", "waits"), [("load_model", True), ("log_settings", False)])
def test_only_a_load_may_take_long(method, waits, address, monkeypatch):
    """A model is waited for as long as it takes to load; a worker that hangs in any other change is not."""
    monkeypatch.setattr(rpc, "ANSWER_SECONDS", 0.05)

    async def changing():
        process = Process()
        await WorkerProcess(spec(1, address), process).change(method)
        return process.returncode

    with answering(address, **{method: lambda: time.sleep(0.3)}):
        if waits:
            assert asyncio.run(changing()) is None
        else:
            with pytest.raises(WorkerLost):
                asyncio.run(changing())


class Follower:
    """A worker that makes changes, or fails to."""

    def __init__(self, number, error=None):
        self.spec = spec(number, str(number))
        self.process = Process()
        self.has_joined = True
        self.state = WorkerState()
        self.changes = []
        self.left = False
        self.is_broken = False
        self._error = error

    async def change(self, method, *_):
        self.changes.append(method)
        if self._error is not None:
            raise self._error
        return self.spec.number

    async def call(self, _method, group):
        if self.is_broken:
            raise KeyError("a bug")
        return WorkerState(number=group.number, readiness=Readiness(server=True, models={}))

    def leave(self):
        self.left = True

    def kill(self):
        self.process.kill()


REGISTER = ("register_system_region", ("r", "/key", 0, 16))


def change(requested, workers):
    """Return the answer or the error, and what is kept for workers that come later."""

    async def changing():
        group = WorkerGroup((), asyncio.Event())
        group.workers.update({worker.spec.address: worker for worker in workers})
        try:
            answer = await group.change(REGISTER[0], requested, *REGISTER[1])
        except AlreadyExists as error:
            answer = error
        return answer, list(group.replay_log.changes())

    return asyncio.run(changing())


def test_a_change_is_made_by_all():
    """The one that was asked answers, the others follow, and the replay log has it."""
    one, two = Follower(1), Follower(2)

    assert change(two, [one, two]) == (2, [REGISTER])
    assert one.changes == two.changes == [REGISTER[0]]


def test_a_change_that_fails_at_first_is_nobodys():
    """Where the asked one fails its error is the answer, and no other is bothered."""
    one, two = Follower(1, AlreadyExists("r")), Follower(2)
    answer, replay = change(one, [one, two])

    assert (str(answer), replay, two.changes) == ("r", [], [])
    assert not one.left


def test_a_worker_that_does_not_follow_is_replaced():
    """The change holds; who could not make it leaves, and its successor makes up for it."""
    one, two, three = Follower(1), Follower(2, AlreadyExists("r")), Follower(3)

    assert change(one, [one, two, three]) == (1, [REGISTER])
    assert [worker.left for worker in (one, two, three)] == [False, True, False]


def test_a_worker_that_cannot_tell_its_state_is_ended(caplog):
    """A bug in one worker ends it alone: the change holds, and the others serve on."""
    one, two = Follower(1), Follower(2)
    two.is_broken = True

    assert change(one, [one, two]) == (1, [REGISTER])
    assert (one.process.returncode, two.process.returncode) == (None, -9)
    assert "a bug" in caplog.text


# -- a worker forwards requests --------------------------------------------------------------------


class Sender:
    """Who waits for an answer (zoo_server.protocols.grpc.infer.Reply)."""

    def __init__(self):
        self.outcome = None

    def relay(self, answer, status):
        self.outcome = answer if status is None else status

    def fail(self, error):
        self.outcome = error


class SequencePath:
    """Keeps what it is asked, and answers in reverse order (zoo_server.protocols.grpc.infer.InferPath)."""

    def __init__(self, answers=True):
        self.calls = []
        self.answers = answers

    def answer(self, calls, _budget):
        self.calls += calls
        for call in reversed(calls) if self.answers else ():
            if call.message == b"bad":
                call.abort(grpc.StatusCode.INVALID_ARGUMENT, "bad request")
            else:
                call.reply(b"answer to " + call.message)


@contextmanager
def forwarding(address, path):
    forward = lambda requests, _: answer_forwarded(path, requests)  # noqa: E731
    with answering(address, forward=forward) as server:
        forwarder = SequenceForwarder(address)
        yield forwarder, server
        forwarder.close()


def test_forwarded_requests_keep_their_order_and_get_their_own_answers(address):
    """Hundreds at once, of which some fail: each sender is told what became of its own."""
    messages = [b"bad" if number % 7 == 3 else str(number).encode() for number in range(500)]
    senders = [Sender() for _ in messages]
    path = SequencePath()
    with forwarding(address, path) as (forwarder, _):
        for message, sender in zip(messages, senders, strict=True):
            forwarder.forward(message, sender)
        until(lambda: all(sender.outcome is not None for sender in senders))

    assert [call.message for call in path.calls] == messages
    for message, sender in zip(messages, senders, strict=True):
        if message == b"bad":
            assert sender.outcome == (grpc.StatusCode.INVALID_ARGUMENT, "bad request")
        else:
            assert sender.outcome == b"answer to " + message


def test_what_may_be_forwarded_at_once_is_bounded(address):
    """A sequence worker that answers nothing does not fill the memory of the others; its end frees all."""
    senders = [Sender() for _ in range(16_385)]
    with forwarding(address, SequencePath(answers=False)) as (forwarder, server):
        for sender in senders:
            forwarder.forward(b"x", sender)
        refused = [type(sender.outcome) for sender in senders if sender.outcome is not None]
        server.stop(0).wait()
        until(lambda: all(sender.outcome is not None for sender in senders))
        late = Sender()
        forwarder.forward(b"x", late)

    assert refused == [QueueFull]
    assert {type(sender.outcome) for sender in senders[:-1]} == {WorkerLost}
    assert isinstance(late.outcome, WorkerLost)


def test_a_forwarded_call_that_is_lost_leaves_no_other_waiting(address):
    """The thread that tells all of them goes on, while the sequence worker lives and when it ends."""

    class Lost(Sender):
        def relay(self, answer, status):
            raise RuntimeError("the transport has let go of it")

        def fail(self, error):
            raise RuntimeError("the transport has let go of it")

    answered, behind = Sender(), Sender()
    path = SequencePath()
    with forwarding(address, path) as (forwarder, server):
        for sender in (Lost(), answered):
            forwarder.forward(b"x", sender)
        until(lambda: answered.outcome is not None)
        path.answers = False
        for sender in (Lost(), behind):
            forwarder.forward(b"x", sender)
        until(lambda: len(path.calls) == 4)
        server.stop(0).wait()
        until(lambda: behind.outcome is not None)

    assert answered.outcome == b"answer to x"
    assert isinstance(behind.outcome, WorkerLost)
