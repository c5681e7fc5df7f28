"""The pure parts of several workers: backoff, replay log, sums, statistics, readiness, threads."""

import inspect
from dataclasses import fields, replace

import pytest

from zoo_server.backends.onnxruntime.threads import ThreadBudget
from zoo_server.dataplane import DataPlane
from zoo_server.errors import AlreadyExists
from zoo_server.models.readiness import Readiness
from zoo_server.supervisors.backoff import Backoff
from zoo_server.supervisors.replay_log import LANES, ReplayLog
from zoo_server.supervisors.worker_statistics import WorkerStatistics
from zoo_server.telemetry import readings
from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.statistics import Execution, ModelStatistics, Snapshot

# -- backoff ---------------------------------------------------------------------------------------


def test_backoff_waits_longer_up_to_a_bound():
    """The first death is made up for at once, each further one later, and none is the last."""
    backoff = Backoff()
    delays = [backoff.after(0.1) for _ in range(6)]
    assert not backoff.is_lasting
    delays += [backoff.after(0.1) for _ in range(3)]

    assert delays == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert backoff.is_lasting


def test_backoff_forgets():
    """A worker that served for a minute did not die of its start: it counts as the first."""
    backoff = Backoff()
    for _ in range(8):
        backoff.after(0)

    assert [backoff.after(60), backoff.after(59)] == [0.0, 0.25]


# -- replay log ---------------------------------------------------------------------------------------


def load(name, **parameters):
    return "load_model", ("", name, parameters)


def unload(name):
    return "unload_model", ("", name, False)


def register(name, size=1):
    return "register_system_region", (name, "/key", 0, size)


def unregister(name):
    return "unregister_system_region", (name,)


def kept(*changes, started_with=(), known=()):
    replay_log = ReplayLog(started_with)
    for change in changes:
        replay_log.record(change, known)
    return list(replay_log.changes())


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
def test_replay_log_keeps_what_is_in_force(changes, left):
    """What a later change undoes is not repeated, and models come first."""
    assert kept(*changes) == left


@pytest.mark.parametrize(
    ("started_with", "known", "left"),
    [
        ((), ["a"], []),
        (["a"], [], [unload("a")]),
        (["*"], ["a"], [unload("a")]),
        (["*"], ["b"], []),
        (["b"], ["a"], [unload("a")]),
        (["b"], [], []),
    ],
)
def test_replay_log_unloads_what_a_worker_starts_with(started_with, known, left):
    """An unload is repeated only where a worker might have the model again; strangers' names are not."""
    assert kept(load("a"), unload("a"), started_with=started_with, known=known) == left


def test_replay_log_unloads_what_an_ensemble_loads():
    """A model that came with another's load would come with it again."""
    assert kept(load("e"), unload("a"), known=["a", "e"]) == [load("e"), unload("a")]


def test_replay_log_keeps_the_last_value_of_each_setting():
    """An empty value is repeated too: it takes a setting back to the server's."""
    changes = kept(
        ("trace_settings", ("", {"trace_rate": ("5",), "trace_count": ("7",)})),
        ("trace_settings", ("m", {"trace_rate": ("6",)})),
        ("trace_settings", ("", {"trace_rate": ()})),
        ("log_settings", ({"log_info": False},)),
        ("log_settings", ({"log_info": True},)),
    )

    assert changes == [
        ("trace_settings", ("", {"trace_rate": ()})),
        ("trace_settings", ("", {"trace_count": ("7",)})),
        ("trace_settings", ("m", {"trace_rate": ("6",)})),
        ("log_settings", ({"log_info": True},)),
    ]


def test_replay_log_knows_every_change():
    """Each method with a lane is recorded, with the arguments that the data plane's has."""
    arguments = {
        name: len(inspect.signature(getattr(DataPlane, name)).parameters) - 1 for name in LANES
    }

    assert arguments == {
        method: len(values)
        for method, values in (
            load("a"),
            unload("a"),
            register("r"),
            unregister("r"),
            ("trace_settings", ("", {})),
            ("log_settings", ({},)),
        )
    }


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
        memory_bytes=0,
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


def test_readings_add_by_version():
    """Each version's pending requests add up, and its load took as long as the longest."""
    rows = [("m", 1, 2, 0.5), ("b", 1, 1, 0.1), ("m", 1, 3, 0.4), ("m", 2, 0, 0.3)]
    total = readings.total(
        replace(reading(name, version, []), pending=pending, load_seconds=took)
        for name, version, pending, took in rows
    )

    assert [(one.name, one.version, one.pending, one.load_seconds) for one in total] == [
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
        for one in counts.total()
    }


def test_what_a_worker_said_outlives_it():
    """Its counts stay as they were last said, and its successor's come on top, again and again."""
    counts = WorkerStatistics()
    counts.update(1, [reading("m", 1, [1, 4], 1)])
    counts.update(2, [reading("m", 1, [2])])
    before = of_whole(counts)
    for _ in range(2):
        counts.end(2)
        assert of_whole(counts) == before
        counts.update(2, [reading("m", 1, [])])
        assert of_whole(counts) == before
    counts.update(2, [reading("m", 1, [3], 2)])

    assert before == {("m", 1): (7, 3, 1)}
    assert of_whole(counts) == {("m", 1): (10, 4, 3)}


def test_what_is_said_again_counts_once():
    """A worker's word takes the place of its earlier one."""
    counts = WorkerStatistics()
    for runs in ([1], [1, 1], [1, 1, 1]):
        counts.update(1, [reading("m", 1, runs)])

    assert of_whole(counts) == {("m", 1): (3, 3, 0)}


def test_all_workers_may_end():
    """With nobody left the counts are still there for those who come."""
    counts = WorkerStatistics()
    counts.update(1, [reading("m", 1, [1])])
    counts.update(2, [reading("m", 1, [1])])
    counts.end(1)
    counts.end(2)
    counts.end(2)  # one that died before it said anything
    counts.update(2, [reading("m", 1, [])])

    assert of_whole(counts) == {("m", 1): (2, 2, 0)}


def test_nothing_waits_in_a_worker_that_ended():
    """Its pending requests and the time of its load are nobody's any more."""
    counts = WorkerStatistics()
    counts.update(1, [replace(reading("m", 1, [1]), pending=5, load_seconds=9.0)])
    counts.end(1)
    counts.update(2, [replace(reading("m", 1, [1]), pending=1, load_seconds=2.0)])
    (whole,) = counts.total()

    assert (whole.pending, whole.load_seconds) == (1, 2.0)


def test_an_unloaded_version_is_forgotten():
    """Once no worker has it; while one has, the counts stay, and those of other versions always."""
    counts = WorkerStatistics()
    both = [reading("m", 1, [1]), reading("m", 2, [1])]
    for worker in (1, 2, 3):
        counts.update(worker, both)
    counts.end(3)
    counts.update(1, both[1:])
    one_has_it = of_whole(counts)
    counts.update(2, both[1:])
    unloaded = of_whole(counts)
    counts.update(2, both)

    assert one_has_it == {("m", 1): (2, 2, 0), ("m", 2): (3, 3, 0)}
    assert unloaded == {("m", 2): (3, 3, 0)}
    assert of_whole(counts)["m", 1] == (1, 1, 0)


def test_a_version_that_is_loaded_anew_begins_at_nothing():
    """Another load in a worker that lives ends what was counted before it, by the dead too."""
    counts = WorkerStatistics()
    for worker in (1, 2):
        counts.update(worker, [reading("m", 1, [1, 1]), reading("b", 1, [1])])
    counts.end(2)
    counts.update(1, [replace(reading("m", 1, [1]), loaded_ns=8), reading("b", 1, [1])])

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


# -- threads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threads", "processes", "left"), [(8, 1, 8), (8, 2, 4), (3, 2, 1), (1, 4, 1)]
)
def test_workers_share_the_threads(threads, processes, left):
    """Each gets its part, and at least one."""
    budget = ThreadBudget(threads=threads, why="as asked for")

    assert budget.shared_by(processes).threads == left
