"""A user's own file is exported, or refused in one line that says what to do; never half of it."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from onnx import helper

from tests.zoo.keras_process import Outcomes
from zoo.cli import main
from zoo.export.from_file import FileExport
from zoo.export.options import ExportOptions


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the cases save their models."""
    return tmp_path_factory.mktemp("foreign")


@pytest.fixture(scope="module")
def said(cases: Callable[..., Outcomes], files: Path) -> Outcomes:
    """What the exporter said to every file, in one process that knows TensorFlow."""
    return cases("tests.zoo.export.file_cases", files)


ONNX = helper.make_model(
    helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [], [])
).SerializeToString()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.keras", None, "there is no such file"),
        ("notes.txt", b"some notes", "is not a .keras file"),
        ("m.onnx", ONNX, "is an ONNX file already"),
    ],
)
def test_what_is_no_model_is_refused_at_once(
    name: str, content: bytes | None, words: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    """Before a process starts TensorFlow, which takes seconds: here none could start."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    assert main(["export", str(path)]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("name", ["good", "old, trusted", "lambda, trusted", "custom, module"])
def test_what_keras_loads_is_exported(said: Outcomes, name: str) -> None:
    """Code in a file runs once it is trusted, and classes are found in the file that --module names."""
    assert said[name]["kind"] == "ok", said[name]
    assert said[name]["left"] == ["out.onnx"]


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("absent", 2, "there is no such file"),
        ("empty", 2, "is not a .keras file"),
        ("text", 2, "is not a .keras file"),
        ("renamed", 2, "it is in Keras's old HDF5 format; name it renamed.h5"),
        ("truncated", 2, "it was cut off while copying"),
        ("folder", 2, "is a folder, and no SavedModel"),
        ("zip", 2, "it holds no config.json, metadata.json, model.weights.h5"),
        ("no_weights", 2, "it holds no model.weights.h5"),
        ("damaged", 2, "is damaged"),
        ("old", 2, "Keras's old HDF5 format, whose code cannot be kept from running"),
        ("lambda", 1, "it contains Python code (a Lambda layer): --trust runs it"),
        ("custom", 1, "it contains the class Mine, which is not Keras's: name the Python"),
        ("subclassed", 1, "it contains the class Net, which is not Keras's: name the Python"),
        ("lazy", 1, "is not built, so its shapes are unknown: give it a keras.Input"),
        (
            "future",
            1,
            "Unrecognized keyword arguments passed to Dense: {'sparkle': 1}; "
            "it was saved by Keras 9.1.0, and this is 3.",
        ),
        ("config", 1, "Keras cannot load it: Unterminated string"),
        ("weights", 1, "Keras cannot load it: Unable to synchronously open file"),
        ("other_weights", 1, "Keras cannot load it: "),
    ],
)
def test_what_is_broken_is_refused_in_one_line(
    said: Outcomes, name: str, status: int, words: str
) -> None:
    """The file, what is wrong with it, what to do; and nothing is left behind."""
    refusal = said[name]

    assert words in refusal["text"]
    assert refusal["status"] == status
    assert len(refusal["text"].splitlines()) == 1
    assert len(refusal["text"]) < 400
    assert refusal["left"] == []


#: Less than the model's file, more than a line of a log.
FULL_AT_BYTES = 1000

#: The process that loads a file, where no file can grow. Python ignores SIGXFSZ, so a write beyond the
#: limit fails as on a full disk.
ON_A_FULL_DISK = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
runpy.run_module("zoo.export.from_file", run_name="__main__")
"""


@pytest.mark.parametrize("publish", [False, True], ids=["file", "repository"])
def test_a_full_disk_leaves_nothing_half_written(
    python, said: Outcomes, files: Path, tmp_path: Path, publish: bool
) -> None:
    """A file that cannot grow any more: one line, no model, no leftover, no repository."""
    assert said["good"]["kind"] == "ok"
    target = {"repository": "models"} if publish else {"output": "out.onnx"}
    request = FileExport(source="good.keras", options=ExportOptions(), **target)
    shutil.copy(files / "good.keras", tmp_path / "good.keras")
    arguments = (FULL_AT_BYTES, json.dumps(asdict(request)))
    done = python("-c", ON_A_FULL_DISK, *arguments, cwd=tmp_path)

    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["kind"] == "StorageError"
    assert len(answer["error"].splitlines()) == 1
    assert "nothing was written" in answer["error"]
    # The repository's lock is empty, and stays for the next one.
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left - {".lock"} == {"good.keras"}
    assert publish or left == {"good.keras"}


def test_the_command_says_it_in_one_line_and_exits_with_the_status(
    zoo, said: Outcomes, files: Path
) -> None:
    """The process that loads the file hands its reason on."""
    done = zoo("export", "custom.keras", "-o", "custom.onnx", cwd=files)

    assert done.returncode == said["custom"]["status"] == 1
    assert done.stderr.strip() == "zoo: " + said["custom"]["text"].replace(f"{files}/", "")
    assert not (files / "custom.onnx").exists()
