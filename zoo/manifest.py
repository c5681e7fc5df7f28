"""manifest.json: what a version folder says of itself, and the files that are drawn from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.repository import layout
from zoo.architecture import Layer
from zoo.card import card
from zoo.forms import Form
from zoo.picture import draw
from zoo.publish import sha256
from zoo.recipe import Recipe
from zoo.record import Record

if TYPE_CHECKING:
    from zoo.check import Checked


def manifest(
    recipe: Recipe,
    record: Record,
    forms: Sequence[Form],
    checked: Mapping[str, Checked],
    packages: Sequence[str],
) -> dict[str, Any]:
    """Return what a version says of itself; the files' checksums are added last.

    `forms`: the model itself first; `checked` has an entry for each that was held against Keras.
    """
    first, *others = forms
    found = checked[first.file]
    return {
        "format": 2,
        "name": recipe.name,
        "summary": recipe.summary,
        "tutorial": recipe.tutorial,
        "recipe": recipe.source,
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
        "graph": dict(first.graph),
        "tolerance": first.tolerance.to_json(),
        "runtimes": dict(found.versions),
        "parity": found.report.to_json(),
        "forms": [_form(form, checked.get(form.file)) for form in others],
        "versions": {name: metadata.version(name) for name in packages} | dict(record.versions),
    }


def _form(form: Form, checked: Checked | None) -> dict[str, Any]:
    """Return what is recorded of a further file, or of why there is none."""
    title = {"file": form.file, "title": form.title}
    if form.content is None:
        return title | {"reason": form.reason}
    return title | {
        "bytes": len(form.content),
        "sha256": hashlib.sha256(form.content).hexdigest(),
        "graph": dict(form.graph),
        "exact": form.exact,
        "tolerance": form.tolerance.to_json(),
        "parity": checked.report.to_json() if checked else [],
        **form.measured,
    }


def parameters(recipe: Recipe) -> dict[str, str]:
    """Return what a client needs to know to ask the model and to read its answer."""
    values = {
        "task": recipe.task,
        "description": recipe.summary,
        "classes": ",".join(recipe.classes),
        "units": recipe.units,
        "features": ",".join(recipe.dataset.features),
    }
    if recipe.image is not None:
        image = recipe.image
        values |= {"image_mode": image.mode, "image_range": f"{image.low:g} {image.high:g}"}
    return {key: value for key, value in values.items() if value}


def write_documents(staged: Path, name: str, values: dict[str, Any]) -> None:
    """Write picture and card, then the manifest with the checksum of every other file."""
    layers = [Layer.from_json(layer) for layer in values["layers"]]
    (staged / "model.svg").write_text(draw(name, layers))
    values["files"] = _files(staged)
    (staged / "README.md").write_text(card(values))
    values["files"] = _files(staged)
    (staged / layout.MANIFEST_FILE).write_text(json.dumps(values, indent=2) + "\n")


def _files(staged: Path) -> dict[str, dict[str, Any]]:
    """Return checksum and size of each file so far."""
    return {
        path.relative_to(staged).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size}
        for path in sorted(staged.rglob("*"))
        if path.is_file()
    }
