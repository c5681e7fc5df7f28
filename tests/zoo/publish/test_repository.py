"""Publication: whole or not at all, whatever happens in between."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from zoo.cli import main
from zoo.errors import UsageError
from zoo.files import sha256
from zoo.publish import repository as publish
from zoo.publish.config import model_config
from zoo.publish.versions import last_variants, published_key, read_manifest
from zoo_proto import model_config_pb2
from zoo_server.repository import layout

GRAPH = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": ["batch", 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": ["batch", 2]}],
}


def _config(name: str = "adder", **changes: object) -> model_config_pb2.ModelConfig:
    return model_config(name, GRAPH | changes, labels=("a", "b"), parameters={"task": "multiclass"})


def _publish(
    repository: Path,
    content: bytes,
    key: str = "k",
    portable: bytes | None = None,
    **changes: object,
) -> publish.Published:
    with publish.staging(repository, "adder") as staged:
        (staged / layout.MODEL_FILE).write_bytes(content)
        if portable is not None:
            (staged / "model.portable.onnx").write_bytes(portable)
        facts = {path.name: {"sha256": sha256(path)} for path in staged.iterdir()}
        manifest = {"files": facts}
        (staged / layout.MANIFEST_FILE).write_text(json.dumps(manifest))
        return publish.publish(repository, staged, _config(**changes), ("a", "b"), key)


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_first_publication_is_a_triton_model_folder(tmp_path: Path) -> None:
    """config.pbtxt, labels.txt and 1/model.onnx, with nothing left over beside them."""
    published = _publish(tmp_path, b"one")

    assert published.created
    assert published.version == 1
    assert (tmp_path / "adder/1/model.onnx").read_bytes() == b"one"
    assert (tmp_path / "adder/labels.txt").read_text() == "a\nb\n"
    config = text_format.Parse(
        (tmp_path / "adder/config.pbtxt").read_text(), model_config_pb2.ModelConfig()
    )
    assert config == _config()
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
    visible = [path.name for path in tmp_path.iterdir() if not layout.is_hidden(path.name)]
    assert visible == ["adder"]


def test_other_content_is_another_version_and_the_old_one_never_changes(tmp_path: Path) -> None:
    """Version 1 keeps its bytes when 2 appears; the same content again adds none."""
    _publish(tmp_path, b"one")
    before = _tree(tmp_path / "adder/1")
    second, again = _publish(tmp_path, b"two"), _publish(tmp_path, b"two")

    assert (second.version, second.created) == (2, True)
    assert (again.version, again.created) == (2, False)
    assert _tree(tmp_path / "adder/1") == before
    assert layout.version_numbers(tmp_path / "adder") == [1, 2]


def test_a_version_is_all_of_its_onnx_files(tmp_path: Path) -> None:
    """A second file that appears, differs or goes makes the next version; an equal one does not."""
    versions = [
        _publish(tmp_path, b"one", portable=portable).version
        for portable in (None, b"a", b"a", b"b", None, None)
    ]

    assert versions == [1, 2, 2, 3, 4, 4]


def test_what_an_export_found_of_further_files_outlives_an_equal_version(tmp_path: Path) -> None:
    """The version that was there before cannot say it; the state of the last export does."""
    _publish(tmp_path, b"one")
    assert last_variants(tmp_path, "adder") == []
    with publish.staging(tmp_path, "adder") as staged:
        (staged / layout.MODEL_FILE).write_bytes(b"one")
        variants = [{"file": "model.int8.onnx", "reason": "no gain"}]
        done = publish.publish(tmp_path, staged, _config(), ("a", "b"), "k2", variants)

    assert (done.version, done.created) == (1, False)
    assert last_variants(tmp_path, "adder") == variants
    assert last_variants(tmp_path, "absent") == []


def test_a_publication_is_current_until_its_key_or_a_file_changes(tmp_path: Path) -> None:
    """The key comes back only while the version on disk is what was published."""
    _publish(tmp_path, b"one", key="k1")
    assert published_key(tmp_path, "adder") == ("k1", 1)

    (tmp_path / "adder/1/model.onnx").write_bytes(b"damaged")
    assert published_key(tmp_path, "adder") is None
    _publish(tmp_path, b"one", key="k1")
    assert published_key(tmp_path, "adder") == ("k1", 2)


def test_a_version_that_lost_a_file_is_published_again(tmp_path: Path) -> None:
    """Else every export would find it damaged and do its work over again."""
    _publish(tmp_path, b"one", key="k1")
    (tmp_path / "adder/1/manifest.json").unlink()

    assert _publish(tmp_path, b"one", key="k1").version == 2
    assert published_key(tmp_path, "adder") == ("k1", 2)


def test_another_interface_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    """The kept version would not satisfy the new configuration."""
    _publish(tmp_path, b"one")
    before = _tree(tmp_path)
    wider = [{"name": "x", "datatype": "FP32", "shape": ["batch", 3]}]

    with pytest.raises(UsageError, match=r"x\[2\].*x\[3\].*--name"):
        _publish(tmp_path, b"two", inputs=wider)
    assert _tree(tmp_path) == before


def test_a_configuration_edited_by_hand_is_kept(tmp_path: Path) -> None:
    """An operator's settings survive the next export."""
    _publish(tmp_path, b"one")
    path = tmp_path / "adder/config.pbtxt"
    path.write_text(path.read_text() + "instance_group { count: 2 }\n")
    edited = path.read_bytes()

    for content in (b"two", b"three"):
        assert _publish(tmp_path, content).config_kept
        assert path.read_bytes() == edited


def test_a_configuration_that_cannot_be_read_is_not_overwritten(tmp_path: Path) -> None:
    """Somebody's half-edited file is named, and stays."""
    _publish(tmp_path, b"one")
    (tmp_path / "adder/config.pbtxt").write_text("name: ")

    with pytest.raises(UsageError, match=r"config\.pbtxt is not a model configuration"):
        _publish(tmp_path, b"two")
    assert layout.version_numbers(tmp_path / "adder") == [1]


def test_leftovers_of_a_killed_publisher_are_removed(tmp_path: Path) -> None:
    """The next publisher clears what the last one could not."""
    leftover = tmp_path / f"{layout.TEMPORARY_PREFIX}adder-x"
    leftover.mkdir()
    (leftover / "model.onnx").write_bytes(b"half")
    _publish(tmp_path, b"one")

    assert not leftover.exists()


def test_a_folder_that_is_not_a_model_is_not_overwritten(tmp_path: Path) -> None:
    """Files of somebody else's under the model's name stay where they are."""
    (tmp_path / "adder").mkdir()
    (tmp_path / "adder/notes.txt").write_text("mine")

    with pytest.raises(UsageError, match="holds no version"):
        _publish(tmp_path, b"one")
    assert (tmp_path / "adder/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden"])
def test_a_name_that_reaches_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """A model's name is one folder."""
    with pytest.raises(UsageError, match="cannot be a model name"), publish.staging(tmp_path, name):
        pass


def test_a_full_disk_publishes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """A write that fails half-way leaves the last version serving and no leftovers."""
    _publish(tmp_path, b"one")
    before = _tree(tmp_path / "adder")
    script = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        from tests_publish import _publish
        from zoo.errors import StorageError
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            _publish(Path(sys.argv[1]), b"x" * 5000)
        except StorageError as error:
            print(error)
        """
    )
    done = _python(script, tmp_path)

    assert done.stdout.strip() == f"{tmp_path}: {os.strerror(27)}: nothing was written"
    assert _tree(tmp_path / "adder") == before
    assert not list(tmp_path.glob(f"{layout.TEMPORARY_PREFIX}*"))


def test_two_publishers_at_once_both_end_whole(tmp_path: Path) -> None:
    """The lock gives each its own version number."""
    script = """
import sys
from pathlib import Path
from tests_publish import _publish
for i in range(10):
    _publish(Path(sys.argv[1]), f"{sys.argv[2]} {i}".encode())
"""
    processes = [_start(script, tmp_path, who) for who in ("left", "right")]
    for process in processes:
        process.communicate(timeout=240)
    assert [process.returncode for process in processes] == [0, 0]

    versions = layout.version_numbers(tmp_path / "adder")
    assert versions == list(range(1, 21))
    for version in versions:
        manifest = read_manifest(tmp_path, "adder", version)
        assert manifest is not None
        assert manifest.is_intact


def test_what_a_killed_process_was_writing_is_removed_by_the_next(tmp_path: Path) -> None:
    """A folder in the repository, and a file beside config.pbtxt."""
    _publish(tmp_path, b"first")
    (tmp_path / ".tmp-adder-killed").mkdir()
    (tmp_path / "adder" / ".tmp-1-.export.json").write_bytes(b"{")
    _publish(tmp_path, b"second")

    assert not list(tmp_path.rglob(f"{layout.TEMPORARY_PREFIX}*"))


def test_kill_nine_at_any_moment_never_shows_half_a_version(tmp_path: Path) -> None:
    """Twenty publishers are killed at random moments; every visible version is whole each time."""
    script = """
import sys
from pathlib import Path
from tests_publish import _publish
print("started", flush=True)
for i in range(100000):
    _publish(Path(sys.argv[1]), f"{sys.argv[2]} {i}".encode() * 1000)
"""
    random = np.random.default_rng(7)
    for kill in range(20):
        process = _start(script, tmp_path, str(kill))
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=random.uniform(0.0, 0.06))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for number in (
            layout.version_numbers(tmp_path / "adder") if (tmp_path / "adder").is_dir() else []
        ):
            manifest = read_manifest(tmp_path, "adder", number)
            assert manifest is not None, f"version {number} after kill {kill}"
            assert manifest.is_intact, f"version {number} after kill {kill}"
    published = _publish(tmp_path, b"last")

    assert published.version == layout.version_numbers(tmp_path / "adder")[-1]
    assert not list(tmp_path.rglob(f"{layout.TEMPORARY_PREFIX}*"))


def _start(script: str, *arguments: object) -> "subprocess.Popen[str]":
    """Run a script that can import this module's helpers as tests_publish."""
    loader = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('tests_publish', {__file__!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "sys.modules['tests_publish'] = module\n"
        "spec.loader.exec_module(module)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", loader + script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )


def _python(script: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    process = _start(script, *arguments)
    stdout, _ = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 3}', '{"files": {"model.onnx": 5}}'])
def test_a_damaged_manifest_is_named_and_mended_by_an_export(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str
) -> None:
    """List goes on, show and verify say which file, and the next export adds a whole version."""
    _publish(tmp_path, b"one")
    (tmp_path / "adder" / "1" / layout.MANIFEST_FILE).write_text(text)

    assert main(["list", "--repository", str(tmp_path)]) == 0
    assert "adder/1/manifest.json is damaged: export adder again" in capfd.readouterr().out
    assert main(["show", "adder", "--repository", str(tmp_path)]) == 1
    assert "adder/1/manifest.json is damaged" in capfd.readouterr().err
    assert main(["verify", "adder", "--repository", str(tmp_path)]) == 1
    assert main(["verify", "adder", "ader", "--repository", str(tmp_path)]) == 2
    assert "FAILED" in capfd.readouterr().out
    assert _publish(tmp_path, b"one").version == 2
