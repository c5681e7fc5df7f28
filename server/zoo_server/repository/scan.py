"""Scans a model repository: one pass over the folder, no file opened.

    REPOSITORY/NAME/[config.pbtxt] VERSION/…   Triton's layout
    REPOSITORY/NAME.onnx                       a bare file is version 1 of NAME
    FILE.onnx                                  a repository of one model

Hidden entries are invisible, so a version that is being written is never seen half done. Of every
file there is a stamp, so that two scans tell what changed between them (server/zoo_server/repository/diff.py).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from zoo_server.errors import ConfigurationError
from zoo_server.repository import layout
from zoo_server.repository.confinement import Confinement

BARE_SUFFIX = ".onnx"
BARE_VERSION = 1

#: Files and folders of one model that are looked at; a change of what lies beyond is not noticed.
MAX_ENTRIES = 10_000
MAX_DEPTH = 32

#: Of each file: its path inside the model, size, modification time in ns, inode. Another stamp means
#: another content; a file that is replaced whole has another inode even if the rest is the same.
Stamp = tuple[tuple[str, int, int, int], ...]


class FileSource(Protocol):
    """Brings files to this machine that lie elsewhere (server/zoo_server/repository/remote/)."""

    def fetch(self, version: int | None) -> object:
        """Return once a version's files are here, or those beside the versions, for as long as the
        returned object lives; ModelLoadError says why they cannot be had.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """One model on disk, not yet read; `fault` says why it cannot be served, if that shows already.

    Two that are equal are the same model with the same content.
    """

    name: str
    folder: Path
    #: What its files are read through.
    confinement: Confinement
    versions: tuple[int, ...] = ()
    #: Set for a bare file: the model of BARE_VERSION.
    file: Path | None = None
    config_file: Path | None = None
    fault: str | None = field(default=None)
    #: Whether its name was given, whatever its configuration says.
    renamed: bool = False
    #: A configuration in JSON that takes the place of config.pbtxt (docs/protocol.md 2.1).
    config_json: str | None = None
    #: Of everything in the folder but the versions, and of each version.
    stamp: Stamp = ()
    version_stamps: Mapping[int, Stamp] = field(default_factory=dict)
    #: Of versions that do not lie in `folder`.
    version_folders: Mapping[int, Path] = field(default_factory=dict)
    #: Another number is worth another try to load the same files.
    attempt: int = 0
    #: What brings them here; None for files of this machine.
    source: FileSource | None = field(default=None, compare=False)

    def fetch(self, version: int | None) -> object:
        """Have a version's files on this machine, or (None) those beside the versions.

        They stay for as long as the returned object lives. ModelLoadError if they cannot be had.
        """
        return None if self.source is None else self.source.fetch(version)

    def version_folder(self, version: int) -> Path:
        """Return where a version's files lie."""
        return self.version_folders.get(version) or self.folder / str(version)

    def graph_bytes(self, version: int) -> int:
        """Return the size of a version's graph and weights: its files but the test vectors."""
        return sum(
            size
            for name, size, _, _ in self.version_stamps.get(version, ())
            if f"/{layout.VECTORS_PREFIX}" not in name
        )


class ModelRepository:
    """A repository on disk; every method looks at it anew."""

    def __init__(self, path: Path, *, follow_links: bool = False) -> None:
        self.path = path
        real = Path(os.path.realpath(path))
        self.confinement = Confinement(real if real.is_dir() else real.parent, follow_links)

    def scan(self) -> list[ModelFiles]:
        """Return the models, by name; ConfigurationError if it is not a folder that can be read."""
        places = self._places()
        return [self._read(name, places[name]) for name in sorted(places)]

    def names(self) -> list[str]:
        """Return the models' names, sorted; ConfigurationError as `scan`."""
        return sorted(self._places())

    def find(self, name: str) -> ModelFiles | None:
        """Return one model, None if there is none of that name; ConfigurationError as `scan`."""
        if self._is_file():
            places = self._places()
        else:
            self.check_folder()
            entries = (self.path / name, self.path / f"{name}{BARE_SUFFIX}")
            places = _places(entry for entry in entries if os.path.lexists(entry))
        return self._read(name, places[name]) if name in places else None

    def _is_file(self) -> bool:
        return self.path.suffix == BARE_SUFFIX and self.path.is_file()

    def check_folder(self) -> None:
        """ConfigurationError if the repository is no folder."""
        if not self.path.is_dir():
            what = "is not a folder" if self.path.exists() else "does not exist"
            raise ConfigurationError(f"the model repository '{self.path}' {what}")

    def _places(self) -> dict[str, list[Path]]:
        """Return the entries that claim each name."""
        if self._is_file():
            return {self.path.stem: [self.path]}
        self.check_folder()
        try:
            with os.scandir(self.path) as entries:
                return _places(self.path / entry.name for entry in entries)
        except OSError as error:
            raise ConfigurationError(
                f"the model repository '{self.path}' cannot be read: {error.strerror}"
            ) from None

    def _read(self, name: str, places: list[Path]) -> ModelFiles:
        if len(places) > 1:
            return ModelFiles(
                name=name,
                folder=self.path,
                confinement=self.confinement,
                fault=f"both a folder '{name}' and a file '{name}{BARE_SUFFIX}' exist; keep one",
            )
        (place,) = places
        if place.is_dir():
            return read_folder(place, self.confinement)
        return read_bare(place, self.confinement)


def _places(entries: Iterator[Path]) -> dict[str, list[Path]]:
    places: dict[str, list[Path]] = {}
    for entry in entries:
        if layout.is_hidden(entry.name):
            continue
        if entry.is_dir():
            places.setdefault(entry.name, []).append(entry)
        elif entry.suffix == BARE_SUFFIX:
            places.setdefault(entry.stem, []).append(entry)
    return places


def read_folder(folder: Path, confinement: Confinement, name: str = "") -> ModelFiles:
    """Return the model that a folder holds, which is named as the folder unless `name` says."""
    name = name or folder.name
    try:
        layout.check_model_name(name)
        stamps = _Stamps(folder, confinement)
    except ValueError as error:
        return ModelFiles(name=name, folder=folder, confinement=confinement, fault=str(error))
    except OSError as error:
        fault = f"unreadable: {error.strerror}"
        return ModelFiles(name=name, folder=folder, confinement=confinement, fault=fault)
    versions = tuple(sorted(stamps.versions))
    missing = None
    if not versions:
        missing = f"no version folder: put the graph at {name}/{BARE_VERSION}/{layout.MODEL_FILE}"
    return ModelFiles(
        name=name,
        folder=folder,
        confinement=confinement,
        versions=versions,
        config_file=folder / layout.CONFIG_FILE if stamps.has_config else None,
        fault=missing,
        stamp=tuple(sorted(stamps.others)),
        version_stamps={version: tuple(sorted(stamps.versions[version])) for version in versions},
    )


class _Stamps:
    """The stamps of a model's files; what vanishes meanwhile is not there."""

    def __init__(self, folder: Path, confinement: Confinement) -> None:
        """ValueError if the folder is a link that leads out, OSError if it cannot be read."""
        self._confinement = confinement
        self._left = MAX_ENTRIES
        self.has_config = False
        self.versions: dict[int, list[tuple[str, int, int, int]]] = {}
        self.others: list[tuple[str, int, int, int]] = []
        if folder.is_symlink() and confinement.leads_out(folder):
            raise ValueError(
                "its folder is a link that leads out of the repository: move it, or start the "
                "server with --follow-links"
            )
        with os.scandir(folder) as entries:
            for entry in entries:
                self._take(entry)

    def _take(self, entry: "os.DirEntry[str]") -> None:
        number = layout.version_number(entry.name)
        if number is not None and entry.is_dir():
            if _is_unfinished(entry.path):
                return
            self._add(entry, entry.name, self.versions.setdefault(number, []))
        elif number is None and not layout.is_hidden(entry.name):
            self.has_config = self.has_config or entry.name == layout.CONFIG_FILE
            self._add(entry, entry.name, self.others)

    def _add(
        self,
        entry: "os.DirEntry[str]",
        name: str,
        rows: list[tuple[str, int, int, int]],
        depth: int = 0,
    ) -> None:
        """Add a file, or all that lies below a folder; links to folders further down are not walked."""
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            return
        try:
            status = entry.stat()
            if not entry.is_dir():
                rows.append((name, status.st_size, status.st_mtime_ns, status.st_ino))
                return
            if entry.is_symlink() and (depth or self._confinement.leads_out(Path(entry.path))):
                return  # reading from one that leads out says why that is refused
            with os.scandir(entry.path) as below:
                for inner in below:
                    if not layout.is_hidden(inner.name):
                        self._add(inner, f"{name}/{inner.name}", rows, depth + 1)
        except OSError:
            return


def read_bare(file: Path, confinement: Confinement, name: str = "") -> ModelFiles:
    """Return the model of a graph's file, which is named as the file unless `name` says."""
    name, folder = name or file.stem, file.parent
    try:
        layout.check_model_name(name)
        stamp: Stamp = (_stamp(file),)
    except ValueError as error:
        return ModelFiles(name=name, folder=folder, confinement=confinement, fault=str(error))
    except OSError as error:
        fault = f"unreadable: {error.strerror}"
        return ModelFiles(name=name, folder=folder, confinement=confinement, fault=fault)
    with suppress(OSError):  # most have none
        stamp += (_stamp(file.with_name(file.name + layout.DATA_SUFFIX)),)
    return ModelFiles(
        name=name,
        folder=folder,
        confinement=confinement,
        versions=(BARE_VERSION,),
        file=file,
        version_stamps={BARE_VERSION: stamp},
    )


def _stamp(file: Path) -> tuple[str, int, int, int]:
    status = file.stat()
    return file.name, status.st_size, status.st_mtime_ns, status.st_ino


def _is_unfinished(version: str) -> bool:
    """Tell whether a version is still on its way into the store that is mounted here."""
    return os.path.lexists(f"{version}/{layout.UPLOAD_MARKER}") and not os.path.lexists(
        f"{version}/{layout.COMPLETE_MARKER}"
    )
