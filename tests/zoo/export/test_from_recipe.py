"""From recipes to a repository, end to end, through the command line."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from zoo.files import sha256
from zoo.parity.compare import Case, Policy
from zoo.parity.prove import prove
from zoo.parity.vectors import read_vectors
from zoo.publish import repository
from zoo.recipes.registry import Registry
from zoo.training.runs import RunFolder
from zoo_server.config import ServerConfig
from zoo_server.repository import layout
from zoo_server.server import running

ZOO = Path(sys.executable).with_name("zoo")
KNOWN = Registry.default()
#: Those whose data is in a package.
MODELS = [name for name in KNOWN.names() if KNOWN.get(name).dataset.home is None]

#: Runs a command in this Python and says which frameworks it imported.
IMPORTS = """
import sys
from zoo.cli import main
status = main(sys.argv[1:])
loaded = [name for name in ("tensorflow", "keras", "tf2onnx", "onnx") if name in sys.modules]
print("imported:", *loaded)
sys.exit(status)
"""


def _zoo(*arguments: object, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(ZOO), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def _imports(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", IMPORTS, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def published(trained, tmp_path: Path) -> Path:
    """A private copy of the repository."""
    shutil.copytree(trained.repository, tmp_path / "models")
    return tmp_path / "models"


def test_a_second_run_does_nothing_and_imports_no_framework(trained) -> None:
    """Everything is up to date, which hashing files alone decides."""
    before = {path: path.stat().st_mtime_ns for path in trained.folder.rglob("*")}
    done = _imports("export", "--repository", trained.repository, "--runs", trained.runs)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("up to date") == len(MODELS)
    assert done.stdout.splitlines()[-1] == "imported:"
    untouched = {path: path.stat().st_mtime_ns for path in trained.folder.rglob("*")}
    untouched.pop(trained.repository / repository.LOCK_FILE)
    assert {path: before[path] for path in untouched} == untouched


@pytest.mark.parametrize("name", MODELS)
def test_every_version_is_complete(trained, name: str) -> None:
    """Model, manifest, card, picture and vectors; checksums, graph facts and parity hold."""
    manifest = repository.read_manifest(trained.repository, name)
    assert manifest is not None
    assert repository.intact(manifest)
    values, recipe = manifest.values, Registry.default().get(name)
    assert {"model.onnx", "README.md", "model.svg", "history.png", "held_out.png"} <= set(
        values["files"]
    )
    taken, given = values["graph"]["inputs"], values["graph"]["outputs"]
    assert tuple(tensor["name"] for tensor in taken) == recipe.inputs
    assert tuple(tensor["name"] for tensor in given) == recipe.outputs
    assert {tensor["shape"][0] for tensor in (*taken, *given)} == {"batch"}
    assert (values["graph"]["opset"], values["graph"]["ir_version"]) == (17, 8)
    assert {row["runtime"] for row in values["parity"]} == {"onnxruntime", "onnx-reference"}
    assert values["training"]["parameters"] == recipe.parameters
    assert recipe.claim.holds(values["training"]["metric"]["value"])


@pytest.mark.parametrize("name", MODELS)
def test_parity_is_measured_on_all_rows_and_on_hostile_ones(trained, name: str) -> None:
    """Every case of every file is within its bound, or says why it is not compared."""
    manifest = repository.read_manifest(trained.repository, name)
    assert manifest is not None
    values = manifest.values
    rows = len(RunFolder.of(trained.runs, Registry.default().get(name)).held_out())
    files = [values, *(variant for variant in values["variants"] if "parity" in variant)]
    for variant in files:
        cases = {row["case"] for row in variant["parity"]}
        assert {
            "held-out rows, batch 1",
            "held-out rows, batch 7",
            f"all {rows} held-out rows",
        } <= (cases)
        assert {"zeros", "a denormal float32", "the largest float32", "NaN everywhere"} <= cases
        assert {"one Inf in a held-out row", "-Inf everywhere"} <= cases
        for row in variant["parity"]:
            assert row["ok"] or (row["adversarial"] and row["not_compared"]), row
            assert row["not_compared"] or (row["ratio"] <= 1 and row["flips"] == 0)
        measured = variant["held_out"]
        assert measured["rows"] == rows
        assert measured["keras"] == pytest.approx(values["training"]["metric"]["value"], rel=1e-5)
        assert measured["runtimes"].keys() == {"onnxruntime"}
        assert abs(measured["runtimes"]["onnxruntime"] - measured["keras"]) <= measured["allowed"]
    text = (manifest.folder / "README.md").read_text()
    assert values["tolerance"]["reason"] in text
    assert f"on all {rows} held-out rows: Keras" in text


@pytest.mark.parametrize("name", MODELS)
def test_every_file_says_what_it_is(trained, name: str) -> None:
    """Properties that onnxruntime hands out too, the same in both variants, in one order."""
    manifest = repository.read_manifest(trained.repository, name)
    assert manifest is not None
    values, recipe = manifest.values, Registry.default().get(name)
    seen = []
    for path in sorted(manifest.folder.glob("*.onnx")):
        model = onnx.load(path)
        facts = {entry.key: entry.value for entry in model.metadata_props}
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        assert session.get_modelmeta().custom_metadata_map == facts
        assert (facts["name"], facts["task"]) == (name, recipe.task)
        assert facts.get("classes", "") == ",".join(recipe.classes)
        assert facts.get("units", "") == recipe.units
        assert "none: raw values go in, and the graph scales" in facts["preprocessing"]
        assert ("the ink" in facts["preprocessing"]) == ("ink" in facts.get("image", ""))
        assert facts["data_licence"] == values["data"]["licence"]
        assert float(facts["metric_value"]) == pytest.approx(
            values["training"]["metric"]["value"], rel=1e-5
        )
        assert facts["recipe"].startswith(f"{name} in zoo/recipes/")
        assert (
            facts["layer_zoo_version"] == values["versions"]["layer-zoo"] == model.producer_version
        )
        tensors = [*model.graph.input, *model.graph.output]
        assert all(tensor.doc_string for tensor in tensors)
        if recipe.task == "multiclass":
            assert model.graph.output[0].doc_string.endswith(", ".join(recipe.classes))
        seen.append((facts, list(facts), [tensor.doc_string for tensor in tensors]))
    assert all(entry == seen[0] for entry in seen)


def test_a_manifest_is_enough_to_rebuild_from(trained) -> None:
    """Recipe and data by content, seed, options and every version: no repository of code needed."""
    manifest = repository.read_manifest(trained.repository, "cnn_digits")
    assert manifest is not None
    values, recipe = manifest.values, Registry.default().get("cnn_digits")
    rebuild = values["rebuild"]
    assert rebuild["recipe"]["sha256"] == sha256(recipe.file)
    assert rebuild["data_sha256"] == {path.name: sha256(path) for path in recipe.dataset.files()}
    assert rebuild["seed"] == recipe.seed
    assert rebuild["weights_sha256"] == sha256(RunFolder(trained.runs, "cnn_digits").weights)
    assert values["options"] == {
        "opset": 17,
        "portable": True,
        "reset_states": False,
        "quantize": "none",
        "max_loss": None,
    }
    packages = {"keras", "tf2onnx", "onnx", "numpy", "python", "layer-zoo"}
    assert packages <= values["versions"].keys()
    assert any(package.startswith("tensorflow") for package in values["versions"])


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


def test_what_is_published_depends_on_its_inputs_alone(trained, tmp_path: Path) -> None:
    """Another folder, another hour, a slower training: every file of the version is the same."""
    names = ("cnn_digits", "lstm_sunspots", "lstm_sunspots_step")
    runs = tmp_path / "runs"
    shutil.copytree(trained.runs, runs)
    for record in runs.glob("*/record.json"):
        values = json.loads(record.read_text())
        record.write_text(json.dumps(values | {"seconds": 1e4, "warnings": ["took 10000 s"]}))
    done = _zoo("export", *names, "--repository", tmp_path / "models", "--runs", runs)

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


def test_a_recipe_that_the_reference_cannot_compute_is_exported(tmp_path: Path) -> None:
    """onnxruntime decides; the reference is left out aloud, in the manifest, the card, verify."""
    (tmp_path / "other.py").write_text(SOFTSIGN)
    models = ("--repository", tmp_path / "models", "--module", tmp_path / "other.py")
    done = _zoo("export", "softsign", *models, "--runs", tmp_path / "runs")
    assert done.returncode == 0, done.stderr

    manifest = repository.read_manifest(tmp_path / "models", "softsign")
    assert manifest is not None
    reason = "it computes LSTM with default activations only"
    assert manifest.values["left_out"] == {"onnx-reference": reason}
    assert f"onnx-reference left out: {reason}" in (manifest.folder / "README.md").read_text()
    verified = _zoo("verify", "softsign", *models)
    assert verified.returncode == 0, verified.stdout
    assert f"left out: {reason}" in verified.stdout


def test_what_a_recurrent_operator_makes_of_nan_is_not_hidden(trained) -> None:
    """onnxruntime's LSTM loses NaN, which the card says; the portable variant keeps it."""
    manifest = repository.read_manifest(trained.repository, "lstm_sunspots")
    assert manifest is not None

    def verdict(parity: list[dict], runtime: str) -> tuple[bool, str]:
        (row,) = (r for r in parity if (r["case"], r["runtime"]) == ("NaN everywhere", runtime))
        return row["ok"], row["not_compared"]

    (portable,) = manifest.values["variants"]
    ok, reason = verdict(manifest.values["parity"], "onnxruntime")
    assert not ok
    assert "answer NaN with a number" in reason
    assert verdict(manifest.values["parity"], "onnx-reference") == (True, "")
    assert verdict(portable["parity"], "onnxruntime") == (True, "")
    assert reason in (manifest.folder / "README.md").read_text()


PORTABLE = {"bilstm_sunspots", "gru_sunspots", "lstm_sunspots", "lstm_sunspots_sequence"}


@pytest.mark.parametrize("name", MODELS)
def test_recurrent_models_have_a_portable_variant(trained, name: str) -> None:
    """A second file of plain operators, proven by the same rows; no file without a reason."""
    manifest = repository.read_manifest(trained.repository, name)
    assert manifest is not None
    variants = manifest.values["variants"]
    if name in PORTABLE:
        (variant,) = variants
        facts = manifest.values["files"]["model.portable.onnx"]
        assert (variant["file"], variant["bytes"], variant["sha256"]) == (
            "model.portable.onnx", facts["bytes"], facts["sha256"],
        )  # fmt: skip
        kinds = {n.op_type for n in onnx.load(manifest.folder / "model.portable.onnx").graph.node}
        assert not {"LSTM", "GRU", "RNN", "Loop"} & kinds
        assert variant["graph"]["inputs"] == manifest.values["graph"]["inputs"]
        rows = [(row["runtime"], row["case"]) for row in variant["parity"]]
        assert rows == [(row["runtime"], row["case"]) for row in manifest.values["parity"]]
    elif name == "lstm_sunspots_any_length":
        assert "needs a fixed length" in variants[0]["reason"]
        assert "needs a fixed length" in (manifest.folder / "README.md").read_text()
    else:
        assert variants == []
    assert (manifest.folder / "model.portable.onnx").exists() == (name in PORTABLE)


def test_another_opset_is_another_version(trained, published: Path) -> None:
    """Asked for by name, written in the manifest, and up to date only for the same opset."""
    folders = ("--repository", published, "--runs", trained.runs)
    done = _zoo("export", "lstm_sunspots", "--opset", "18", *folders)
    assert done.returncode == 0, done.stderr
    again = _imports("export", "lstm_sunspots", "--opset", "18", *folders)
    assert "up to date" in again.stdout

    manifest = repository.read_manifest(published, "lstm_sunspots", 2)
    assert manifest is not None
    graphs = [
        manifest.values["graph"],
        *(variant["graph"] for variant in manifest.values["variants"]),
    ]
    assert [graph["opset"] for graph in graphs] == [18, 18]
    assert manifest.values["options"]["opset"] == 18


def test_verify_repeats_the_check_on_disk(trained) -> None:
    """Every model agrees in every runtime, as JSON says too."""
    done = _zoo("verify", "--repository", trained.repository, "--json")

    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert {result["model"] for result in results} == {
        *MODELS, *(f"{name}/model.portable.onnx" for name in PORTABLE)
    }  # fmt: skip
    assert all(result["ok"] and len(result["comparisons"]) >= 8 for result in results)


def test_verify_takes_any_onnx_file_with_vectors(trained, tmp_path: Path) -> None:
    """A version folder copied elsewhere is enough; without vectors it is bad usage."""
    shutil.copytree(trained.repository / "cnn_digits/1", tmp_path / "copy")
    done = _zoo("verify", tmp_path / "copy/model.onnx")
    assert done.returncode == 0, done.stderr

    for folder in (tmp_path / "copy").glob("test_data_set_*"):
        shutil.rmtree(folder)
    done = _zoo("verify", tmp_path / "copy/model.onnx")
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
def test_verify_notices_damage(published: Path, damage: str) -> None:
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
    done = _zoo("verify", name, "dense_cancer", "--repository", published)

    assert done.returncode == 1
    assert "missing or is not what was published" in done.stdout
    assert re.search(r"^dense_cancer +onnxruntime .* ok$", done.stdout, re.MULTILINE)
    assert "Traceback" not in done.stderr


def test_a_wrong_graph_is_told_by_where_it_differs(trained) -> None:
    """A model held against other answers than its own does not pass, and the worst place is named."""
    path = trained.repository / "dense_cancer/1/model.onnx"
    (case, *_) = read_vectors(path)
    shifted = {name: array + np.float32(1e-3) for name, array in case.expected.items()}
    (proof,) = prove([path], [Case(name="shifted", feeds=case.feeds, expected=shifted)], Policy())

    assert not proof.report.ok
    assert "where Keras gives" in proof.report.worst.reason


def test_a_damaged_publication_is_published_again(trained, published: Path) -> None:
    """Export notices that version 1 is not intact, leaves it, and adds version 2."""
    (published / "dense_iris/1/model.onnx").write_bytes(b"")
    done = _zoo("export", "dense_iris", "--repository", published, "--runs", trained.runs)

    assert done.returncode == 0, done.stderr
    assert layout.version_numbers(published / "dense_iris") == [1, 2]
    original = (trained.repository / "dense_iris/1/model.onnx").read_bytes()
    assert (published / "dense_iris/2/model.onnx").read_bytes() == original


def test_list_and_show_need_no_framework(trained, tmp_path: Path) -> None:
    """Figures come from manifests; the picture is drawn without TensorFlow."""
    listed = _imports("list", "--repository", trained.repository)
    shown = _imports(
        "show", "cnn_digits", "--repository", trained.repository, "--svg", tmp_path / "p.svg"
    )

    assert listed.returncode == shown.returncode == 0
    assert listed.stdout.splitlines()[-1] == shown.stdout.splitlines()[-1] == "imported:"
    assert "178" in listed.stdout
    assert "178 trainable parameters" in shown.stdout
    assert "(None, 2, 2, 3)" in (tmp_path / "p.svg").read_text()


def test_show_counts_the_tutorials_connections(trained) -> None:
    """4 inputs times 8 units are 32 connections."""
    shown = json.loads(
        _zoo("show", "dense_iris", "--repository", trained.repository, "--json").stdout
    )
    (dense, *_) = [layer for layer in shown["layers"] if layer["type"] == "Dense"]

    assert dense["connections"] == 32
    assert dense["trainable"] == 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "dense_iriss"), "did you mean dense_iris"),
        (("export", "nothing_like_it"), "no model is called 'nothing_like_it'"),
        (("show", "cnn_digit"), "did you mean cnn_digits"),
        (("list", "--module", "absent.py"), "absent.py: there is no such file"),
        (("train", "--data", "x.npz"), "--data is the data of one model"),
        (("export", "dense_iris", "--opset", "14"), "opset 14 is not one of 15 to 23"),
        (("train", "dense_iris", "--data", "x.npz"), "x.npz"),
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


def test_a_graph_that_disagrees_is_not_published(tmp_path: Path) -> None:
    """The export says where it differs, exits 1, and leaves no trace in the repository."""
    (tmp_path / "trap.py").write_text(UNTRACEABLE)
    done = _zoo(
        "export", "two_faced", "--module", tmp_path / "trap.py",
        "--repository", tmp_path / "models", "--runs", tmp_path / "runs",
    )  # fmt: skip

    assert done.returncode == 1
    assert "two_faced: model.onnx: onnxruntime and Keras disagree on probabilities" in done.stderr
    assert [path.name for path in (tmp_path / "models").iterdir()] == [repository.LOCK_FILE]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_nine_at_twenty_moments_loses_nothing(tmp_path: Path) -> None:
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
    done = _zoo("export", *names, *folders)
    assert done.returncode == 0, done.stderr
    undisturbed = tmp_path / "undisturbed"
    _zoo("export", *names, "--repository", undisturbed / "models", "--runs", undisturbed / "runs")

    for name in names:
        survivor, clean = RunFolder(tmp_path / "runs", name), RunFolder(undisturbed / "runs", name)
        assert survivor.weights.read_bytes() == clean.weights.read_bytes()
    assert _zoo("verify", "--repository", tmp_path / "models").returncode == 0


def _assert_whole(folder: Path, names: tuple[str, ...]) -> None:
    """Every visible run and every visible version is complete."""
    for name in names:
        run = RunFolder(folder / "runs", name)
        if run.path.exists():
            assert run.record is not None
            assert sha256(run.weights) == run.record.weights_sha256
        model = folder / "models" / name
        for number in layout.version_numbers(model) if model.exists() else ():
            manifest = repository.read_manifest(folder / "models", name, number)
            assert manifest is not None
            assert repository.intact(manifest)
            assert (model / layout.CONFIG_FILE).is_file()
