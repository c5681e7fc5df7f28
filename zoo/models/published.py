"""Lists published models and what is known of each, from their manifests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import Any

from zoo.errors import CheckFailed
from zoo.models.find import existing_repository, model_file
from zoo.publish.versions import model_bytes, model_names, read_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What a published version says of itself; `manifest` has everything.

    Empty where a model was not trained by a recipe. `metric` and the `baselines` have name and
    value, the metric its units too.
    """

    name: str
    version: int
    folder: Path
    summary: str
    tutorial: str
    task: str
    classes: tuple[str, ...]
    features: tuple[str, ...]
    units: str
    data: str
    weights: int
    metric: Mapping[str, Any]
    baselines: tuple[Mapping[str, Any], ...]
    bytes: int
    manifest: Mapping[str, Any]


def list_models(
    pattern: str = "*",
    *,
    task: str | None = None,
    repository: str | PathLike[str] | None = None,
) -> list[str]:
    """Return the names of the published models that match, as `load` takes them.

    `pattern` is a shell's ("cnn*"); `task` is "multiclass", "binary", "regression" or "forecast".
    """
    where = existing_repository(repository)
    names = [name for name in model_names(where) if fnmatchcase(name, pattern)]
    return [name for name in names if task is None or _task(where, name) == task]


def info(model: str | PathLike[str], *, repository: str | PathLike[str] | None = None) -> Info:
    """Return what is known of a published model; raises UsageError, CheckFailed if it is damaged."""
    folder = model_file(model, repository=repository).parent
    manifest = read_manifest(folder.parent.parent, folder.parent.name, int(folder.name))
    if manifest is None:
        raise CheckFailed(f"{folder} has no manifest: it was not published by `zoo export`")
    if manifest.damage:
        raise CheckFailed(manifest.damage)
    values = manifest.values
    training, data = values.get("training", {}), values.get("data", {})
    return Info(
        name=folder.parent.name,
        version=int(folder.name),
        folder=folder,
        summary=values["summary"],
        tutorial=values.get("tutorial", ""),
        task=values.get("task", ""),
        classes=tuple(data.get("classes", ())),
        features=tuple(data.get("features", ())),
        units=data.get("units", ""),
        data=data.get("title", ""),
        weights=training.get("parameters", 0),
        metric=training.get("metric", {}),
        baselines=tuple(training[key] for key in ("baseline", "linear") if key in training),
        bytes=model_bytes(values),
        manifest=values,
    )


def _task(repository: Path, name: str) -> str | None:
    manifest = read_manifest(repository, name)
    return manifest.values.get("task") if manifest is not None else None
