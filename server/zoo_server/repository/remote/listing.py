"""Tells models and whole versions from a listing of objects. Pure.

A store has no rename: the objects of a version appear one after the other. Who publishes (`zoo push`,
`zoo export --repository URL`) therefore writes

    NAME/VERSION/.upload      first, and only if it is not there: the version is this writer's
    NAME/VERSION/…            the files
    NAME/VERSION/.complete    last: each file's size and checksum

and readers go by the names alone:

    .complete                 the version is whole
    .upload alone             it is being written, or its writer has died: it does not exist
    neither                   it was written by another tool, in Triton's layout: it exists. It is read only
                              if its listing is the same before and after (download.py), and in poll mode
                              once two looks agree (diff.py)

Hidden names are invisible otherwise, as on disk; an object such as VERSION/.keep makes an empty version.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zoo_server.repository import layout
from zoo_server.repository.remote.store import StoredFile
from zoo_server.repository.scan import BARE_SUFFIX, BARE_VERSION, MAX_ENTRIES

#: The Keras model that a graph was exported from, often as large: for who trains on, not for a server.
_KERAS_SUFFIX = ".keras"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePart:
    """Files that are read together: a version's, or those beside the versions.

    Their paths are below the part's own folder, `folder` is below the repository's root.
    """

    folder: str
    files: tuple[StoredFile, ...]
    #: The marker of a version that says which files it has.
    marker: StoredFile | None = None

    @property
    def served(self) -> tuple[StoredFile, ...]:
        """What a server reads."""
        return tuple(file for file in self.files if not file.path.endswith(_KERAS_SUFFIX))

    def key(self, repository: str) -> str:
        """Return what it is cached by: of another content, or another repository, it is another."""
        text = repr((repository, self.folder, self.files, self.marker))
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{digest}-{sum(file.size for file in self.served)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """One model of a listing; `fault` says why it cannot be served, if that shows already."""

    name: str
    #: By version; None has what lies beside them, unless it is a bare file.
    parts: Mapping[int | None, RemotePart] = field(default_factory=dict)
    is_bare: bool = False
    fault: str | None = None
    #: The versions that are being written, or were given up.
    unfinished: tuple[int, ...] = ()

    @property
    def versions(self) -> tuple[int, ...]:
        """The whole versions, ascending."""
        return tuple(sorted(number for number in self.parts if number is not None))


def split(files: Sequence[StoredFile]) -> dict[str, list[StoredFile]]:
    """Return a repository's objects by their first component, hidden ones left out."""
    models: dict[str, list[StoredFile]] = {}
    for file in files:
        first, _, _ = file.path.partition("/")
        if first and not layout.is_hidden(first):
            models.setdefault(first, []).append(file)
    return models


def read_model(name: str, files: Sequence[StoredFile]) -> RemoteModel | None:
    """Return the model that objects NAME/… are; None if there is none yet, or never was."""
    fault = _fault(name, files)
    if fault is not None:
        return RemoteModel(name=name, fault=fault)
    versions: dict[int, list[StoredFile]] = {}
    beside: list[StoredFile] = []
    for file in files:
        first, _, inner = file.path.partition("/")[2].partition("/")
        number = layout.version_number(first) if "/" in file.path.partition("/")[2] else None
        if number is None:
            path = file.path.partition("/")[2]
            if _is_shown(path):
                beside.append(StoredFile(path, file.size, file.tag))
        else:
            versions.setdefault(number, []).append(StoredFile(inner, file.size, file.tag))
    parts: dict[int | None, RemotePart] = {}
    for number, inside in versions.items():
        part = _version(f"{name}/{number}", inside)
        if part is not None:
            parts[number] = part
    unfinished = tuple(sorted(set(versions) - set(parts)))
    if not parts and (unfinished or not beside):
        return RemoteModel(name=name, unfinished=unfinished) if unfinished else None
    parts[None] = RemotePart(folder=name, files=tuple(beside))
    return RemoteModel(name=name, parts=parts, unfinished=unfinished)


def read_bare(file: StoredFile) -> RemoteModel:
    """Return the model of an object NAME.onnx at the repository's root."""
    part = RemotePart(folder="", files=(file,))
    name = file.path.removesuffix(BARE_SUFFIX)
    return RemoteModel(name=name, parts={BARE_VERSION: part}, is_bare=True, fault=_named(name))


def read_all(files: Sequence[StoredFile]) -> list[RemoteModel]:
    """Return every model of a repository, by name."""
    models: dict[str, RemoteModel] = {}
    for first, inside in sorted(split(files).items()):
        if inside[0].path == first:
            if not first.endswith(BARE_SUFFIX):
                continue
            model: RemoteModel | None = read_bare(inside[0])
        else:
            model = read_model(first, inside)
        if model is not None and (model.parts or model.fault):
            twice = f"both a folder '{model.name}' and a file '{model.name}{BARE_SUFFIX}' exist; keep one"
            other = model.name in models
            models[model.name] = RemoteModel(name=model.name, fault=twice) if other else model
    return [models[name] for name in sorted(models)]


def _version(folder: str, inside: Sequence[StoredFile]) -> RemotePart | None:
    marker = next((file for file in inside if file.path == layout.COMPLETE_MARKER), None)
    if marker is None and any(file.path == layout.UPLOAD_MARKER for file in inside):
        return None
    shown = tuple(file for file in inside if _is_shown(file.path))
    return RemotePart(folder=folder, files=shown, marker=marker)


def _is_shown(path: str) -> bool:
    """Tell whether a path is a file's, and no component is hidden; one that ends in / is a folder's."""
    return bool(path) and not path.endswith("/") and not any(map(layout.is_hidden, path.split("/")))


def _fault(name: str, files: Sequence[StoredFile]) -> str | None:
    if len(files) > MAX_ENTRIES:
        return f"it has more than {MAX_ENTRIES} objects"
    for file in files:
        for component in file.path.removesuffix("/").split("/"):
            if component in ("", ".", ".."):
                return f"the object {file.path[:300]!r} has a name that leads out of the model's folder"
            if "\0" in component or len(component.encode("utf-8", "surrogatepass")) > 255:
                return f"the object {file.path[:300]!r} has a name that no file can have"
    return _named(name)


def _named(name: str) -> str | None:
    try:
        layout.check_model_name(name)
    except ValueError as error:
        return str(error)
    return None
