"""Builds the gallery of a repository: pages, models, runtime; the folder appears whole or not at all.

index.html  ko/  models/NAME/  tutorial/  try/     the pages
assets/                                            style and modules, as they are in web/
data/NAME/  model.onnx  taps.onnx  page.json  model.svg  picture.svg
runtime/    ort.mjs  ort.wasm.gz
docs/       the documentation, where it is given
site.json                                          every file with its checksum, for the server
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from zoo.card import charts
from zoo.card.picture import draw
from zoo.card.text import INSIDE
from zoo.errors import UsageError
from zoo.files import staged_folder
from zoo.parity.compare import Case
from zoo.parity.external_data import external_files
from zoo.parity.runtimes import OnnxRuntime
from zoo.parity.vectors import read_vectors
from zoo.publish.manifest import file_facts
from zoo.publish.versions import (
    Manifest,
    export_command,
    intact_version,
    published_models,
)
from zoo.recipes.architecture import Layer
from zoo.recipes.recipe import Recipe
from zoo.recipes.registry import Registry
from zoo.site.code import examples, keras_code
from zoo.site.evidence import HeldOut, held_out, page_data
from zoo.site.facts import model_facts
from zoo.site.graph import describe, taps
from zoo.site.latency import conditions, latency
from zoo.site.pages import render, web_folder
from zoo.site.pictures import picture
from zoo.site.runtime import runtime_files
from zoo.training.runs import RunFolder
from zoo_server.durability import flush_tree
from zoo_server.repository import layout
from zoo_server.version import VERSION

#: numpy's names of types that the browser's runtime calls otherwise; an object is text.
ORT_TYPES = {
    name: name
    for name in ("float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32",
                 "int64", "uint64", "bool")
}  # fmt: skip

#: What says that a folder is a site of ours, and what is in it.
SITE_FILE, SITE_FORMAT = "site.json", 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a site is built from."""

    repository: Path
    runs: Path
    registry: Registry
    runtime_archive: Path | None = None
    docs: Path | None = None
    #: Whether models are timed; without, the same sources give the same site.
    timed: bool = False


def build_site(sources: Sources, output: Path) -> dict[str, int]:
    """Build the site into `output`, replacing one that is there; return the bytes of each file.

    Raises UsageError for a repository without models and for an `output` that is something else.
    """
    names = published_models(sources.repository)
    if not names:
        raise UsageError(
            f"no model is published in {sources.repository}: run {export_command(sources.repository)} "
            "first, or give another --repository"
        )
    _check_output(output)
    _check_docs(sources.docs)
    output.parent.mkdir(parents=True, exist_ok=True)
    with staged_folder(output.parent, output.name) as staged:
        shutil.copytree(web_folder() / "assets", staged / "assets")
        runtime = runtime_files(sources.runtime_archive)
        _write(staged / "runtime", runtime)
        measured = conditions() if sources.timed else None
        models = [_model(sources, name, staged) for name in _ordered(names, sources.registry)]
        if sources.docs is not None:
            # What begins with a dot, and _sources, is the builder's own.
            own = shutil.ignore_patterns(".*", "_sources")
            shutil.copytree(sources.docs, staged / "docs", ignore=own)
        for page in render(
            models,
            VERSION,
            documented=sources.docs is not None,
            measured=measured,
            runtime_bytes=sum(map(len, runtime.values())),
        ):
            _write(staged, {page.path: page.html.encode()})
        files = file_facts(staged)
        _write(staged, {SITE_FILE: _json({"format": SITE_FORMAT, "files": files})})
        flush_tree(staged)
        _replace(output, staged)
    return {name: facts["bytes"] for name, facts in files.items()}


def _check_output(output: Path) -> None:
    if not output.exists() or (output / SITE_FILE).is_file():
        return
    if not output.is_dir() or any(output.iterdir()):
        raise UsageError(f"{output} is there and is no site of `zoo site`: give another --output")


def _check_docs(docs: Path | None) -> None:
    if docs is not None and not (docs / "index.html").is_file():
        raise UsageError(f"--docs {docs} holds no index.html: `make docs` builds it")


def _replace(output: Path, staged: Path) -> None:
    """Put the staged folder in place of the old one, which goes with the staging."""
    if output.exists():
        old = staged.with_name(f"{staged.name}-old")
        output.rename(old)
        staged.rename(output)
        shutil.rmtree(old, ignore_errors=True)
    else:
        staged.rename(output)


def _ordered(names: Iterable[str], registry: Registry) -> list[str]:
    """Return the registry's models in its order, which is the tutorial's, then others by name."""
    known = list(registry.owners)
    return sorted(
        names, key=lambda name: (known.index(name) if name in known else len(known), name)
    )


def _model(sources: Sources, name: str, staged: Path) -> dict[str, Any]:
    """Write one model's data, and return what its page shows."""
    manifest = intact_version(sources.repository, name, sources.registry)
    recipe = sources.registry.get(name) if name in sources.registry.owners else None
    path = manifest.folder / layout.MODEL_FILE
    model, content = onnx.load(path), path.read_bytes()
    if external_files(path):
        content = model.SerializeToString(deterministic=True)  # pages read one file
    tapped = taps(model)
    layers = manifest.values["layers"]
    nodes = describe(tapped, layers)
    evidence = held_out(manifest, recipe) if recipe else None
    facts = model_facts(manifest, recipe)
    folder = staged / "data" / name
    case = _first_case(manifest)
    row = case.feeds
    page = {"nodes": nodes, "layers": layers, **facts["page"]}
    page |= {"example": _tensors(row), "expected": _tensors(case.expected)}
    page |= page_data(evidence) if evidence else {}
    tapped_content = tapped.SerializeToString(deterministic=True)
    documents = {"model.onnx": content, "taps.onnx": tapped_content, "page.json": _json(page)}
    _write(folder, documents)
    shown = _shown_row(evidence) or row
    tensors = OnnxRuntime().load(folder / "taps.onnx")(shown)
    pictures = {"picture.svg": picture(nodes, tensors, evidence)}
    if layers:
        pictures["model.svg"] = draw(name, [Layer.from_json(each) for each in layers])
        facts["picture_size"] = _size(pictures["model.svg"])
    _write(folder, {file: text.encode() for file, text in pictures.items()})
    facts["inside"] = _copy_inside(manifest, folder)
    run = OnnxRuntime().load(folder / "model.onnx") if sources.timed else None
    return facts | {
        "latency": None if run is None else latency(run, row),
        "sample": _sample(recipe, shown, tensors) if page["kind"] == "image" else None,
        "code": examples(
            name,
            row,
            stateful=bool(recipe and recipe.states),
            image=bool(recipe and recipe.image),
        ),
        "keras": keras_code(recipe) if recipe else "",
        "charts": _charts(sources, manifest, recipe, evidence),
    }


def _copy_inside(manifest: Manifest, folder: Path) -> dict[str, list[str]]:
    """Copy the pictures of what goes on inside the model; return the size of each by its name."""
    inside = {f: manifest.folder / f for f in INSIDE if f in manifest.values["files"]}
    _write(folder, {file: path.read_bytes() for file, path in inside.items()})
    return {file.removesuffix(".svg"): _size(path.read_text()) for file, path in inside.items()}


def _size(picture: str) -> list[str]:
    """Return a picture's width and height, which it begins with."""
    return re.findall(r' (?:width|height)="(\d+)"', picture)[:2]


def _first_case(manifest: Manifest) -> Case:
    """Return the first published test vector: one row, and Keras's answers to it."""
    cases = read_vectors(manifest.folder / layout.MODEL_FILE)
    if not cases:
        raise UsageError(f"{manifest.folder} has no test vectors: export the model again")
    return cases[0]


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {
        key: {
            "type": ORT_TYPES.get(value.dtype.name, "string"),
            "shape": list(value.shape),
            "values": value.ravel().tolist(),
        }
        for key, value in arrays.items()
    }


def _shown_row(evidence: HeldOut | None) -> dict[str, np.ndarray] | None:
    """Return the held-out row of the third class (of digits: a 2) that the model is surest of.

    Of models without a third class: the row with the largest contrast.
    """
    if evidence is None:
        return None
    rows, answers = evidence.rows, evidence.answers[evidence.recipe.output_name]
    chosen = np.flatnonzero(evidence.truth == 2)
    if len(chosen) and answers.shape[-1] > 2:
        at = int(chosen[answers[chosen, 2].argmax()])
    else:
        at = int(rows.x.reshape(len(rows.x), -1).std(axis=1).argmax())
    return {
        name: values[at : at + 1]
        for name, values in zip(evidence.recipe.inputs, rows.inputs, strict=True)
    }


def _sample(
    recipe: Recipe | None, shown: Mapping[str, np.ndarray], tensors: Mapping[str, np.ndarray]
) -> dict[str, Any] | None:
    """Return a grey image, 0 to 1, with the model's answer to it; None for other models."""
    if recipe is None or recipe.image is None or recipe.image.mode != "L":
        return None
    image = shown[recipe.input_name][0, ..., 0]
    return {
        "pixels": np.round(image.ravel() / recipe.image.high, 3).tolist(),
        "side": len(image),
        "shares": np.round(tensors[recipe.output_name][0].astype(float), 4).tolist(),
    }


def _charts(
    sources: Sources, manifest: Manifest, recipe: Recipe | None, evidence: HeldOut | None
) -> dict[str, Any]:
    """Return a function of each chart, which draws it in the words of a language."""
    plots: dict[str, Any] = {}
    if recipe is not None:
        run = RunFolder.of(sources.runs, recipe)
        weights = manifest.values["training"]["weights_sha256"]
        if run.record is not None and run.record.weights_sha256 == weights:
            values = run.history()
            plots["history"] = lambda words: charts.history(values, words).element()
    if evidence is not None and recipe is not None:
        drawn = partial(
            charts.held_out,
            recipe.task,
            evidence.rows.y,
            evidence.answers[recipe.output_name],
            classes=recipe.classes,
            units=recipe.units,
        )
        plots["held_out"] = lambda words: drawn(words=words).element()
    return plots


def _write(folder: Path, documents: Mapping[str, bytes]) -> None:
    for name, content in documents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _json(values: Any) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
