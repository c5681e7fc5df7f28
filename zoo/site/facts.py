"""The facts of one published model that its page and the index show, from its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.parity.variants import variants_of
from zoo.publish.versions import Manifest
from zoo.recipes.architecture import Layer, call_text, shape_text
from zoo.recipes.recipe import Recipe
from zoo.runtimes.results import read_record
from zoo_server.repository import layout


def model_facts(manifest: Manifest, recipe: Recipe | None) -> dict[str, Any]:
    """Return plain values; `page` is the part that the page's modules read."""
    values = manifest.values
    training = values.get("training")
    meaning = values.get("parameters", {})
    data = values.get("data", {})
    return {
        "name": manifest.folder.parent.name,
        "version": manifest.folder.name,
        "summary": values["summary"],
        "tutorial": values.get("tutorial", ""),
        "task": values.get("task", ""),
        "family": family(values["layers"]),
        "layers": [_layer(Layer.from_json(each)) for each in values["layers"]],
        "parameters": training["parameters"] if training else None,
        "bytes": values["files"][layout.MODEL_FILE]["bytes"],
        "metric": _metric(training) if training else None,
        "training": training,
        "data": data,
        "graph": values["graph"],
        "parity": _parity(values),
        "tolerance": values["tolerance"],
        "files": _files(values),
        "runtimes": _runtimes(manifest),
        "page": {
            "name": manifest.folder.parent.name,
            "version": manifest.folder.name,
            "kind": kind(values, recipe),
            "task": values.get("task", ""),
            "classes": list(data.get("classes", ())),
            "units": meaning.get("units", ""),
            "image": data.get("image"),
            "data": data.get("name", ""),
            "inputs": values["graph"]["inputs"],
            "outputs": values["graph"]["outputs"],
            "tolerance": values["tolerance"]["scaled"],
        },
    }


def family(layers: list[Mapping[str, Any]]) -> str:
    """Return the tutorial's kind of layer that a model is about: dense, convolution, recurrent."""
    kinds = {layer["type"] for layer in layers}
    if "Conv2D" in kinds:
        return "convolution"
    if any("LSTM" in each or "GRU" in each or each == "Bidirectional" for each in kinds):
        return "recurrent"
    return "dense" if "Dense" in kinds else "other"


def kind(values: Mapping[str, Any], recipe: Recipe | None) -> str:
    """Return which demonstration fits: web/assets/demo-KIND.js."""
    inputs = values["graph"]["inputs"]
    # Versions that were published before images were described say too little of theirs.
    if recipe is None or (recipe.image and "crop" not in values["data"]["image"]):
        return "numbers"
    if recipe.states:
        return "step"
    if recipe.image is not None:
        return "image" if len(inputs) == 1 else "pair"
    if recipe.task == "forecast":
        return "series"
    return "table" if len(recipe.dataset.features) > 1 else "numbers"


def _metric(training: Mapping[str, Any]) -> dict[str, Any]:
    metric, baseline, linear = training["metric"], training["baseline"], training.get("linear")
    sign = 1 if metric["higher_is_better"] else -1
    return {
        "name": metric["name"],
        "value": metric["value"],
        "units": metric["units"],
        "higher": metric["higher_is_better"],
        "baseline": baseline["value"],
        "baseline_name": baseline["name"].replace("_", " "),
        # Absent from versions that were published before it was measured.
        "linear": linear["value"] if linear else None,
        "linear_name": linear["name"] if linear else "",
        "loses": linear is not None and (linear["value"] - metric["value"]) * sign > 0,
    }


def _layer(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "call": layer.type if layer.type == "InputLayer" else call_text(layer),
        "shape": shape_text(layer.output_shape),
        "parameters": layer.total,
        "connections": layer.connections,
    }


def _parity(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the largest difference to Keras in each runtime, of the cases that count."""
    facts = []
    for runtime, version in values["runtimes"].items():
        rows = [
            row for row in values["parity"] if row["runtime"] == runtime and not row["not_compared"]
        ]
        if rows:
            facts.append(
                {
                    "runtime": runtime,
                    "version": version,
                    "cases": len({row["case"] for row in rows}),
                    # Adversarial rows have answers of any size, whose differences say little.
                    "largest": max(
                        (row["max_abs"] for row in rows if not row["adversarial"]), default=0.0
                    ),
                    "share": max(row["ratio"] for row in rows),
                }
            )
    return facts


def _runtimes(manifest: Manifest) -> list[dict[str, Any]]:
    """Return what `zoo verify --runtimes` measured of this version's files in other programs.

    A runtime's best file counts: some cannot read recurrent operators, and run the portable file.
    """
    files = manifest.values["files"]
    checksums = [facts["sha256"] for name, facts in files.items() if name.endswith(".onnx")]
    record = read_record(manifest.folder.parent).only(checksums)
    order = ("ok", "differs", "refused")
    facts = []
    for runtime in record.runtimes:
        cells = [(item.file, item.cells[runtime]) for item in record.files if runtime in item.cells]
        file, cell = min(cells, key=lambda each: order.index(each[1].status))
        facts.append(
            {
                "runtime": runtime,
                "version": cell.version,
                "status": cell.status,
                "largest": cell.max_abs,
                "file": "" if file == layout.MODEL_FILE else file,
            }
        )
    return facts


def _files(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "file": each["file"],
            "title": each["title"],
            "opset": each["graph"]["opset"],
            "nodes": each["graph"]["nodes"],
            "bytes": values["files"][each["file"]]["bytes"],
        }
        for each in variants_of(values)
        if "graph" in each
    ]
