"""What lies in a repository: one pass over the folder, no file opened.

    REPOSITORY/NAME/[config.pbtxt] VERSION/…   Triton's layout
    REPOSITORY/NAME.onnx                       a bare file is version 1 of NAME
    FILE.onnx                                  a repository of one model

Hidden entries are invisible, so a version that is being written is never seen half done.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from server.errors import ConfigurationError
from server.repository import layout

BARE_SUFFIX = ".onnx"
BARE_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """One model on disk, not yet read; `fault` says why it cannot be served, if that shows already."""

    name: str
    folder: Path
    versions: tuple[int, ...] = ()
    #: Set for a bare file: the model of BARE_VERSION.
    file: Path | None = None
    config_file: Path | None = None
    fault: str | None = field(default=None)


def scan(repository: Path) -> list[FoundModel]:
    """Return the models of a repository, by name; ConfigurationError if it is not a folder."""
    if repository.is_file() and repository.suffix == BARE_SUFFIX:
        return [_bare(repository)]
    if not repository.is_dir():
        what = "is not a folder" if repository.exists() else "does not exist"
        raise ConfigurationError(f"the model repository '{repository}' {what}")
    try:
        entries = sorted(repository.iterdir())
    except OSError as error:
        raise ConfigurationError(
            f"the model repository '{repository}' cannot be read: {error.strerror}"
        ) from None
    found: dict[str, FoundModel] = {}
    for model in _models(entries):
        if model.name in found:
            model = FoundModel(
                name=model.name,
                folder=repository,
                fault=f"both a folder '{model.name}' and a file '{model.name}{BARE_SUFFIX}' exist; "
                "keep one",
            )
        found[model.name] = model
    return [found[name] for name in sorted(found)]


def _models(entries: list[Path]) -> Iterator[FoundModel]:
    for entry in entries:
        if layout.is_hidden(entry.name):
            continue
        if entry.is_dir():
            yield _folder(entry)
        elif entry.suffix == BARE_SUFFIX:
            yield _bare(entry)


def _folder(folder: Path) -> FoundModel:
    try:
        layout.check_model_name(folder.name)
        versions = tuple(layout.version_numbers(folder))
    except ValueError as error:
        return FoundModel(name=folder.name, folder=folder, fault=str(error))
    except OSError as error:
        return FoundModel(name=folder.name, folder=folder, fault=f"unreadable: {error.strerror}")
    config = folder / layout.CONFIG_FILE
    fault = None
    if not versions:
        fault = (
            f"no version folder: put the graph at {folder.name}/{BARE_VERSION}/{layout.MODEL_FILE}"
        )
    return FoundModel(
        name=folder.name,
        folder=folder,
        versions=versions,
        config_file=config if config.exists() else None,
        fault=fault,
    )


def _bare(file: Path) -> FoundModel:
    try:
        layout.check_model_name(file.stem)
    except ValueError as error:
        return FoundModel(name=file.stem, folder=file.parent, fault=str(error))
    return FoundModel(name=file.stem, folder=file.parent, versions=(BARE_VERSION,), file=file)
