"""Reads the published versions of a repository: their names, manifests and checksums."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckFailed, UsageError, did_you_mean
from zoo.files import read_json, sha256
from zoo_server.repository import layout

if TYPE_CHECKING:
    from zoo.recipes.registry import Registry

#: Where `zoo export` publishes unless it is told otherwise.
REPOSITORY = Path("models")

#: The import package of the data wheel `layer-zoo-models`; its models are read, and none are added.
DATA_PACKAGE = "layer_zoo_models"

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
        return f"{self.folder / layout.MANIFEST_FILE} is damaged: {self._cure}"

    def require_intact(self) -> None:
        """Raise CheckFailed, with the cure, unless the version is whole."""
        if not self.is_intact:
            raise CheckFailed(
                f"a file of {self.folder} is missing or is not what was published: {self._cure}"
            )

    @property
    def _cure(self) -> str:
        rebuild, name = self.values.get("rebuild"), self.folder.parent.name
        source = rebuild.get("source") if isinstance(rebuild, dict) else None
        again = f"{source['file']} again under --name {name}" if source else f"{name} again"
        return f"export {again}, which adds a whole version"

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


def export_command(
    repository: Path | str = REPOSITORY, name: str = "", modules: Iterable[Path] = ()
) -> str:
    """Return the command that publishes one model, or all, in a repository, as a hint shows it."""
    words = ["zoo", "export", *filter(None, [name])]
    for path in modules:
        words += ["--module", str(path)]
    if Path(repository) != REPOSITORY and Path(repository).parent.name != DATA_PACKAGE:
        words += ["--repository", str(repository)]
    return f"`{shlex.join(words)}`"


def unknown_model(
    repository: Path, name: str, known: Registry | None = None, or_else: str = ""
) -> UsageError:
    """Return the error that says that a repository has no such model, and what to do.

    `or_else` is said behind the command that exports it.
    """
    from zoo.recipes.registry import Registry, version_hint

    recipes = (known or Registry.default()).owners
    names = model_names(repository)
    if hint := version_hint(name, {*names, *recipes}):
        pass
    elif name in recipes:
        hint = f"run {export_command(repository, name)}{or_else}"
    elif names:
        hint = did_you_mean(name, {*names, *recipes}) or f"it has {', '.join(names)}"
    else:
        hint = did_you_mean(name, recipes) or "`zoo list` names what can be exported"
    has = f"{repository} has no model {name!r}"
    return UsageError(
        f"{has if names else f'no model {name!r}, and {repository} holds none'}: {hint}"
    )


def intact_version(repository: Path, name: str, known: Registry) -> Manifest:
    """Return the latest published version, once its checksums hold.

    Raises UsageError for a model that `zoo export` did not publish, CheckFailed for one that is not whole.
    """
    manifest = read_manifest(repository, name)
    if manifest is None:
        if name in model_names(repository):
            raise UsageError(
                f"{repository / name} has no manifest: `zoo export` did not publish it; `zoo verify FILE.onnx` takes "
                "one with test_data_set_N folders beside it"
            )
        raise unknown_model(repository, name, known)
    manifest.require_intact()
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
