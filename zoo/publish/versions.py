"""Reads the published versions of a repository: their names, manifests and checksums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckFailed, UsageError
from zoo.files import read_json, sha256
from zoo_server.repository import layout

if TYPE_CHECKING:
    from zoo.recipes.registry import Registry

#: What the last export wrote: {"key", "version", "config_sha256"}, and as "variants" what it found of
#: further ONNX files, which a version that was there before does not say. Hidden from readers.
STATE_FILE = ".export.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A version folder and what its manifest.json says."""

    folder: Path
    values: dict[str, Any]

    @property
    def damage(self) -> str:
        """Say that this is no manifest, and the cure; empty for one that people can be shown."""
        kinds = {"summary": str, "parity": list, "graph": dict, "layers": list, "files": dict}
        if all(isinstance(self.values.get(key), kind) for key, kind in kinds.items()):
            return ""
        path, name = self.folder / layout.MANIFEST_FILE, self.folder.parent.name
        return f"{path} is damaged: export {name} again, which adds a whole version"

    @property
    def is_intact(self) -> bool:
        """Tell whether every file that the manifest lists still has its checksum."""
        files = self.values.get("files")
        if not isinstance(files, dict):
            return False
        return bool(files) and all(
            isinstance(facts, dict)
            and (self.folder / name).is_file()
            and sha256(self.folder / name) == facts.get("sha256")
            for name, facts in files.items()
        )


def read_manifest(repository: Path, name: str, version: int | None = None) -> Manifest | None:
    """Return the manifest of one version (the latest by default); None if there is none.

    One that cannot be read has no values.
    """
    model = repository / name
    numbers = layout.version_numbers(model) if model.is_dir() else []
    if version is None:
        version = numbers[-1] if numbers else 0
    if version not in numbers:
        return None
    path = model / str(version) / layout.MANIFEST_FILE
    if not path.exists():
        return None
    return Manifest(model / str(version), read_json(path))


def model_bytes(values: Mapping[str, Any]) -> int:
    """Return the size that a manifest says of the model's file, with its external data."""
    names = (layout.MODEL_FILE, layout.MODEL_FILE + layout.DATA_SUFFIX)
    return sum(int(values["files"][name]["bytes"]) for name in names if name in values["files"])


def model_names(repository: Path) -> list[str]:
    """Return the names of the models in a repository, in order; hidden entries are none."""
    if not repository.is_dir():
        return []
    return sorted(
        path.name
        for path in repository.iterdir()
        if path.is_dir() and not layout.is_hidden(path.name) and layout.version_numbers(path)
    )


def published_models(repository: Path) -> list[str]:
    """Return the names of the models that `zoo export` published here, in order."""
    return [name for name in model_names(repository) if read_manifest(repository, name)]


def intact_version(repository: Path, name: str, known: Registry) -> Manifest:
    """Return the latest published version, once its checksums hold.

    Raises UsageError for a model that is not published, CheckFailed for one that is not whole.
    """
    manifest = read_manifest(repository, name)
    if manifest is None:
        if name not in known.owners:
            raise known.unknown(name)
        raise UsageError(f"{name} is not published in {repository}: run `zoo export {name}`")
    if not manifest.is_intact:
        raise CheckFailed(f"a file of {manifest.folder} is missing or is not what was published")
    return manifest


def published_key(repository: Path, name: str) -> tuple[str, int] | None:
    """Return the export key and version last written, if that version is whole on disk."""
    model = repository / name
    state = read_json(model / STATE_FILE)
    manifest = read_manifest(repository, name, int(state.get("version", 0)))
    if manifest is None or not (model / layout.CONFIG_FILE).is_file():
        return None
    return (str(state["key"]), int(state["version"])) if manifest.is_intact else None


def last_variants(repository: Path, name: str) -> list[dict[str, Any]]:
    """Return what the last export found of further ONNX files, as it gave it to `publish`."""
    variants = read_json(repository / name / STATE_FILE).get("variants")
    return variants if isinstance(variants, list) else []
