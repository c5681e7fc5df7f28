"""Finds published models: the repository in this folder, else that of the package layer-zoo-models."""

from __future__ import annotations

from importlib.util import find_spec
from os import PathLike
from pathlib import Path

from zoo.errors import UsageError
from zoo.publish.versions import DATA_PACKAGE, REPOSITORY, export_command, unknown_model
from zoo_server.repository import layout


def default_repository() -> Path:
    """Return `models` if it is there, else the installed models, else `models` all the same."""
    if REPOSITORY.is_dir():
        return REPOSITORY
    spec = find_spec(DATA_PACKAGE)
    if spec is not None and spec.submodule_search_locations:
        installed = Path(spec.submodule_search_locations[0]) / "models"
        if installed.is_dir():
            return installed
    return REPOSITORY


def existing_repository(repository: str | PathLike[str] | None) -> Path:
    """Return the repository to read; raises UsageError for one that is named and is not there."""
    if repository is None:
        return default_repository()
    repository = Path(repository)
    if not repository.is_dir():
        if repository.exists():
            raise UsageError(f"{repository} is no folder: name a model repository")
        raise no_repository(repository)
    return repository


def no_repository(repository: Path) -> UsageError:
    """Return the error that says that there is no such repository, and what makes one."""
    return UsageError(
        f"there is no {repository}: name a model repository, or make one with {export_command(repository)}"
    )


def model_file(
    model: str | PathLike[str],
    version: int | None = None,
    repository: str | PathLike[str] | None = None,
) -> Path:
    """Return the ONNX file of a name, a folder or a path; raises UsageError if there is none."""
    path = Path(model)
    if path.suffix == ".onnx":
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file")
        return path
    # A name never has a separator; a folder of that name here is not meant by it.
    named = isinstance(model, str) and path.name == model
    folder = existing_repository(repository) / path if named else path
    if not folder.is_dir():
        if named:
            raise _unknown(folder.parent, str(model))
        if folder.exists():
            raise UsageError(f"{folder} is neither a model's folder nor a FILE.onnx")
        raise UsageError(f"{folder}: there is no such folder")
    return _file_of(folder, version)


def _file_of(folder: Path, version: int | None) -> Path:
    """Return the file of a version's folder, or of a model's folder and a version."""
    if version is None and (folder / layout.MODEL_FILE).is_file():
        return folder / layout.MODEL_FILE
    number = version if version is not None else _latest(folder)
    path = folder / str(number) / layout.MODEL_FILE
    if number is None or not path.is_file():
        numbers = ", ".join(map(str, layout.version_numbers(folder)))
        has = f"it has {numbers}" if numbers else "it has none"
        raise UsageError(f"{folder.name} has no version {number or ''}: {has}".replace(" :", ":"))
    return path


def _latest(folder: Path) -> int | None:
    numbers = layout.version_numbers(folder)
    return numbers[-1] if numbers else None


def _unknown(repository: Path, name: str) -> UsageError:
    """Return the error of a name; the data package is looked for where there is no folder `models`."""
    installable = repository == REPOSITORY and not repository.exists()
    package = DATA_PACKAGE.replace("_", "-")
    return unknown_model(
        repository, name, or_else=f", or pip install {package}" if installable else ""
    )
