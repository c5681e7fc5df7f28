"""From recipes to a repository, end to end, through the command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.zoo.export.zoo_commands import MODELS, ZOO, command_imports
from zoo.files import sha256
from zoo.publish import repository
from zoo.publish.versions import read_manifest
from zoo.training.runs import RunFolder
from zoo_server.repository import layout


def test_a_second_run_does_nothing_and_imports_no_framework(trained) -> None:
    """Everything is up to date, which hashing files alone decides."""
    before = {path: path.stat().st_mtime_ns for path in trained.folder.rglob("*")}
    done = command_imports("export", "--repository", trained.repository, "--runs", trained.runs)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("up to date") == len(MODELS)
    assert done.stdout.splitlines()[-1] == "imported:"
    untouched = {path: path.stat().st_mtime_ns for path in trained.folder.rglob("*")}
    untouched.pop(trained.repository / repository.LOCK_FILE)
    assert {path: before[path] for path in untouched} == untouched


AGAIN = """
import sys
from pathlib import Path
from zoo.cli import main
runs, *repositories = sys.argv[1:]
names = ["cnn_digits", "lstm_sunspots", "lstm_sunspots_step", "cnn_digit_pair"]
for repository in repositories:
    if main(["export", *names, "--repository", repository, "--runs", runs]):
        sys.exit(1)
"""


def test_a_recipe_gives_the_same_bytes_in_every_process(trained, tmp_path: Path) -> None:
    """Two exports in one process and one in another: CNN, LSTM in both variants, two inputs."""
    first, second = tmp_path / "first", tmp_path / "second"
    subprocess.run(
        [sys.executable, "-c", AGAIN, trained.runs, first, second],
        env={**os.environ, "PYTHONHASHSEED": "1"},  # tf2onnx walks over sets
        check=True,
        capture_output=True,
        timeout=120,
    )
    files = [path.relative_to(first) for path in sorted(first.rglob("*.onnx"))]

    assert [str(path) for path in files] == [
        "cnn_digit_pair/1/model.onnx",
        "cnn_digits/1/model.onnx",
        "lstm_sunspots/1/model.onnx",
        "lstm_sunspots/1/model.portable.onnx",
        "lstm_sunspots_step/1/model.onnx",
    ]
    for path in files:
        wanted = (trained.repository / path).read_bytes()
        assert (first / path).read_bytes() == (second / path).read_bytes() == wanted, path


def test_what_is_published_depends_on_its_inputs_alone(zoo, trained, tmp_path: Path) -> None:
    """Another folder, another hour, a slower training: every file of the version is the same."""
    names = ("cnn_digits", "lstm_sunspots", "lstm_sunspots_step")
    runs = tmp_path / "runs"
    shutil.copytree(trained.runs, runs)
    for record in runs.glob("*/record.json"):
        values = json.loads(record.read_text())
        record.write_text(json.dumps(values | {"seconds": 1e4, "warnings": ["took 10000 s"]}))
    done = zoo("export", *names, "--repository", tmp_path / "models", "--runs", runs)

    assert done.returncode == 0, done.stderr
    for name in names:
        wanted, seen = trained.repository / name / "1", tmp_path / "models" / name / "1"
        files = sorted(path.relative_to(wanted) for path in wanted.rglob("*") if path.is_file())
        assert files == sorted(p.relative_to(seen) for p in seen.rglob("*") if p.is_file())
        for file in files:
            assert (seen / file).read_bytes() == (wanted / file).read_bytes(), (name, file)


SOFTSIGN = '''
"""A recipe whose LSTM the ONNX reference evaluator would answer as with tanh."""
from zoo.datasets.sunspots import SUNSPOTS
from zoo.recipes.recipe import recipe

@recipe(tutorial="LSTM(3, softsign)", dataset=SUNSPOTS, task="forecast", input_name="years",
        output_name="forecast", parameters=64, baseline="mean", seed=1, epochs=40, batch_size=16,
        learning_rate=0.02, patience=40)
def softsign() -> object:
    """Forecast with another activation.

    Reaches: mean absolute error <= 60 on 54 held-out windows, in about 9 s on two cores.
    """
    import keras

    return keras.Sequential([keras.Input((5, 1), name="years"), keras.layers.Normalization(),
                             keras.layers.LSTM(3, activation="softsign"), keras.layers.Dense(1),
                             keras.layers.Normalization(invert=True)])
'''


def test_a_recipe_that_the_reference_cannot_compute_is_exported(zoo, tmp_path: Path) -> None:
    """onnxruntime decides; the reference is left out aloud, in the manifest, the card, verify."""
    (tmp_path / "other.py").write_text(SOFTSIGN)
    models = ("--repository", tmp_path / "models", "--module", tmp_path / "other.py")
    done = zoo("export", "softsign", *models, "--runs", tmp_path / "runs")
    assert done.returncode == 0, done.stderr

    manifest = read_manifest(tmp_path / "models", "softsign")
    assert manifest is not None
    reason = "it computes LSTM with default activations only"
    assert manifest.values["left_out"] == {"onnx-reference": reason}
    assert f"onnx-reference left out: {reason}" in (manifest.folder / "README.md").read_text()
    verified = zoo("verify", "softsign", *models)
    assert verified.returncode == 0, verified.stdout
    assert f"left out: {reason}" in verified.stdout


def test_another_opset_is_another_version(zoo, trained, published: Path) -> None:
    """Asked for by name, written in the manifest, and up to date only for the same opset."""
    folders = ("--repository", published, "--runs", trained.runs)
    done = zoo("export", "lstm_sunspots", "--opset", "18", *folders)
    assert done.returncode == 0, done.stderr
    again = command_imports("export", "lstm_sunspots", "--opset", "18", *folders)
    assert "up to date" in again.stdout

    manifest = read_manifest(published, "lstm_sunspots", 2)
    assert manifest is not None
    graphs = [
        manifest.values["graph"],
        *(variant["graph"] for variant in manifest.values["variants"]),
    ]
    assert [graph["opset"] for graph in graphs] == [18, 18]
    assert manifest.values["options"]["opset"] == 18


def test_a_damaged_publication_is_published_again(zoo, trained, published: Path) -> None:
    """Export notices that version 1 is not intact, leaves it, and adds version 2."""
    (published / "dense_iris/1/model.onnx").write_bytes(b"")
    done = zoo("export", "dense_iris", "--repository", published, "--runs", trained.runs)

    assert done.returncode == 0, done.stderr
    assert layout.version_numbers(published / "dense_iris") == [1, 2]
    original = (trained.repository / "dense_iris/1/model.onnx").read_bytes()
    assert (published / "dense_iris/2/model.onnx").read_bytes() == original


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "dense_iriss"), "did you mean dense_iris"),
        (("export", "nothing_like_it"), "no model is called 'nothing_like_it'"),
        (("show", "cnn_digit"), "did you mean cnn_digits"),
        (("list", "--module", "absent.py"), "absent.py: there is no such file"),
        (("export", "dense_iris", "--opset", "14"), "opset 14 is not one of 15 to 23"),
        (("verify", "--repository", "absent"), "absent holds no model"),
        (("serve", "absent"), "there is no absent"),
        (("serve", "--grpc-port", "99999"), "--grpc-port is 99999"),
    ],
)
def test_a_users_mistake_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """Exit status 2, the culprit and the cure, and no traceback."""
    done = subprocess.run(
        [str(ZOO), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


UNTRACEABLE = '''
"""A model that answers otherwise when it is traced: what parity is there to catch."""
from zoo.datasets.tables import IRIS
from zoo.recipes.recipe import recipe

@recipe(tutorial="a trap", dataset=IRIS, task="multiclass", input_name="measurements",
        output_name="probabilities", parameters=15, baseline="majority", seed=1, epochs=60,
        batch_size=32, learning_rate=0.05, patience=60)
def two_faced() -> object:
    """Answer one thing in Keras and another in a graph.

    Reaches: accuracy >= 0.4 on 30 held-out flowers, in about 9 s on two cores.
    """
    import keras
    import tensorflow as tf

    class TwoFaced(keras.layers.Layer):
        def call(self, inputs):
            return inputs if tf.executing_eagerly() else inputs * 1.001

    return keras.Sequential([keras.Input((4,), name="measurements"),
                             keras.layers.Dense(3, activation="softmax"), TwoFaced()])
'''


def test_a_graph_that_disagrees_is_not_published(zoo, tmp_path: Path) -> None:
    """The export says where it differs, exits 1, and leaves no trace in the repository."""
    (tmp_path / "trap.py").write_text(UNTRACEABLE)
    done = zoo(
        "export", "two_faced", "--module", tmp_path / "trap.py",
        "--repository", tmp_path / "models", "--runs", tmp_path / "runs",
    )  # fmt: skip

    assert done.returncode == 1
    assert "two_faced: model.onnx: onnxruntime and Keras disagree on probabilities" in done.stderr
    assert [path.name for path in (tmp_path / "models").iterdir()] == [repository.LOCK_FILE]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_nine_at_twenty_moments_loses_nothing(zoo, tmp_path: Path) -> None:
    """Whatever is on disk after each kill is whole, and the run that is let finish ends right."""
    names = ("dense_iris", "lstm_sunspots", "dense_diabetes")
    folders = ("--repository", tmp_path / "models", "--runs", tmp_path / "runs")
    random = np.random.default_rng(11)
    for _ in range(20):
        process = subprocess.Popen(
            [str(ZOO), "export", *names, *map(str, folders)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(timeout=random.uniform(0.2, 12.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        _assert_whole(tmp_path, names)
        if process.returncode == 0:  # all was done: begin again, so that later kills still hit
            shutil.rmtree(tmp_path / "models")
            shutil.rmtree(tmp_path / "runs")
    done = zoo("export", *names, *folders)
    assert done.returncode == 0, done.stderr
    undisturbed = tmp_path / "undisturbed"
    zoo("export", *names, "--repository", undisturbed / "models", "--runs", undisturbed / "runs")

    for name in names:
        survivor, clean = RunFolder(tmp_path / "runs", name), RunFolder(undisturbed / "runs", name)
        assert survivor.weights.read_bytes() == clean.weights.read_bytes()
    assert zoo("verify", "--repository", tmp_path / "models").returncode == 0


def _assert_whole(folder: Path, names: tuple[str, ...]) -> None:
    """Every visible run and every visible version is complete."""
    for name in names:
        run = RunFolder(folder / "runs", name)
        if run.path.exists():
            assert run.record is not None
            assert sha256(run.weights) == run.record.weights_sha256
        model = folder / "models" / name
        for number in layout.version_numbers(model) if model.exists() else ():
            manifest = read_manifest(folder / "models", name, number)
            assert manifest is not None
            assert manifest.is_intact
            assert (model / layout.CONFIG_FILE).is_file()
