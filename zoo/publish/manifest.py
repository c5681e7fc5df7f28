"""manifest.json: what a version folder says of itself, and the files that are drawn from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from zoo.card.picture import draw
from zoo.card.text import card
from zoo.publish.properties import parameters
from zoo.publish.repository import sha256
from zoo.publish.variants import Variant
from zoo.recipes.architecture import Layer
from zoo.recipes.recipe import Recipe
from zoo.training.record import Record
from zoo.version import zoo_version
from zoo_server.repository import layout

#: Format 2 has "forms" in place of "variants".
FORMAT = 3

#: What the files' bytes depend on, beside what trained the weights.
PACKAGES = ("keras", "numpy", "onnx", "tf2onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How one file was held against Keras, as JSON values.

    `versions` of the runtimes, every comparison, and the model's metric on all held-out rows.
    """

    versions: Mapping[str, str]
    parity: list[dict[str, Any]]
    held_out: Mapping[str, Any] = field(default_factory=dict)


def manifest(
    recipe: Recipe,
    record: Record,
    variants: Sequence[Variant],
    proven: Mapping[str, Proof],
) -> dict[str, Any]:
    """Return what a version says of itself; the files' checksums are added last.

    `variants`: the model itself first; `proven` has an entry for each that was held against Keras.
    """
    values = _proofs(variants, proven)
    return {
        "format": FORMAT,
        "name": recipe.name,
        "summary": recipe.summary,
        "tutorial": recipe.tutorial,
        "recipe": recipe.source,
        "rebuild": _rebuild(recipe, record),
        "task": recipe.task,
        "parameters": parameters(recipe),
        "data": dict(record.dataset),
        "training": {
            "recipe": dict(record.recipe),
            "epochs": record.epochs_run,
            "best_epoch": record.best_epoch,
            "metric": dict(record.metric),
            "baseline": dict(record.baseline),
            "claim": dict(record.claim),
            "parameters": record.trainable,
            "total_parameters": record.total,
            "seconds": record.seconds,
            "weights_sha256": record.weights_sha256,
        },
        "layers": record.layers,
        **values,
        "held_out": dict(proven[variants[0].file].held_out),
        "versions": values["versions"] | dict(record.versions),
    }


def file_manifest(
    name: str, source: Path, variants: Sequence[Variant], proven: Mapping[str, Proof]
) -> dict[str, Any]:
    """Return what a version says of itself that was exported from a Keras file of the user's."""
    return {
        "format": FORMAT,
        "name": name,
        "summary": f"exported from {source.name}",
        "rebuild": {
            "command": f"zoo export {source.name} --name {name}",
            "source": {"file": source.name, "sha256": sha256(source)},
        },
        **_proofs(variants, proven),
    }


def _proofs(variants: Sequence[Variant], proven: Mapping[str, Proof]) -> dict[str, Any]:
    """Return the files' facts, and how each was held against Keras."""
    first, *others = variants
    proof = proven[first.file]
    return {
        "graph": dict(first.graph),
        "tolerance": first.tolerance.to_json(),
        "runtimes": dict(proof.versions),
        "parity": proof.parity,
        "variants": [variant_entry(variant, proven.get(variant.file)) for variant in others],
        "versions": {package: metadata.version(package) for package in PACKAGES}
        | {"layer-zoo": zoo_version()},
    }


def _rebuild(recipe: Recipe, record: Record) -> dict[str, Any]:
    """Return what the files follow from, beside `versions`, `options` and the data's checksums.

    Hashes of content, so that it means the same without the repository that the code came from.
    """
    return {
        "command": f"zoo export {recipe.name}",
        "recipe": {"file": recipe.source, "sha256": sha256(recipe.file)},
        "data_code_sha256": sha256(recipe.dataset.code),
        "data_sha256": dict(record.dataset["files"]),
        "seed": recipe.seed,
        "training_key": record.key,
        "weights_sha256": record.weights_sha256,
    }


def variant_entry(variant: Variant, proof: Proof | None = None) -> dict[str, Any]:
    """Return what is recorded of a further file, or of why there is none."""
    title = {"file": variant.file, "title": variant.title}
    if variant.content is None:
        return title | {"reason": variant.reason, **variant.measured}
    judged = {"parity": proof.parity, "held_out": dict(proof.held_out)} if proof else {}
    return title | {
        "bytes": len(variant.content),
        "sha256": hashlib.sha256(variant.content).hexdigest(),
        "graph": dict(variant.graph),
        "exact": variant.exact,
        "tolerance": variant.tolerance.to_json(),
        **judged,
        **variant.measured,
    }


def write_documents(staged: Path, name: str, values: dict[str, Any]) -> None:
    """Write picture and card, then the manifest with the checksum of every other file."""
    layers = [Layer.from_json(layer) for layer in values["layers"]]
    (staged / "model.svg").write_text(draw(name, layers))
    values["files"] = file_facts(staged)
    (staged / "README.md").write_text(card(values))
    write_manifest(staged, values)


def write_manifest(staged: Path, values: dict[str, Any]) -> None:
    """Write the manifest, with the checksum of every file that is there."""
    values["files"] = file_facts(staged)
    (staged / layout.MANIFEST_FILE).write_text(json.dumps(values, indent=2) + "\n")


def file_facts(staged: Path) -> dict[str, dict[str, Any]]:
    """Return checksum and size of each file so far."""
    return {
        path.relative_to(staged).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size}
        for path in sorted(staged.rglob("*"))
        if path.is_file()
    }
