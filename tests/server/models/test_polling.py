"""Poll mode: what changed on disk, as a pure diff, and what a server makes of it."""

import os
import shutil

import numpy as np
import pytest

from tests.server.transports import OVER_ONE_TRANSPORT
from zoo_proto import grpc_service_pb2 as pb
from zoo_server.repository.diff import Load, Unload, diff, settled
from zoo_server.repository.scan import ModelFiles, ModelRepository

ROW = np.array([[1, 2, 3, 4]], np.float32)


def files(name, stamp=0):
    return ModelFiles(
        name=name, folder=None, confinement=None, versions=(1,), stamp=(("f", stamp, 0, 0),)
    )


A, B, A2 = files("a"), files("b"), files("a", 1)


@pytest.mark.parametrize(
    ("before", "after", "actions"),
    [
        ([], [], []),
        ([A, B], [B, A], []),
        ([], [B, A], [Load(A), Load(B)]),
        ([A, B], [], [Unload("a"), Unload("b")]),
        ([A, B], [A2, B], [Load(A2)]),
        ([A], [B], [Unload("a"), Load(B)]),
    ],
)
def test_diff(before, after, actions):
    """What is new or changed is loaded, what is gone unloaded, what is the same left alone."""
    assert diff(before, after) == actions


@pytest.mark.parametrize(
    ("acted", "before", "now", "actions"),
    [
        ([A], [A], [A], []),
        ([A], [A], [A2], []),  # just changed
        ([A], [A2], [A2], [Load(A2)]),  # changed, and at rest
        ([A2], [A2], [A2], []),  # acted upon
        ([A], [A2], [A], []),  # changed, and back again
        ([A], [A], [], []),  # gone for a moment, as while a folder is replaced
        ([A], [], [], [Unload("a")]),
        ([A], [A2, B], [A2], [Load(A2)]),  # b came and went
    ],
)
def test_settled(acted, before, now, actions):
    """Only what looked the same twice is due."""
    assert settled(acted, before, now) == actions


def touch_later(path):
    """Give a file another modification time, whatever the clock's grain."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))


CHANGES = {
    "touched": lambda folder: touch_later(folder / "1" / "model.onnx"),
    "another size": lambda folder: (folder / "1" / "model.onnx").write_bytes(b"longer than before"),
    "configured": lambda folder: (folder / "config.pbtxt").write_text("max_batch_size: 0"),
    "labelled": lambda folder: (folder / "labels.txt").write_text("a"),
    "with external data": lambda folder: (folder / "1" / "model.onnx.data").write_bytes(b"x"),
    "a version more": lambda folder: (folder / "2").mkdir(),
    "a version less": lambda folder: shutil.rmtree(folder / "1"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_shows(change, repository):
    """A scan tells every change of content; a hidden file and another look change nothing."""
    folder = repository.add("m", b"content")
    before = ModelRepository(repository.path).scan()
    (folder / ".tmp-2").mkdir()
    (folder / "1" / ".partial").write_bytes(b"x")
    assert ModelRepository(repository.path).scan() == before

    change(folder)

    assert [action.name for action in diff(before, ModelRepository(repository.path).scan())] == [
        "m"
    ]


def test_a_replaced_file_shows(repository, tmp_path):
    """A file renamed into place is a change, even of the same size and time."""
    folder = repository.add("m", b"content")
    before = ModelRepository(repository.path).scan()
    target = folder / "1" / "model.onnx"
    shutil.copy2(target, tmp_path / "other")
    (tmp_path / "other").rename(target)

    assert ModelRepository(repository.path).scan() != before


def test_a_bare_file_shows(repository, graphs):
    """A bare NAME.onnx is watched like a folder."""
    file = repository.path / "bare.onnx"
    file.write_bytes(graphs.identity())
    before = ModelRepository(repository.path).scan()
    touch_later(file)

    assert [action.name for action in diff(before, ModelRepository(repository.path).scan())] == [
        "bare"
    ]


@pytest.fixture
def polled(repository, graphs, serve):
    """A server in poll mode whose own looks are an hour apart, and how to make it look."""
    repository.add("m", graphs.identity())
    with serve(repository.path, model_control_mode="poll", repository_poll_secs=3600) as wire:
        wire.look = wire.server.control.poll
        yield wire


def versions(wire, name="m"):
    index = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True)).models
    return [model.version for model in index if model.name == name]


def ready(wire):
    return wire.stub.ServerReady(pb.ServerReadyRequest()).ready


def test_polling_follows_the_repository(polled, repository, graphs):
    """A model that comes is loaded, one that changes reloaded, one that goes unloaded."""
    repository.add("new", graphs.identity())
    repository.add("m", graphs.identity(), version=2)
    polled.look()
    assert (versions(polled), versions(polled, "new")) == (["1"], [])
    polled.look()
    assert (versions(polled), versions(polled, "new")) == (["2"], ["1"])
    assert polled.infer("new", x=ROW)["y"].tolist() == ROW.tolist()

    shutil.rmtree(repository.path / "new")
    polled.look()
    assert versions(polled, "new") == ["1"]
    polled.look()
    assert versions(polled, "new") == []
    assert ready(polled)


def test_half_a_copy_takes_nothing_down(polled, repository, graphs):
    """While a new version is being copied, and if it stays half copied, the old one serves."""
    whole = graphs.identity()
    folder = repository.path / "m" / "2"
    folder.mkdir()
    file = folder / "model.onnx"
    for size in range(0, len(whole), len(whole) // 4):
        file.write_bytes(whole[:size])
        touch_later(file)
        polled.look()
        assert versions(polled) == ["1"]
        assert polled.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
    polled.look()
    polled.look()
    assert versions(polled) == ["1"]
    assert ready(polled)
    index = polled.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
    assert [m.state for m in index if m.version == "2"] == ["UNAVAILABLE"]

    file.write_bytes(whole)
    polled.look()
    polled.look()
    assert versions(polled) == ["2"]


def test_a_model_without_versions_takes_nothing_down(polled, repository, graphs):
    """A folder replaced by one that is not whole yet does not take the model down either."""
    shutil.rmtree(repository.path / "m" / "1")
    polled.look()
    polled.look()
    assert polled.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
    assert ready(polled)


def test_a_repository_that_vanishes_takes_nothing_down(polled, repository, caplog):
    """A disk that went away is a warning."""
    away = repository.path.with_name("away")
    repository.path.rename(away)
    for _ in range(3):
        polled.look()
    assert polled.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
    assert "does not exist; what is loaded is served on" in caplog.text
    away.rename(repository.path)
    polled.look()
    assert versions(polled) == ["1"]


def test_a_failed_load_is_tried_once_a_change(polled, repository, caplog):
    """What cannot be loaded is not tried again at every look."""
    repository.add("bad", b"no graph")
    for _ in range(5):
        polled.look()
    assert caplog.text.count("model 'bad' version 1 is not served: ") == 1


@OVER_ONE_TRANSPORT
def test_the_server_looks_by_itself(repository, graphs, server_process):
    """A server process in poll mode takes up a new version without being asked, and still leaves."""
    repository.add("m", graphs.identity())
    process = server_process(
        repository.path, "--grpc-port", "0", "--model-control-mode", "poll",
        "--repository-poll-secs", "0.05",
    )  # fmt: skip
    process.address()
    repository.add("late", graphs.identity())
    process.wait_for("model 'late' changed in the repository")
