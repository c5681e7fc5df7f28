"""The check of what is published, repeated from the files on disk: `zoo verify`, and the server's self-test."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.zoo.export.zoo_commands import MODELS, PORTABLE
from zoo.parity.compare import Case, Policy
from zoo.parity.prove import prove
from zoo.parity.vectors import read_vectors
from zoo_server.config import ServerConfig
from zoo_server.server import running


def test_verify_repeats_the_check_on_disk(zoo, trained) -> None:
    """Every model agrees in every runtime, as JSON says too."""
    done = zoo("verify", "--repository", trained.repository, "--json")

    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert {result["model"] for result in results} == {
        *MODELS, *(f"{name}/model.portable.onnx" for name in PORTABLE)
    }  # fmt: skip
    assert all(result["ok"] and len(result["comparisons"]) >= 8 for result in results)


def test_verify_takes_any_onnx_file_with_vectors(zoo, trained, tmp_path: Path) -> None:
    """A version folder copied elsewhere is enough; without vectors it is bad usage."""
    shutil.copytree(trained.repository / "cnn_digits/1", tmp_path / "copy")
    done = zoo("verify", tmp_path / "copy/model.onnx")
    assert done.returncode == 0, done.stderr

    for folder in (tmp_path / "copy").glob("test_data_set_*"):
        shutil.rmtree(folder)
    done = zoo("verify", tmp_path / "copy/model.onnx")
    assert done.returncode == 2
    assert "has no test vectors beside it" in done.stdout


def test_the_server_tests_itself_on_the_vectors(published: Path) -> None:
    """Every published model answers its vectors; one whose file was exchanged is not served."""
    twin = published / "lstm_sunspots/1"
    shutil.copy(published / "gru_sunspots/1/model.onnx", twin / "model.onnx")
    config = ServerConfig(repository=published, grpc_port=0, self_test=True)
    with running(config) as server:
        entries = {entry.name: entry for entry in server.catalog.entries()}

    failed = entries.pop("lstm_sunspots")
    assert failed.state == "UNAVAILABLE"
    assert failed.reason.startswith("self-test: test_data_set_0, output 'forecast': ")
    assert {name: entry.state for name, entry in entries.items()} == {
        name: "READY" for name in MODELS if name != "lstm_sunspots"
    }


@pytest.mark.parametrize("damage", ["truncated", "gone", "vectors", "portable"])
def test_verify_notices_damage(zoo, published: Path, damage: str) -> None:
    """A file that is not what was published fails, and the others are still checked."""
    name = "lstm_sunspots" if damage == "portable" else "dense_iris"
    version = published / name / "1"
    if damage == "truncated":
        content = (version / "model.onnx").read_bytes()
        (version / "model.onnx").write_bytes(content[: len(content) // 2])
    elif damage == "gone":
        (version / "model.onnx").unlink()
    elif damage == "portable":
        (version / "model.portable.onnx").unlink()
    else:
        shutil.copy(
            version / "test_data_set_0/output_0.pb", version / "test_data_set_2/output_0.pb"
        )
    done = zoo("verify", name, "dense_cancer", "--repository", published)

    assert done.returncode == 1
    assert "missing or is not what was published" in done.stdout
    assert re.search(r"^dense_cancer +onnxruntime .* ok$", done.stdout, re.MULTILINE)
    assert "Traceback" not in done.stderr


def test_a_wrong_graph_is_told_by_where_it_differs(trained) -> None:
    """A model held against other answers than its own does not pass, and the worst place is named."""
    path = trained.repository / "dense_cancer/1/model.onnx"
    (case, *_) = read_vectors(path)
    shifted = {name: array + np.float32(1e-3) for name, array in case.expected.items()}
    proof = prove(path, [Case(name="shifted", feeds=case.feeds, expected=shifted)], Policy())

    assert not proof.report.ok
    assert "where Keras gives" in proof.report.worst.reason
