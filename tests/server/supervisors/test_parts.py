"""The pure parts of several workers: journal, backoff, sums, counts, readiness, frames."""

import asyncio
import socket
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path

import pytest

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.backends.onnxruntime.threads import ThreadBudget
from zoo_server.config import ServerConfig
from zoo_server.errors import AlreadyExists, Unavailable
from zoo_server.models.readiness import Readiness
from zoo_server.protocols.grpc.transport.spread import block_of, spread_evenly
from zoo_server.supervisors import frames
from zoo_server.supervisors.backoff import Backoff
from zoo_server.supervisors.frames import Frame, Kind
from zoo_server.supervisors.replay_log import LANES, Journal
from zoo_server.supervisors.supervisor import Supervisor
from zoo_server.supervisors.supervisor_channel import Place
from zoo_server.supervisors.worker_process import Hired
from zoo_server.supervisors.worker_statistics import Counts
from zoo_server.telemetry import readings
from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.statistics import Execution, ModelStatistics, Snapshot

# -- backoff ---------------------------------------------------------------------------------------


def test_backoff_waits_longer_and_gives_up():
    """The first death is made up for at once, each further one later, and the seventh not."""
    backoff = Backoff()

    assert [backoff.after(0.1) for _ in range(7)] == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, None]


def test_backoff_forgets():
    """A worker that served for a minute did not die of its start: it counts as the first."""
    backoff = Backoff()
    for _ in range(6):
        backoff.after(0)

    assert [backoff.after(60), backoff.after(59)] == [0.0, 0.25]


# -- journal ---------------------------------------------------------------------------------------


def load(name, **parameters):
    request = pb.RepositoryModelLoadRequest(model_name=name)
    for key, value in parameters.items():
        request.parameters[key].string_param = value
    return "RepositoryModelLoad", request.SerializeToString()


def unload(name):
    return "RepositoryModelUnload", pb.RepositoryModelUnloadRequest(
        model_name=name
    ).SerializeToString()


def register(name, size=1):
    return "SystemSharedMemoryRegister", pb.SystemSharedMemoryRegisterRequest(
        name=name, byte_size=size
    ).SerializeToString()


def unregister(name):
    return "SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest(
        name=name
    ).SerializeToString()


def kept(*changes, started_with=(), known=()):
    journal = Journal(started_with)
    for method, request in changes:
        journal.record(method, request, known)
    return list(journal.changes())


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ([load("a"), load("b")], [load("a"), load("b")]),
        ([load("a"), load("b"), load("a", config="{}")], [load("b"), load("a", config="{}")]),
        ([load("a"), unload("a")], []),
        ([unload("never")], []),
        ([register("r"), register("s"), unregister("r")], [register("s")]),
        ([register("r"), register("s"), unregister("")], []),
        ([register("r"), unregister("r"), register("r", 2)], [register("r", 2)]),
        ([register("r"), load("a")], [load("a"), register("r")]),
    ],
)
def test_journal_keeps_what_is_in_force(changes, left):
    """What a later change undoes is not repeated, and models come first."""
    assert kept(*changes) == left


@pytest.mark.parametrize(
    ("started_with", "known", "left"),
    [
        ((), ["a"], []),
        (["a"], [], [unload("a")]),
        (["*"], ["a"], [unload("a")]),
        (["*"], ["b"], []),
        (["b"], ["a"], []),
    ],
)
def test_journal_unloads_what_a_worker_starts_with(started_with, known, left):
    """An unload is repeated only where a worker would have the model again; strangers' names are not."""
    assert kept(load("a"), unload("a"), started_with=started_with, known=known) == left


def test_journal_merges_settings():
    """Of each setting the last value is repeated, an empty one too: it takes a setting back."""
    trace = [
        pb.TraceSettingRequest(model_name=model, settings={key: {"value": values}})
        for model, key, values in (
            ("", "trace_rate", ["5"]),
            ("m", "trace_rate", ["6"]),
            ("", "trace_rate", []),
            ("", "trace_count", ["7"]),
        )
    ]
    logs = [
        pb.LogSettingsRequest(settings={"log_info": {"bool_param": value}})
        for value in (False, True)
    ]
    changes = kept(
        *(("TraceSetting", request.SerializeToString()) for request in trace),
        *(("LogSettings", request.SerializeToString()) for request in logs),
    )
    server, model = (pb.TraceSettingRequest.FromString(raw) for _, raw in changes[:2])

    assert {key: list(one.value) for key, one in server.settings.items()} == {
        "trace_rate": [],
        "trace_count": ["7"],
    }
    assert (model.model_name, list(model.settings["trace_rate"].value)) == ("m", ["6"])
    assert changes[2:] == [("LogSettings", logs[1].SerializeToString())]


def test_journal_knows_every_change():
    """Each RPC with a lane can be recorded; one that changes nothing is a mistake of ours."""
    for method in LANES:
        Journal().record(method, b"")
    with pytest.raises(KeyError):
        Journal().record("ModelInfer", b"")


# -- sums ------------------------------------------------------------------------------------------


def counted(runs, failures):
    statistics = ModelStatistics()
    for rows in runs:
        statistics.record_run(
            Execution(
                requests=1,
                rows=rows,
                arrived_ns=[0],
                queued_ns=[10_000],
                started_ns=30_000,
                ready_ns=60_000,
                inferred_ns=100_000 * rows,
                finished_ns=150_000 * rows,
            )
        )
    for _ in range(failures):
        statistics.record_failure(1000, AlreadyExists("x"))
    return statistics.snapshot()


def reading(name, version, runs, failures=0):
    return ModelReading(
        name=name,
        version=version,
        sums=counted(runs, failures),
        pending=0,
        load_seconds=0.0,
        loaded_ns=7,
    )


def without_moment(snapshot):
    return [
        getattr(snapshot, row.name) for row in fields(Snapshot) if row.name != "last_inference_ms"
    ]


def test_every_field_adds_up():
    """Two processes that counted a part each come to what one would have counted of all."""
    parts = [counted([1, 4], 1), counted([4, 2], 2)]
    whole = counted([1, 4, 4, 2], 3)
    summed = readings.add(parts)

    assert without_moment(summed) == without_moment(whole)
    assert summed.last_inference_ms == parts[1].last_inference_ms
    assert all(value for value in without_moment(whole))


def test_readings_survive_the_pipe():
    """What was read in one process is the same in another."""
    one = replace(reading("m", 3, [1, 2], 1), pending=2, load_seconds=0.5)

    assert readings.from_json(readings.to_json([one])) == [one]


def test_readings_add_by_version():
    """Each version's pending requests add up, and its load took as long as the longest."""
    rows = [("m", 1, 2, 0.5), ("b", 1, 1, 0.1), ("m", 1, 3, 0.4), ("m", 2, 0, 0.3)]
    found = readings.total(
        replace(reading(name, version, []), pending=pending, load_seconds=took)
        for name, version, pending, took in rows
    )

    assert [(one.name, one.version, one.pending, one.load_seconds) for one in found] == [
        ("b", 1, 1, 0.1),
        ("m", 1, 5, 0.5),
        ("m", 2, 0, 0.3),
    ]


# -- counts of workers that end --------------------------------------------------------------------


def of_whole(counts):
    """Return how many rows, runs and failures of each version the whole has counted."""
    return {
        (one.name, one.version): (
            one.sums.inference_count,
            one.sums.execution_count,
            one.sums.fail.count,
        )
        for one in counts.whole()
    }


def test_what_a_worker_said_outlives_it():
    """Its counts stay as they were last said, and its successor's come on top, again and again."""
    counts = Counts()
    counts.say(1, [reading("m", 1, [1, 4], 1)])
    counts.say(2, [reading("m", 1, [2])])
    before = of_whole(counts)
    for _ in range(2):
        counts.end(2)
        assert of_whole(counts) == before
        counts.say(2, [reading("m", 1, [])])
        assert of_whole(counts) == before
    counts.say(2, [reading("m", 1, [3], 2)])

    assert before == {("m", 1): (7, 3, 1)}
    assert of_whole(counts) == {("m", 1): (10, 4, 3)}


def test_what_is_said_again_counts_once():
    """A worker's word takes the place of its earlier one."""
    counts = Counts()
    for runs in ([1], [1, 1], [1, 1, 1]):
        counts.say(1, [reading("m", 1, runs)])

    assert of_whole(counts) == {("m", 1): (3, 3, 0)}


def test_all_workers_may_end():
    """With nobody left the counts are still there for those who come."""
    counts = Counts()
    counts.say(1, [reading("m", 1, [1])])
    counts.say(2, [reading("m", 1, [1])])
    counts.end(1)
    counts.end(2)
    counts.end(2)  # one that died before it said anything
    counts.say(2, [reading("m", 1, [])])

    assert of_whole(counts) == {("m", 1): (2, 2, 0)}


def test_nothing_waits_in_a_worker_that_ended():
    """Its pending requests and the time of its load are nobody's any more."""
    counts = Counts()
    counts.say(1, [replace(reading("m", 1, [1]), pending=5, load_seconds=9.0)])
    counts.end(1)
    counts.say(2, [replace(reading("m", 1, [1]), pending=1, load_seconds=2.0)])
    (whole,) = counts.whole()

    assert (whole.pending, whole.load_seconds) == (1, 2.0)


def test_an_unloaded_version_is_forgotten():
    """Once no worker has it; while one has, the counts stay, and those of other versions always."""
    counts = Counts()
    both = [reading("m", 1, [1]), reading("m", 2, [1])]
    for worker in (1, 2, 3):
        counts.say(worker, both)
    counts.end(3)
    counts.say(1, both[1:])
    one_has_it = of_whole(counts)
    counts.say(2, both[1:])
    unloaded = of_whole(counts)
    counts.say(2, both)

    assert one_has_it == {("m", 1): (2, 2, 0), ("m", 2): (3, 3, 0)}
    assert unloaded == {("m", 2): (3, 3, 0)}
    assert of_whole(counts)["m", 1] == (1, 1, 0)


def test_a_version_that_is_loaded_anew_begins_at_nothing():
    """Another load in a worker that lives ends what was counted before it, by the dead too."""
    counts = Counts()
    for worker in (1, 2):
        counts.say(worker, [reading("m", 1, [1, 1]), reading("b", 1, [1])])
    counts.end(2)
    counts.say(1, [replace(reading("m", 1, [1]), loaded_ns=8), reading("b", 1, [1])])

    assert of_whole(counts) == {("b", 1): (2, 2, 0), ("m", 1): (1, 1, 0)}


# -- readiness -------------------------------------------------------------------------------------


def test_ready_is_what_is_ready_everywhere():
    """A version counts once every worker has it; a model that one lacks is known and not ready."""
    one = Readiness(server=True, models={"a": [1, 2], "b": [1]})
    two = Readiness(server=False, models={"a": [2, 3]})
    both = Readiness.common([one, two])

    assert both == Readiness(server=False, models={"a": [2], "b": []})
    assert [both.is_model_ready("a", version) for version in ("", "1", "2")] == [True, False, True]
    assert not both.is_model_ready("b", "")
    assert Readiness.common([one]) == one
    assert not Readiness.common([]).server
    assert Readiness.from_json(one.to_json()) == one


# -- frames ----------------------------------------------------------------------------------------

FRAMES = [
    Frame(kind=Kind.CALL, number=2**40, name="RepositoryModelLoad", payload=b"x" * 300_000),
    Frame(kind=Kind.ANSWER, number=1),
    Frame(kind=Kind.TELL, name="leave"),
]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.kind.name)
def test_frames_cross(frame):
    """Both ends read what the other wrote, in pieces or whole, and then the end."""

    async def crossing():
        reader = asyncio.StreamReader()
        for part in frame.parts():
            reader.feed_data(part)
        reader.feed_eof()
        return [await frames.read(reader), await frames.read(reader)]

    assert asyncio.run(crossing()) == [frame, None]
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.setblocking(True)
            raw = b"".join(frame.parts())[:100]
            ours.sendall(raw)
        if len(raw) == len(b"".join(frame.parts())):
            assert frames.receive(theirs) == frame
        assert frames.receive(theirs) is None


def test_errors_cross_by_their_class():
    """The caller gets the same status whichever process found the mistake; ours stay ours."""
    error = Frame.failure(1, AlreadyExists("taken")).error()
    assert (type(error), str(error)) == (AlreadyExists, "taken")
    assert type(Frame.failure(1, KeyError("x")).error()) is RuntimeError


def test_a_frame_that_is_too_long_is_refused():
    """A length that no message can have is not waited for."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"\x01" + b"\xff" * 18)
        with pytest.raises(ValueError, match="is longer than"):
            frames.receive(theirs)


# -- spread ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "listen", "host"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
    ],
    ids=["IPv4", "IPv4 on a socket of both", "IPv6"],
)
def test_connections_are_dealt_out_by_blocks_of_ports(family, listen, host):
    """Each of two listeners takes the clients of every other block of sixteen ports."""
    with ExitStack() as stack:
        port, listeners = 0, []
        for _ in range(2):
            listener = stack.enter_context(socket.socket(family))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind((listen, port))
            listener.listen()
            listener.setblocking(False)
            port = listener.getsockname()[1]
            listeners.append(listener)
        assert spread_evenly(port, 2)
        right = []
        for _ in range(40):
            client = stack.enter_context(socket.create_connection((host, port)))
            taken, _ = listeners[block_of(client.getsockname()[1], 2)].accept()
            right.append(stack.enter_context(taken).getpeername()[1] == client.getsockname()[1])

    assert right == [True] * 40


def test_spreading_what_nobody_listens_on():
    """Without a listener there is nothing to spread, and no error: the kernel's hash stays."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))

        assert not spread_evenly(bound.getsockname()[1], 2)


# -- the configuration of a worker -----------------------------------------------------------------

CONFIGS = [
    {},
    {"http_port": None, "metrics_port": 0, "threads": 3, "server_name": "--odd name"},
    {
        "model_control_mode": "explicit",
        "load_model": ("a", "*"),
        "allow_shared_memory": True,
        "self_test": True,
        "drain_seconds": 0.5,
        "token_file": Path("-t"),
        "workers": 4,
    },
]


@pytest.mark.parametrize("options", CONFIGS, ids=range(len(CONFIGS)))
def test_a_worker_gets_the_whole_configuration(options, monkeypatch):
    """Its command line says every option, so that it is what the supervisor's is; no environment."""
    monkeypatch.setenv("ZOO_LOAD_MODEL", "other")
    monkeypatch.setenv("ZOO_SELF_TEST", "1")
    config = ServerConfig(repository=Path("--models"), **options)

    assert ServerConfig.parse_arguments(config.as_arguments()) == config


@pytest.mark.parametrize(
    ("threads", "processes", "left"), [(8, 1, 8), (8, 2, 4), (3, 2, 1), (1, 4, 1)]
)
def test_workers_share_the_threads(threads, processes, left):
    """Each gets its part, and at least one."""
    budget = ThreadBudget(threads=threads, why="as asked for")

    assert budget.shared_by(processes).threads == left


# -- a worker, as the supervisor sees it -----------------------------------------------------------


class Process:
    """A process that only remembers that it was ended."""

    pid = 1

    def __init__(self):
        self.killed = False

    def kill(self):
        self.killed = True


def test_a_worker_that_does_not_answer_is_ended():
    """What is not answered in time fails, and the worker is ended, so that it is replaced."""

    async def asking():
        ours, theirs = socket.socketpair()
        with theirs:
            process = Process()
            place = Place(number=1, workers=2, pipe=0, listeners={})
            worker = Hired(place, process, await asyncio.open_unix_connection(sock=ours))
            with pytest.raises(Unavailable, match="worker 1 did not answer"):
                await worker.call("ping", b"", 0.01)
            worker.close()
            with pytest.raises(Unavailable, match="worker 1 has ended"):
                await worker.call("ping", b"", 10)
        return process.killed

    assert asyncio.run(asking())


class Follower:
    """A worker that makes changes, or fails to."""

    def __init__(self, number, error=None):
        self.number = number
        self.follows = True
        self.readiness = Readiness(server=True, models={"m": [1]})
        self.asked = []
        self.left = False
        self._error = error

    async def change(self, method, _request, _seconds):
        self.asked.append(method)
        if self._error is not None:
            raise self._error
        return str(self.number).encode()

    async def call(self, *_):
        return b""

    def leave(self):
        self.left = True


def change(asked, workers):
    async def changing():
        supervisor = Supervisor(ServerConfig(repository=Path("models"), workers=len(workers)), {})
        supervisor.workers.update({worker.number: worker for worker in workers})
        try:
            answer = await supervisor.change(asked, *register("r"))
        finally:
            kept_changes.extend(supervisor.journal.changes())
        return answer

    kept_changes = []
    try:
        return asyncio.run(changing()), kept_changes
    except AlreadyExists as error:
        return error, kept_changes


def test_a_change_is_made_by_all():
    """The one that was asked answers, the others follow, and the journal has it."""
    one, two = Follower(1), Follower(2)

    assert change(two, [one, two]) == (b"2", [register("r")])
    assert one.asked == two.asked == ["SystemSharedMemoryRegister"]


def test_a_change_that_fails_at_first_is_nobodys():
    """Where the asked one fails its error is the answer, and no other is bothered."""
    one, two = Follower(1, AlreadyExists("r")), Follower(2)
    answer, kept_changes = change(one, [one, two])

    assert (str(answer), kept_changes, two.asked) == ("r", [], [])
    assert not one.left


def test_a_worker_that_does_not_follow_is_replaced():
    """The change holds; who could not make it leaves, and its successor makes up for it."""
    one, two, three = Follower(1), Follower(2, AlreadyExists("r")), Follower(3)

    assert change(one, [one, two, three]) == (b"1", [register("r")])
    assert [worker.left for worker in (one, two, three)] == [False, True, False]
