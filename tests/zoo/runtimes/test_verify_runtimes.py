"""zoo verify --runtimes: what is printed, what is kept and where."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.publish.versions import read_manifest
from zoo_server.repository.scan import ModelRepository

ZOO = Path(sys.executable).with_name("zoo")
HERE = "onnxruntime,onnx-reference"


@pytest.fixture
def published(trained, tmp_path: Path) -> Path:
    """A private copy of three published models."""
    for name in ("dense_iris", "lstm_sunspots", "lstm_sunspots_any_length"):
        shutil.copytree(trained.repository / name, tmp_path / "models" / name)
    return tmp_path / "models"


def _verify(repository: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    where = ["--repository", repository]
    if "--runtimes" in arguments:
        where += ["--compat", repository.parent / "compat"]
    return subprocess.run(
        [str(part) for part in (ZOO, "verify", *arguments, *where)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def seen(repository: Path) -> list[tuple[object, ...]]:
    """What the server finds to serve."""
    return [
        (files.name, files.versions, files.fault) for files in ModelRepository(repository).scan()
    ]


def test_every_file_is_measured_and_kept(published: Path) -> None:
    """The table, the record of all, each model's part, and a page for people."""
    before = seen(published)
    page = published.parent / "docs" / "runtimes.md"
    done = _verify(published, "--runtimes", HERE, "--markdown", page)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok ") == 8  # four files in two runtimes
    record = json.loads((published.parent / "compat" / "compat.json").read_text())
    assert [(item["model"], item["file"]) for item in record["files"]] == [
        ("dense_iris", "model.onnx"),
        ("lstm_sunspots", "model.onnx"),
        ("lstm_sunspots", "model.portable.onnx"),
        ("lstm_sunspots_any_length", "model.onnx"),
    ]
    mine = published / "lstm_sunspots"
    part = json.loads((mine / "compat.json").read_text())
    manifest = read_manifest(published, "lstm_sunspots")
    assert manifest is not None
    assert [item["sha256"] for item in part["files"]] == [
        manifest.values["files"][name]["sha256"] for name in ("model.onnx", "model.portable.onnx")
    ]
    assert "| onnxruntime " in (mine / "RUNTIMES.md").read_text()
    assert "`model.portable.onnx`" in page.read_text()
    assert manifest.is_intact
    assert seen(published) == before  # the server passes over what is new


def test_results_of_several_runs_are_one_record(published: Path) -> None:
    """A second run adds its runtime; the page shows both, in the tables' order."""
    page = published.parent / "page.md"
    _verify(published, "dense_iris", "--runtimes", "onnx-reference")
    done = _verify(published, "dense_iris", "--runtimes", "onnxruntime", "--markdown", page)

    assert done.returncode == 0, done.stderr
    assert "onnx-reference" not in done.stdout
    assert "| model | onnxruntime | onnx-reference |" in page.read_text()


def test_a_loose_file_is_measured_and_not_kept(published: Path) -> None:
    """It belongs to no model."""
    file = published / "lstm_sunspots" / "1" / "model.portable.onnx"
    done = _verify(published, file, "--runtimes", HERE, "--json")

    values = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert {cell["status"] for cell in values["files"][0]["cells"].values()} == {"ok"}
    assert values["skipped"] == {}
    assert not (published.parent / "compat" / "compat.json").exists()


def test_a_wrong_answer_fails(published: Path) -> None:
    """With the file, the runtime and the element."""
    version = published / "dense_iris" / "1"
    shutil.copytree(version, loose := published.parent / "loose")
    answer = next((loose / "test_data_set_0").glob("output_0.pb"))
    answer.write_bytes((loose / "test_data_set_1" / "output_0.pb").read_bytes())
    done = _verify(published, loose / "model.onnx", "--runtimes", "onnxruntime")

    assert done.returncode == 1
    assert "onnxruntime" in done.stderr
    assert "where Keras gives" in done.stderr


def test_a_damaged_model_does_not_keep_the_others_back(published: Path) -> None:
    """It is named, the others are measured, and the exit status is 1."""
    (published / "lstm_sunspots" / "1" / "model.onnx").write_bytes(b"")
    done = _verify(published, "--runtimes", "onnxruntime")

    assert done.returncode == 1
    assert done.stdout.count("ok ") == 2
    assert "lstm_sunspots" in done.stderr
    assert "is not what was published" in done.stderr


def test_what_cannot_be_had_is_skipped_aloud(published: Path) -> None:
    """By name and reason, and nothing measured is no success."""
    blocked = published.parent / "compat"
    blocked.write_text("a file where the environments should be")
    done = _verify(published, "dense_iris", "--runtimes", "tract")

    assert done.returncode == 1
    assert "tract: skipped:" in done.stderr
    assert "nothing was measured" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--runtimes", "opnvino"],
            "no runtime is called 'opnvino': did you mean openvino or opencv?",
        ),
        (["--markdown", "page.md"], "--markdown: only with --runtimes"),
        (["--runtimes", "all", "nothing"], "has no model 'nothing'"),
    ],
)
def test_a_wrong_call_is_refused(published: Path, arguments: list[str], message: str) -> None:
    """Exit status 2 and one line."""
    done = _verify(published, *arguments)

    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
