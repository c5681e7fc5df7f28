"""Push and pull: a version appears in a store, or comes from it, whole or not at all."""

import json
import re
import shutil
import threading
from pathlib import Path

import pytest

from zoo.cli import main
from zoo.errors import CheckFailed, StorageError, UsageError
from zoo.export.to_store import export_place
from zoo.files import sha256
from zoo.publish import repository as publish
from zoo.publish.config import model_config
from zoo.publish.transfer import RemoteTarget
from zoo.publish.versions import published_key
from zoo_server.repository import layout

GRAPH = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": ["batch", 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": ["batch", 2]}],
}
OTHER = GRAPH | {"inputs": [{"name": "z", "datatype": "FP32", "shape": ["batch", 2]}]}

VERSION_1 = ["adder/1/.complete", "adder/1/.upload", "adder/1/manifest.json", "adder/1/model.onnx"]
BESIDE = ["adder/.export.json", "adder/config.pbtxt", "adder/labels.txt"]


def export(repository: Path, content: bytes, graph=GRAPH) -> publish.Published:
    """Publish as `zoo export` does."""
    with publish.staging(repository, "adder") as staged:
        (staged / layout.MODEL_FILE).write_bytes(content)
        facts = {path.name: {"sha256": sha256(path)} for path in staged.iterdir()}
        (staged / layout.MANIFEST_FILE).write_text(json.dumps({"files": facts}))
        config = model_config("adder", graph, labels=("a", "b"), parameters={})
        return publish.publish(repository, staged, config, ("a", "b"), f"key of {content!r}")


@pytest.fixture
def local(tmp_path):
    """A repository with the model `adder`."""
    export(tmp_path / "models", b"one")
    return tmp_path / "models"


@pytest.fixture
def target(s3):
    return RemoteTarget(s3.url)


def numbers(s3):
    keys = s3.keys()
    return sorted({int(key.split("/")[1]) for key in keys if key.endswith(".complete")})


def test_a_version_goes_and_comes_back(s3, local, target, tmp_path):
    """Files, configuration, labels and the export's key; a second time does nothing."""
    assert target.push(local, "adder").created
    assert s3.keys() == sorted([*VERSION_1, *BESIDE])
    assert not target.push(local, "adder").created
    assert not target.push(local, "adder", 1).created

    copy = tmp_path / "copy"
    pulled = target.pull("adder", copy)
    assert (pulled.version, pulled.created) == (1, True)
    for path in local.rglob("*"):
        if path.is_file() and path.name != ".lock":
            assert (copy / path.relative_to(local)).read_bytes() == path.read_bytes()
    assert published_key(copy, "adder") == published_key(local, "adder")
    assert not target.pull("adder", copy).created
    assert not list(copy.rglob(".tmp-*"))


def test_the_marker_is_written_last(s3, local, target):
    """Whatever write fails, no reader sees a version; the next push takes another number."""
    export(local, b"two")
    writes = len(VERSION_1) + len(BESIDE)
    for fails_at in range(writes):
        left = [fails_at]

        def fail(exchange, left=left):
            if exchange.command == "PUT":
                left[0] -= 1
            return left[0] < 0 and exchange.refuse(403, "AccessDenied")

        s3.fail(fail)
        with pytest.raises(StorageError, match="refuses the credentials"):
            target.push(local, "adder")
        s3.fail(None)
        assert not target.has("adder")
        assert numbers(s3) == []
    assert target.push(local, "adder").version > 2


def test_numbers(s3, local, target):
    """The latest becomes the latest there; a version that is named keeps its number, or is refused."""
    target.push(local, "adder")
    shutil.rmtree(local / "adder")
    export(local, b"another")
    assert target.push(local, "adder").version == 2
    with pytest.raises(UsageError, match="holds another version 1 of adder"):
        target.push(local, "adder", 1)
    s3.put("adder/3/.upload", "{}")
    export(local, b"third")
    export(local, b"fourth")
    with pytest.raises(UsageError, match="adder/3 is being written, or was given up"):
        target.push(local, "adder", 3)
    assert target.push(local, "adder").version == 4
    assert numbers(s3) == [1, 2, 4]


def test_writers_at_once_lose_nothing(s3, tmp_path):
    """Each gets a number of its own, and every version is whole."""
    count, pushed, together = 4, [], threading.Barrier(4)

    def write(number):
        repository = tmp_path / str(number)
        export(repository, b"of writer %d" % number)
        target = RemoteTarget(s3.url)
        together.wait()
        pushed.append((target.push(repository, "adder").version, number))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(version for version, _ in pushed) == numbers(s3) == [1, 2, 3, 4]
    for version, number in pushed:
        RemoteTarget(s3.url).pull("adder", tmp_path / "copy", version)
        graph = tmp_path / "copy" / "adder" / str(version) / "model.onnx"
        assert graph.read_bytes() == b"of writer %d" % number


def test_the_configuration_there(s3, local, target, tmp_path):
    """Another interface is refused before anything is written; what was edited by hand is kept."""
    target.push(local, "adder")
    export(tmp_path / "other", b"other", OTHER)
    before = s3.keys()
    with pytest.raises(UsageError, match="another interface"):
        target.push(tmp_path / "other", "adder")
    assert s3.keys() == before

    edited = (local / "adder" / "config.pbtxt").read_text() + "instance_group [{ count: 2 }]\n"
    s3.put("adder/config.pbtxt", edited)
    export(local, b"two")
    assert target.push(local, "adder").config_kept
    target.pull("adder", tmp_path / "copy")
    assert (tmp_path / "copy" / "adder" / "config.pbtxt").read_text() == edited


def test_pull_into_a_repository_with_others(s3, local, target, tmp_path):
    """Kept versions stay; another content of the same number, and another interface, are refused."""
    target.push(local, "adder")
    export(local, b"two")
    target.push(local, "adder")
    copy = tmp_path / "copy"
    target.pull("adder", copy, 1)
    assert layout.version_numbers(copy / "adder") == [1]
    assert target.pull("adder", copy).version == 2
    assert layout.version_numbers(copy / "adder") == [1, 2]

    export(tmp_path / "same number", b"other")
    with pytest.raises(UsageError, match="holds another version 1"):
        target.pull("adder", tmp_path / "same number", 1)
    export(tmp_path / "other", b"other", OTHER)
    with pytest.raises(UsageError, match="another interface"):
        target.pull("adder", tmp_path / "other", 2)
    assert layout.version_numbers(tmp_path / "other" / "adder") == [1]


def test_a_pull_that_fails_leaves_nothing(s3, local, target, tmp_path, monkeypatch):
    """A store that fails, and files that are not what was published."""
    target.push(local, "adder")
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    copy = tmp_path / "copy"
    s3.fail(
        lambda exchange: (
            exchange.path.endswith("model.onnx") and exchange.forward(most=1, says=True)
        )
    )
    with pytest.raises(StorageError, match="checksum"):
        target.pull("adder", copy)
    s3.fail(None)
    s3.put("adder/1/model.onnx", b"bad")
    with pytest.raises(CheckFailed, match="has not the checksum"):
        target.pull("adder", copy)
    assert [path.name for path in copy.iterdir()] == [".lock"]


def test_what_is_not_there(s3, local, target):
    """Each is one line that says what there is."""
    target.push(local, "adder")
    for call, message in (
        (lambda: target.pull("addr", local), "has no model 'addr': did you mean adder"),
        (lambda: target.pull("adder", local, 7), "has no version 7 of adder: it has 1"),
        (lambda: target.push(local, "addr"), "has no model 'addr'"),
        (lambda: target.push(local, "adder", 7), "has no version 7 of adder: it has 1"),
        (lambda: target.pull("../x", local), "path separator"),
        (lambda: RemoteTarget("s3://"), "no URL"),
        (lambda: RemoteTarget(s3.url.replace(s3.bucket, "none-such")).has("m"), "make the bucket"),
    ):
        with pytest.raises(UsageError, match=re.escape(message)):
            call()
    (local / "adder" / "1" / "model.onnx").write_bytes(b"spoiled")
    with pytest.raises(CheckFailed, match="is missing or is not what was published"):
        target.push(local, "adder")


def test_an_export_into_a_store(s3, local, target):
    """The folder to export into has the latest version; what is exported becomes the next there."""
    target.push(local, "adder")
    with export_place(s3.url, ["adder", "new"]) as place:
        assert published_key(place.folder, "adder") == ("key of b'one'", 1)
        assert place.push(["adder"]) == ([target.push(local, "adder")], {})  # up to date
        assert export(place.folder, b"two").version == 2
        (pushed,), _ = place.push(["adder"])
        assert (pushed.version, pushed.created) == (2, True)
        _, failures = place.push(["new"])
        assert "has no model 'new'" in str(failures["new"])
    assert not place.folder.exists()


def test_commands(s3, local, tmp_path, capsys):
    """zoo push and zoo pull say what they did, and end with 2 for what cannot be."""
    copy = tmp_path / "copy"
    assert main(["push", "adder@1", s3.url, "--repository", str(local)]) == 0
    assert main(["push", "adder", s3.url, "--repository", str(local)]) == 0
    assert main(["pull", "adder", s3.url, "--repository", str(copy), "--json"]) == 0
    assert main(["pull", "adder@9", s3.url, "--repository", str(copy)]) == 2
    out, errors = capsys.readouterr()
    assert f"adder: published as version 1 in {s3.url}" in out
    assert "is the same, nothing was written" in out
    assert '"new_version": true' in out
    assert "has no version 9 of adder: it has 1" in errors
    with pytest.raises(SystemExit, match="2"):
        main(["pull", "adder@x", s3.url])


@pytest.mark.parametrize("spoil", ["model.onnx", ".complete", "manifest.json"])
def test_a_version_that_was_damaged_in_the_store_is_pushed_again(local, tmp_path, spoil):
    """Once its folder is removed, as is said: the marker alone makes it look like what is pushed."""
    store = tmp_path / "store"
    target = RemoteTarget(f"file://{store}")
    target.push(local, "adder")
    if spoil == "manifest.json":
        (store / "adder/1" / spoil).unlink()
    else:
        (store / "adder/1" / spoil).write_bytes(b"other")

    with pytest.raises(CheckFailed, match="remove the folder adder/1 there, and push the version"):
        target.pull("adder", tmp_path / "copy")
    shutil.rmtree(store / "adder/1")
    assert target.push(local, "adder").created
    assert target.pull("adder", tmp_path / "copy").created


def test_what_cannot_be_pulled_or_pushed_has_another_place(local, tmp_path):
    """Each is what the refusal says."""
    target, other = (RemoteTarget(f"file://{tmp_path / name}") for name in ("store", "other"))
    target.push(local, "adder")
    export(tmp_path / "copy", b"two")
    with pytest.raises(UsageError, match="stays as it is: pull into another --repository"):
        target.pull("adder", tmp_path / "copy")
    assert target.pull("adder", tmp_path / "elsewhere").created
    with pytest.raises(UsageError, match="push without a version"):
        target.push(tmp_path / "copy", "adder", 1)
    assert target.push(tmp_path / "copy", "adder").version == 2

    export(tmp_path / "third", b"three", OTHER)
    with pytest.raises(UsageError, match=r"push to another repository, or remove file://.*/adder"):
        target.push(tmp_path / "third", "adder")
    assert other.push(tmp_path / "third", "adder").created
    shutil.rmtree(tmp_path / "store" / "adder")
    assert target.push(tmp_path / "third", "adder").created
