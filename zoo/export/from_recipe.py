"""Exports finished runs of recipes as proven, published versions of a repository.

    train    recipe -> build/runs/<model>/                     zoo/training/train.py
    export   run -> ONNX files -> proof -> models/<model>/<version>/

A publication's key is a hash of files, so that deciding that there is nothing to do imports no
framework.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.card.evaluation import evaluation
from zoo.card.picture import draw
from zoo.card.text import card
from zoo.errors import CheckFailed
from zoo.export.options import ExportOptions
from zoo.export.pictures import write_pictures
from zoo.files import code_files, sha256
from zoo.parity.cases import ParityCases, held_out_metric, parity_cases
from zoo.parity.runtimes import OnnxRuntime
from zoo.parity.vectors import write_vectors
from zoo.publish import repository as publish
from zoo.publish.config import model_config
from zoo.publish.keras_file import write_keras
from zoo.publish.manifest import file_facts, recipe_manifest, write_manifest
from zoo.publish.manifest import versions as package_versions
from zoo.publish.properties import documents, properties
from zoo.publish.versions import last_variants, published_key, read_manifest
from zoo.quantize import report
from zoo.quantize.decision import NONE
from zoo.recipes.architecture import Layer
from zoo.recipes.recipe import Recipe
from zoo.training.runs import RunFolder
from zoo_server.version import VERSION

if TYPE_CHECKING:
    from zoo.convert.conversion import Conversion
    from zoo.export.export import Cases, Export
    from zoo.export.trained import Trained
    from zoo.quantize.evidence import Evidence

#: What below zoo/ may change what is published, besides what a training's key has.
EXPORT_CODE = ("card", "convert", "export", "parity", "publish", "quantize", "table.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The publication of one recipe; `seconds` is what the export took, 0 when it was up to date.

    `fresh`: exported now; `created`: as a new version; `config_kept`: config.pbtxt was edited by hand.
    """

    name: str
    version: int
    fresh: bool
    created: bool
    config_kept: bool
    seconds: float
    manifest: Mapping[str, Any]


def options_of(recipe: Recipe, options: ExportOptions) -> ExportOptions:
    """Return the options as they apply to a recipe: recurrent ones have a portable variant.

    A step has no smaller variant: its state goes round, and so would what quantising loses.
    """
    if recipe.step_of is not None:
        options = replace(options, quantize=NONE, max_loss=None)
    return replace(options, portable=True)


def export_key(recipe: Recipe, run: RunFolder, options: ExportOptions) -> str:
    """Return what a publication of this run depends on, as one hash; imports no framework."""
    assert run.record is not None
    chosen = options_of(recipe, options)
    parts = [
        run.record.key,
        run.record.weights_sha256,
        run.record.seeds,
        run.record.search,
        chosen.to_json(),
        *(sha256(path) for place in EXPORT_CODE for path in code_files(place)),
        package_versions(),
        VERSION,
    ]
    if chosen.quantize != NONE:
        # It builds and judges the smaller variants.
        parts.append(OnnxRuntime().version() or "not installed")
    return hashlib.sha256(json.dumps([recipe.name, *parts]).encode()).hexdigest()


def current_export(
    recipe: Recipe, run: RunFolder, repository: Path, options: ExportOptions
) -> Exported | None:
    """Return the publication of this run if it is whole and up to date."""
    last = published_key(repository, recipe.name)
    if last is None or last[0] != export_key(recipe, run, options):
        return None
    version = last[1]
    manifest = read_manifest(repository, recipe.name, version)
    assert manifest is not None
    return Exported(
        name=recipe.name,
        version=version,
        fresh=False,
        created=False,
        config_kept=False,
        seconds=0.0,
        # An equal version may have been there before the last export, without its measurements.
        manifest=manifest.values | {"variants": last_variants(repository, recipe.name)},
    )


def export_recipe(
    recipe: Recipe, run: RunFolder, repository: Path, options: ExportOptions
) -> Exported:
    """Convert a finished run, prove it equal to Keras, and publish it.

    `run` is that of `recipe.trained_as`. Raises CheckFailed, with nothing published, if a graph is
    invalid or its answers differ, or if a smaller variant that was requested by name loses too
    much.
    """
    from zoo.export.trained import load_trained

    started = time.monotonic()
    recipe = run.chosen_settings(recipe)
    chosen = options_of(recipe, options)
    source = load_trained(recipe, run)
    cases = parity_cases(recipe, source.model, source.held_out)
    with publish.staging(repository, recipe.name) as staged:
        exported = _export(recipe, source, cases, staged, chosen)
        metrics = _held_out_metrics(recipe, source, cases, exported)
        values = recipe_manifest(recipe, source.record, exported.variants, exported.proofs, metrics)
        values["options"] = chosen.to_json()
        values["rebuild"]["export_key"] = export_key(recipe, run, options)
        write_vectors(staged, cases.small)
        write_keras(staged, source.model)
        values["evaluation"] = _evaluation(recipe, source, cases)
        values["states"] = list(recipe.state_tensors)
        write_pictures(staged, recipe, run, source, cases.whole.expected[recipe.output_name])
        _write_documents(staged, values)
        published = _publish(recipe, repository, staged, values)
    return Exported(
        name=recipe.name,
        version=published.version,
        fresh=True,
        created=published.created,
        config_kept=published.config_kept,
        seconds=time.monotonic() - started,
        manifest=values,
    )


def _publish(
    recipe: Recipe, repository: Path, staged: Path, values: Mapping[str, Any]
) -> publish.Published:
    """Put a version in place, with its model's configuration and labels."""
    labels = _labels(recipe)
    config = model_config(
        recipe.name,
        values["graph"],
        labels=labels,
        parameters=values["parameters"],
        states=recipe.state_tensors,
    )
    return publish.publish(
        repository, staged, config, labels, values["rebuild"]["export_key"], values["variants"]
    )


def _export(
    recipe: Recipe,
    source: Trained,
    cases: ParityCases,
    staged: Path,
    options: ExportOptions,
) -> Export:
    """Write the ONNX files, held against Keras on real, random and adversarial rows."""
    from zoo.convert.specification import signature_of
    from zoo.export.export import Cases, Metadata, export
    from zoo.parity.compare import Policy
    from zoo.quantize.evidence import of_recipe

    def compared(conversion: Conversion) -> Cases:
        return Cases(all=cases.all, keep=cases.whole)

    def evidence() -> Evidence:
        train = recipe.dataset.load().train
        return of_recipe(recipe, train, source.held_out)

    rows = source.held_out.inputs
    return export(
        source.model,
        signature_of(source.model, input_names=recipe.inputs, output_names=recipe.outputs),
        compared,
        Policy(argmax=recipe.task == "multiclass"),
        folder=staged,
        options=options,
        metadata=Metadata(
            properties=properties(recipe, source.record, rows),
            documents=documents(recipe, source.record, rows),
        ),
        evidence=evidence,
    )


def _held_out_metrics(
    recipe: Recipe, source: Trained, cases: ParityCases, exported: Export
) -> dict[str, dict[str, Any]]:
    """Return the recipe's metric by file; raises CheckFailed where it is not Keras's."""
    metrics = {}
    for file, proof in exported.proofs.items():
        metric = held_out_metric(recipe, source.held_out, cases.whole, proof.answers)
        if not metric["ok"]:
            raise CheckFailed(
                f"{file}: {metric['metric']} on {metric['rows']} held-out rows is "
                f"{metric['runtimes']}, and Keras's is {metric['keras']}"
            )
        metrics[file] = metric
    return metrics


def _labels(recipe: Recipe) -> tuple[str, ...]:
    """Return one label for each element of the output: a sigmoid's one is the second class."""
    return recipe.classes[1:] if recipe.task == "binary" else recipe.classes


def _write_documents(staged: Path, values: dict[str, Any]) -> None:
    """Write picture and card, then the manifest with the checksum of every other file."""
    layers = [Layer.from_json(layer) for layer in values["layers"]]
    (staged / "model.svg").write_text(draw(values["name"], layers))
    values["files"] = file_facts(staged)
    smaller = report.section(values["variants"])
    (staged / "README.md").write_text(card(values, smaller=smaller))
    write_manifest(staged, values)


def _evaluation(recipe: Recipe, source: Trained, cases: ParityCases) -> dict[str, Any]:
    """Return what the card says of held-out rows, by Keras's answers, with one of the rows."""
    answers: np.ndarray = cases.whole.expected[recipe.output_name]
    values = evaluation(recipe.task, source.held_out.y, answers, recipe.classes)
    if recipe.image is None:
        values["example"] = np.round(source.held_out.x[0].astype(float), 4).tolist()
    return values
