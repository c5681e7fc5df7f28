"""What the fast transport does otherwise than grpcio's own server, and how it rests on grpcio's core."""

import hashlib
import logging
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from zoo_server.protocols.grpc.transport import core, open_transport
from zoo_server.protocols.grpc.transport.fast import FastTransport
from zoo_server.protocols.grpc.transport.fast_loop import BurstLoop
from zoo_server.protocols.grpc.transport.public import PublicTransport, TransportOptions

Status = grpc.StatusCode
SOME_BYTES = bytes(1 << 16)


def test_a_burst_goes_to_its_handler_as_one_or_one_by_one():
    """The fast transport hands over what is ready together; every call is answered."""
    sizes = []

    def behaviour(message, context):
        raise AssertionError("the fast transport calls the burst")

    def burst(calls, _inline_budget_ns, *, stays):
        assert stays
        sizes.append(len(calls))
        for answered in calls:
            answered.reply(answered.message * 2)

    behaviour.burst = burst
    workers = ThreadPoolExecutor(2)
    server = open_transport(
        "fast",
        TransportOptions(host="127.0.0.1", port=0, handler_threads=2, max_message_bytes=1000),
        workers,
    )
    port = server.bind()
    handler = grpc.unary_unary_rpc_method_handler(behaviour)
    server.start([grpc.method_handlers_generic_handler("s", {"Infer": handler})])
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            ask = channel.unary_unary("/s/Infer")
            futures = [ask.future(str(number).encode(), timeout=10) for number in range(200)]
            answers = [future.result() for future in futures]
    finally:
        server.stop(5)
        workers.shutdown()

    assert answers == [str(number).encode() * 2 for number in range(200)]
    assert sum(sizes) == 200


class Arrivals:
    """A completion queue: requests of one caller, and of a second one, ready at the second look."""

    def __init__(self):
        self.looks = 0
        self._sizes = []
        self._loop = BurstLoop(self, lambda count: None, deputies=0)
        self._gather = self._loop.gatherer(self._answer)

    def serve(self, *rounds):
        """Have the loop take one request a round, or two; return how large each burst was."""
        self._rounds, self._ready, self._sizes = list(rounds), [], []
        self._loop.over.clear()
        self._loop.run()
        return self._sizes

    def poll(self, deadline=None):
        if deadline:
            if not self._rounds:
                self._loop.over.set()
                return self._event(core.TIMED_OUT)
            self._ready = [None, *[self._arrives] * (self._rounds.pop(0) - 1)]
            return self._event(None, self._arrives)
        self.looks += 1
        arrival = self._ready.pop(0) if self._ready else None
        return self._event(core.TIMED_OUT if arrival is None else None, arrival)

    def _answer(self, calls, _inline_budget_ns, *, stays):
        self._sizes.append(len(calls))

    def _arrives(self, _event):
        self._gather(SimpleNamespace(watch=lambda: None))

    def _event(self, kind, tag=None):
        return SimpleNamespace(completion_type=kind, tag=tag)


def test_who_answers_one_by_one_finds_out_that_there_are_several():
    """Requests that are ready one after the other are gathered; a lone caller is not kept waiting."""
    arrivals = Arrivals()

    assert arrivals.serve(*[2] * 10) == [2] * 10
    arrivals.looks = 0
    assert arrivals.serve(*[1] * 1000) == [1] * 1000
    assert arrivals.looks < 1200
    changed = arrivals.serve(*[1] * 20, *[2] * 50)
    assert changed[:20] == [1] * 20
    assert changed[-20:] == [2] * 20


class Held:
    """A completion queue that keeps who asks it first, as a socket does that is never empty."""

    def __init__(self, *, busy=True, sockets=1):
        """Each of the sockets keeps a thread busy, or has it wait."""
        self.events = queue.SimpleQueue()
        self.let_go = threading.Event()
        self.looks = 0
        self._busy = busy
        self._first = [True] * sockets

    def poll(self, deadline=None):
        self.looks += 1
        try:
            self._first.pop()
        except IndexError:
            pass
        else:
            while not self.let_go.wait(0 if self._busy else 20):
                hashlib.sha256(SOME_BYTES)  # without the interpreter's lock, as the core
        try:
            tag = self.events.get(timeout=0.01 if deadline else 0)
        except queue.Empty:
            return SimpleNamespace(completion_type=core.TIMED_OUT, tag=None)
        return SimpleNamespace(completion_type=None, tag=tag)


@pytest.mark.parametrize("sockets", [1, 3])
def test_a_thread_that_the_core_keeps_keeps_no_event(sockets):
    """While sockets keep the loop, and deputies, in the core, the next takes the events of the others."""
    held, seen = Held(sockets=sockets), queue.SimpleQueue()
    loop = BurstLoop(held, lambda count: None)
    gather = loop.gatherer(lambda calls, _budget, *, stays: seen.put(len(calls)))
    running = threading.Thread(target=loop.run)
    running.start()
    for _ in range(3):
        held.events.put(lambda _: gather(SimpleNamespace(watch=lambda: None)))
        assert seen.get(timeout=10) == 1
    held.events.put(lambda _: loop.over.set())
    assert loop.over.wait(10)
    held.let_go.set()
    running.join(10)
    assert not running.is_alive()


def test_a_thread_that_waits_in_the_core_needs_no_deputy():
    """It takes its events itself, and a server that nobody asks does nothing."""
    held = Held(busy=False)
    loop = BurstLoop(held, lambda count: None)
    running = threading.Thread(target=loop.run)
    running.start()
    time.sleep(0.5)
    looks = held.looks
    loop.over.set()
    held.let_go.set()
    running.join(10)

    assert not running.is_alive()
    assert looks == 1


def test_what_ends_a_deputy_ends_the_loop():
    """A fault that the loop itself would end of is raised by it, whichever thread it befalls."""

    def end(_):
        raise SystemExit("a bug")

    held = Held()
    loop = BurstLoop(held, lambda count: None)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(loop.run)
        held.events.put(end)
        assert loop.over.wait(10)
        held.let_go.set()
        with pytest.raises(SystemExit, match="a bug"):
            running.result(10)


def test_a_changed_core_falls_back(monkeypatch, caplog):
    """If the self-check fails, the public transport serves, and one line says so."""

    def broken():
        raise AttributeError("module has no attribute 'Server'")

    monkeypatch.setattr(core, "check", broken)
    caplog.set_level(logging.WARNING, "zoo_server")
    workers = ThreadPoolExecutor(1)
    options = TransportOptions(host="127.0.0.1", port=0, handler_threads=1, max_message_bytes=1000)
    opened = open_transport("fast", options, workers)
    workers.shutdown()

    assert isinstance(opened, PublicTransport)
    assert [record.getMessage() for record in caplog.records] == [
        f"the fast transport does not work with grpcio {grpc.__version__} (AttributeError: module "
        "has no attribute 'Server'): using the public one"
    ]


def test_the_private_module_has_one_door():
    """Only server/zoo_server/protocols/grpc/transport/core.py names grpcio's private module."""
    root = Path(core.__file__).parents[3]
    named = [
        path.relative_to(root).as_posix()
        for path in sorted(root.rglob("*.py"))
        if "import cygrpc" in path.read_text() or "grpc._cython import" in path.read_text()
    ]

    assert named == ["protocols/grpc/transport/core.py"]


class Lingering:
    """The core's server, slow to come back from its shutdown, as it is on a busy machine."""

    def __init__(self, server):
        self._server = server
        self.destroyed = threading.Event()
        self.destroyed_under_shutdown = False

    def __getattr__(self, name):
        return getattr(self._server, name)

    def shutdown(self, queue, tag):
        self._server.shutdown(queue, tag)
        self.destroyed_under_shutdown = self.destroyed.wait(0.5)

    def destroy(self):
        self.destroyed.set()
        self._server.destroy()


def test_fast_destroys_no_server_under_its_shutdown(monkeypatch):
    """The loop hears of the shutdown before the call returns, and waits: else the process may end."""
    opens = core.Server
    opened = []

    def lingering(*arguments):
        opened.append(Lingering(opens(*arguments)))
        return opened[-1]

    monkeypatch.setattr(core, "Server", lingering)
    with ThreadPoolExecutor(1) as workers:
        options = TransportOptions(
            host="127.0.0.1", port=0, max_message_bytes=1024, handler_threads=1
        )
        server = FastTransport(options, workers)
        server.bind()
        server.start([])
        server.stop(5)

    (one,) = opened
    assert one.destroyed.wait(5)
    assert not one.destroyed_under_shutdown
