"""Scans a model repository: one pass over the folder, no file opened.

    REPOSITORY/NAME/[config.pbtxt] VERSION/…   Triton's layout
    REPOSITORY/NAME.onnx                       a bare file is version 1 of NAME
    FILE.onnx                                  a repository of one model

Hidden entries are invisible, so a version that is being written is never seen half done. Of every
file there is a stamp, so that two scans tell what changed between them (server/zoo_server/repository/diff.py).
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zoo_server.errors import ConfigurationError
from zoo_server.repository import layout

BARE_SUFFIX = ".onnx"
BARE_VERSION = 1


#: Of each file: its path inside the model, size, modification time in ns, inode. Another stamp means
#: another content; a file that is replaced whole has another inode even if the rest is the same.
Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """One model on disk, not yet read; `fault` says why it cannot be served, if that shows already.

    Two that are equal are the same model with the same content.
    """

    name: str
    folder: Path
    versions: tuple[int, ...] = ()
    #: Set for a bare file: the model of BARE_VERSION.
    file: Path | None = None
    config_file: Path | None = None
    fault: str | None = field(default=None)
    #: A configuration in JSON that takes the place of config.pbtxt (docs/protocol.md 2.1).
    config_json: str | None = None
    #: Of everything in the folder but the versions, and of each version.
    stamp: Stamp = ()
    version_stamps: Mapping[int, Stamp] = field(default_factory=dict)


def scan(repository: Path) -> list[ModelFiles]:
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
    models: dict[str, ModelFiles] = {}
    for model in _models(entries):
        if model.name in models:
            model = ModelFiles(
                name=model.name,
                folder=repository,
                fault=f"both a folder '{model.name}' and a file '{model.name}{BARE_SUFFIX}' exist; "
                "keep one",
            )
        models[model.name] = model
    return [models[name] for name in sorted(models)]


def _models(entries: list[Path]) -> Iterator[ModelFiles]:
    for entry in entries:
        if layout.is_hidden(entry.name):
            continue
        if entry.is_dir():
            yield read_folder(entry)
        elif entry.suffix == BARE_SUFFIX:
            yield _bare(entry)


def read_folder(folder: Path) -> ModelFiles:
    """Return the model that a folder of its name holds."""
    try:
        layout.check_model_name(folder.name)
        versions = tuple(layout.version_numbers(folder))
    except ValueError as error:
        return ModelFiles(name=folder.name, folder=folder, fault=str(error))
    except OSError as error:
        return ModelFiles(name=folder.name, folder=folder, fault=f"unreadable: {error.strerror}")
    config = folder / layout.CONFIG_FILE
    fault = None
    if not versions:
        fault = (
            f"no version folder: put the graph at {folder.name}/{BARE_VERSION}/{layout.MODEL_FILE}"
        )
    return ModelFiles(
        name=folder.name,
        folder=folder,
        versions=versions,
        config_file=config if config.exists() else None,
        fault=fault,
        stamp=_stamp(folder, _other_entries(folder)),
        version_stamps={version: _stamp(folder, [folder / str(version)]) for version in versions},
    )


def _other_entries(folder: Path) -> list[Path]:
    return [
        entry
        for entry in folder.iterdir()
        if layout.version_number(entry.name) is None and not layout.is_hidden(entry.name)
    ]


def _stamp(folder: Path, entries: Iterable[Path]) -> Stamp:
    """Return the stamps of files, and of what lies below folders; what vanishes meanwhile is not there."""
    rows = []
    for path in (file for entry in entries for file in _files(entry)):
        try:
            status = path.stat()
        except OSError:
            continue
        name = path.relative_to(folder).as_posix()
        rows.append((name, status.st_size, status.st_mtime_ns, status.st_ino))
    return tuple(sorted(rows))


def _files(entry: Path) -> Iterator[Path]:
    if not entry.is_dir():
        yield entry
        return
    for place, _, names in os.walk(entry):
        yield from (Path(place, name) for name in names if not layout.is_hidden(name))


def _bare(file: Path) -> ModelFiles:
    try:
        layout.check_model_name(file.stem)
    except ValueError as error:
        return ModelFiles(name=file.stem, folder=file.parent, fault=str(error))
    return ModelFiles(
        name=file.stem,
        folder=file.parent,
        versions=(BARE_VERSION,),
        file=file,
        version_stamps={BARE_VERSION: _stamp(file.parent, [file])},
    )
