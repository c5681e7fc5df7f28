"""What a published version holds: files, facts, proofs and variants; for every model."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import onnx
import onnxruntime
import pytest
import yaml

from tests.zoo.export.zoo_commands import MODELS, PORTABLE, command_imports
from zoo.files import sha256
from zoo.models.model import load as zoo_load
from zoo.publish.versions import read_manifest
from zoo.recipes.registry import Registry
from zoo.training.runs import RunFolder


@pytest.mark.parametrize("name", MODELS)
def test_every_version_is_complete(trained, name: str) -> None:
    """Model, manifest, card, picture and vectors; checksums, graph facts and parity hold."""
    manifest = read_manifest(trained.repository, name)
    assert manifest is not None
    assert manifest.is_intact
    values, recipe = manifest.values, Registry.default().get(name)
    assert {"model.onnx", "README.md", "model.svg", "history.svg", "held_out.svg"} <= set(
        values["files"]
    )
    inputs, outputs = values["graph"]["inputs"], values["graph"]["outputs"]
    assert tuple(tensor["name"] for tensor in inputs) == recipe.inputs
    assert tuple(tensor["name"] for tensor in outputs) == recipe.outputs
    given = [name for layer in values["layers"] for name in layer["outputs"]]
    assert sorted(given) == sorted(recipe.outputs)
    assert {tensor["shape"][0] for tensor in (*inputs, *outputs)} == {"batch"}
    assert (values["graph"]["opset"], values["graph"]["ir_version"]) == (17, 8)
    assert {row["runtime"] for row in values["parity"]} == {"onnxruntime", "onnx-reference"}
    assert values["training"]["parameters"] == recipe.parameters
    assert recipe.claim.holds(values["training"]["metric"]["value"])


@pytest.mark.parametrize("name", MODELS)
def test_parity_is_measured_on_all_rows_and_on_hostile_ones(trained, name: str) -> None:
    """Every case of every file is within its bound, or says why it is not compared."""
    manifest = read_manifest(trained.repository, name)
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
def test_a_card_follows_the_convention(trained, name: str) -> None:
    """Front matter in YAML, pictures that are there, three lines that run, figures of every held-out row."""
    manifest = read_manifest(trained.repository, name)
    assert manifest is not None
    values, text = manifest.values, (manifest.folder / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    facts = yaml.safe_load(head)
    (result,) = facts["model-index"][0]["results"]
    assert facts["license"] == "apache-2.0"
    assert result["task"]["type"] == facts["pipeline_tag"]
    assert result["metrics"][0]["value"] == round(values["training"]["metric"]["value"], 4)
    for heading in ("How to use it", "What it is for, and what not", "Licence", "Citation"):
        assert f"\n## {heading}\n" in body
    assert set(re.findall(r"!\[.*?\]\((.*?)\)", body)) <= set(values["files"])

    evaluation, rows = values["evaluation"], values["data"]["rows"]["test"]
    if "classes" in evaluation:
        assert sum(each["rows"] for each in evaluation["classes"]) == rows
        assert sum(each["rows"] for each in evaluation["calibration"]["bins"]) == rows
    (code,) = re.findall(r"```python\n(.*?)```", body, re.DOTALL)
    compile(code, name, "exec")
    if values["data"]["image"] is None:
        assert str(evaluation["example"]) in code
        assert zoo_load(name, repository=trained.repository).predict(evaluation["example"])
    else:
        assert "samples.svg" in values["files"]


@pytest.mark.parametrize("name", MODELS)
def test_a_card_shows_what_goes_on_inside(trained, name: str) -> None:
    """Kernels and feature maps of every convolution and pooling, memory of every recurrent model."""
    manifest = read_manifest(trained.repository, name)
    assert manifest is not None
    values, text = manifest.values, (manifest.folder / "README.md").read_text()
    kinds = {layer["type"] for layer in values["layers"]}
    wanted = set()
    if "Conv2D" in kinds:
        wanted = {"filters.svg", "activations.svg"}
        maps = (manifest.folder / "activations.svg").read_text()
        for layer in values["layers"]:
            if layer["type"] in ("Conv2D", "MaxPooling2D"):
                assert f">{layer['name']}: " in maps
    elif kinds & {"LSTM", "GRU", "LSTMCell", "Bidirectional"}:
        wanted = {"memory.svg"}
        assert "hidden state" in (manifest.folder / "memory.svg").read_text()
    assert {"filters.svg", "activations.svg", "memory.svg"} & set(values["files"]) == wanted
    assert all(f"({file})" in text for file in wanted)
    for path in manifest.folder.glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
        assert "prefers-color-scheme:dark" in path.read_text()


@pytest.mark.parametrize("name", MODELS)
def test_every_file_says_what_it_is(trained, name: str) -> None:
    """Properties that onnxruntime hands out too, the same in both variants, in one order."""
    manifest = read_manifest(trained.repository, name)
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
    manifest = read_manifest(trained.repository, "cnn_digits")
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
        "states": "",
        "quantize": "none",
        "max_loss": None,
        "external_data": False,
    }
    packages = {"keras", "tf2onnx", "onnx", "numpy", "python", "layer-zoo"}
    assert packages <= values["versions"].keys()
    assert any(package.startswith("tensorflow") for package in values["versions"])


def test_what_a_recurrent_operator_makes_of_nan_is_not_hidden(trained) -> None:
    """onnxruntime's LSTM loses NaN, which the card says; the portable variant keeps it."""
    manifest = read_manifest(trained.repository, "lstm_sunspots")
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


@pytest.mark.parametrize("name", MODELS)
def test_recurrent_models_have_a_portable_variant(trained, name: str) -> None:
    """A second file of plain operators, proven by the same rows; no file without a reason."""
    manifest = read_manifest(trained.repository, name)
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


def test_list_and_show_need_no_framework(trained, tmp_path: Path) -> None:
    """Figures come from manifests; the picture is drawn without TensorFlow."""
    listed = command_imports("list", "--repository", trained.repository)
    shown = command_imports(
        "show", "cnn_digits", "--repository", trained.repository, "--svg", tmp_path / "p.svg"
    )

    assert listed.returncode == shown.returncode == 0
    assert listed.stdout.splitlines()[-1] == shown.stdout.splitlines()[-1] == "imported:"
    assert "178" in listed.stdout
    assert "178 trainable parameters" in shown.stdout
    assert "(None, 2, 2, 3)" in (tmp_path / "p.svg").read_text()


def test_show_counts_the_tutorials_connections(zoo, trained) -> None:
    """4 inputs times 8 units are 32 connections."""
    shown = json.loads(
        zoo("show", "dense_iris", "--repository", trained.repository, "--json").stdout
    )
    (dense, *_) = [layer for layer in shown["layers"] if layer["type"] == "Dense"]

    assert dense["connections"] == 32
    assert dense["trainable"] == 40
