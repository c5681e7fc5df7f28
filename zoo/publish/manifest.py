"""manifest.json: the description of a version, and the checksums of its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from zoo.files import json_bytes, sha256
from zoo.parity.prove import Proof
from zoo.parity.variants import Variant
from zoo.publish.properties import parameters
from zoo.recipes.architecture import Layer
from zoo.recipes.recipe import Recipe
from zoo.recipes.trial_settings import settings_text
from zoo.training.record import TrainingRecord
from zoo_server.repository import layout
from zoo_server.version import VERSION

#: Raised when the meaning of what is there changes.
FORMAT = 3

#: What the files' bytes depend on, beside what trained the weights.
PACKAGES = ("keras", "numpy", "onnx", "pillow", "pygraphviz", "tf2onnx")


def versions() -> dict[str, str]:
    """Return the version of each of PACKAGES that is installed; without one, what needs it fails."""
    versions_by_package = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions_by_package[package] = metadata.version(package)
    return versions_by_package


def recipe_manifest(
    recipe: Recipe,
    record: TrainingRecord,
    variants: Sequence[Variant],
    proofs: Mapping[str, Proof],
    held_out: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return what a version says of itself; the files' checksums are added last.

    `variants`: the model itself first. By file, `proofs` has how each was held against Keras, and
    `held_out` the recipe's metric on every held-out row. No timing and no date goes in: the same
    recipe, data and libraries give the same bytes.
    """
    values = _files(variants, proofs, held_out)
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
            "linear": dict(record.linear),
            "claim": dict(record.claim),
            "parameters": record.trainable,
            "total_parameters": record.total,
            "weights_sha256": record.weights_sha256,
            "settings": dict(record.settings),
            "search": record.search,
            "seeds": record.seeds,
            "workers": record.workers,
        },
        "layers": record.layers,
        **values,
        "held_out": dict(held_out[variants[0].file]),
        "versions": values["versions"] | dict(record.versions),
    }


def file_manifest(
    name: str,
    source: Path,
    layers: Sequence[Layer],
    variants: Sequence[Variant],
    proofs: Mapping[str, Proof],
) -> dict[str, Any]:
    """Return what a version says of itself that was exported from a Keras file of the user's.

    `layers` is empty for a model whose layers have no single shape each.
    """
    return {
        "format": FORMAT,
        "name": name,
        "summary": f"exported from {source.name}",
        "rebuild": {
            "command": f"zoo export {source.name} --name {name}",
            "source": {"file": source.name, "sha256": sha256(source)},
        },
        "layers": [layer.to_json() for layer in layers],
        **_files(variants, proofs, {}),
    }


def _files(
    variants: Sequence[Variant],
    proofs: Mapping[str, Proof],
    held_out: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the files' facts, and how each was held against Keras."""
    first, *others = variants
    return {
        "graph": dict(first.graph),
        "tolerance": first.tolerance.to_json(),
        "runtimes": {k: v for proof in proofs.values() for k, v in proof.versions.items()},
        **_proof(proofs[first.file]),
        "variants": [
            variant_entry(variant, proofs.get(variant.file), held_out.get(variant.file))
            for variant in others
        ],
        "versions": versions() | {"layer-zoo": VERSION},
    }


def _proof(proof: Proof) -> dict[str, Any]:
    judged = {"parity": proof.report.to_json(), "left_out": dict(proof.left_out)}
    return judged | ({"conditioning": dict(proof.conditioning)} if proof.conditioning else {})


def _rebuild(recipe: Recipe, record: TrainingRecord) -> dict[str, Any]:
    """Return what the files follow from, beside `versions`, `options` and the data's checksums.

    Hashes of content, so that it means the same without the repository that the code came from.
    """
    return {
        "command": _command(recipe, record),
        "recipe": {"file": recipe.source, "sha256": sha256(recipe.file)},
        "data_code_sha256": sha256(recipe.dataset.code),
        "data_sha256": dict(record.dataset["files"]),
        "seed": recipe.seed,
        "training_key": record.key,
        "weights_sha256": record.weights_sha256,
    }


def _command(recipe: Recipe, record: TrainingRecord) -> str:
    """Return what was typed, where it was more than an export that trains first."""
    options = [f"--set {setting}" for setting in settings_text(record.settings).split()]
    options += [f"--workers {record.workers}"] if record.workers > 1 else []
    options += [f"--seeds {len(record.seeds['values'])}"] if record.seeds else []
    train = " ".join(["zoo train", recipe.trained_as.name, *options, "&& "]) if options else ""
    return f"{train}zoo export {recipe.name}"


def variant_entry(
    variant: Variant,
    proof: Proof | None = None,
    held_out: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what is recorded of a further file, or of why there is none."""
    title = {"file": variant.file, "title": variant.title}
    if variant.written is None:
        return title | {"reason": variant.reason, **variant.measured}
    judged = _proof(proof) if proof else {}
    if held_out:
        judged["held_out"] = dict(held_out)
    return title | {
        "bytes": variant.written.bytes,
        "sha256": variant.written.sha256,
        **({"data": variant.written.data} if variant.written.data else {}),
        "graph": dict(variant.graph),
        "exact": variant.exact,
        "tolerance": variant.tolerance.to_json(),
        **judged,
        **variant.measured,
    }


def write_manifest(staged: Path, values: dict[str, Any]) -> None:
    """Write the manifest, with the checksum of every file that is there."""
    values["files"] = file_facts(staged)
    (staged / layout.MANIFEST_FILE).write_bytes(json_bytes(values))


def file_facts(staged: Path) -> dict[str, dict[str, Any]]:
    """Return checksum and size of each file so far."""
    return {
        path.relative_to(staged).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size}
        for path in sorted(staged.rglob("*"))
        if path.is_file()
    }
