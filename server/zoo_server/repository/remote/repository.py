"""A repository in an object store, as the rest of the server reads one from disk.

    scan, names, find     one listing each, no object is read
    ModelFiles.fetch      brings what is about to be loaded to the cache

The stamps of its files are made of sizes and etags, so what did not change there is not read again.
"""

import hashlib
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from zoo_server.errors import ConfigurationError, ModelLoadError, RepositoryUnreachable
from zoo_server.repository import layout
from zoo_server.repository.confinement import Confinement
from zoo_server.repository.remote.address import RemoteAddress
from zoo_server.repository.remote.cache import Cache
from zoo_server.repository.remote.download import download
from zoo_server.repository.remote.listing import (
    RemoteModel,
    RemotePart,
    read_all,
    read_bare,
    read_model,
)
from zoo_server.repository.remote.store import Store
from zoo_server.repository.scan import BARE_SUFFIX, ModelFiles, Stamp


class RemoteRepository:
    """The models below an address, read-only; may be asked from any thread."""

    def __init__(self, address: RemoteAddress, cache: Path, most_bytes: int) -> None:
        """ConfigurationError if the scheme's driver is not installed, or the cache cannot be made."""
        self.path = address.shown
        self._store = Store(address)
        self._was_seen = False
        self._lock = threading.Lock()
        #: By name: how often reading a model was given up that may succeed with another try.
        self._attempts: dict[str, int] = {}
        try:
            self.cache = Cache(cache, most_bytes)
        except OSError as error:
            raise ConfigurationError(
                f"--repository-cache {cache} cannot be made: {error.strerror}"
            ) from None
        self._confinement = Confinement(self.cache.root)

    def scan(self) -> list[ModelFiles]:
        """Return every model, by name; RepositoryUnreachable, or ConfigurationError for an empty place."""
        try:
            files = self._store.files()
        except FileNotFoundError:
            raise self._missing() from None
        self._look(bool(files))
        return [self._files(model) for model in read_all(files)]

    def names(self) -> list[str]:
        """Return the names at the root, sorted; what is still being written is among them."""
        try:
            names = self._store.names()
        except FileNotFoundError:
            names = []
        self._look(bool(names))
        shown = [name for name in names if not layout.is_hidden(name)]
        folders = {name.rstrip("/") for name in shown if name.endswith("/")}
        bare = {name.removesuffix(BARE_SUFFIX) for name in shown if name.endswith(BARE_SUFFIX)}
        return sorted(folders | bare)

    def find(self, name: str) -> ModelFiles | None:
        """Return one model, None if there is none of that name; no other is listed."""
        try:
            model = read_model(name, self._store.files(name))
        except FileNotFoundError:
            raise self._missing() from None
        if model is None:
            file = self._store.file(f"{name}{BARE_SUFFIX}")
            model = None if file is None else read_bare(file)
        return self._files(model) if model is not None and (model.parts or model.fault) else None

    def bring(self, name: str, part: RemotePart) -> object:
        """Have a part of a model in the cache for as long as the returned object lives.

        ModelLoadError says why it cannot be had.
        """
        try:
            fill = partial(download, self._store, part, part.served)
            return self.cache.obtain(part.key(self.path), fill)
        except (RepositoryUnreachable, OSError) as error:
            with self._lock:
                self._attempts[name] = self._attempts.get(name, 0) + 1
            if isinstance(error, OSError):
                why = f"the cache {self.cache.root}: {error.strerror or error}"
                raise ModelLoadError(why) from error
            raise ModelLoadError(str(error)) from error

    def _look(self, has_models: bool) -> None:
        """At the first look an empty place is taken for a wrong address; later it is empty."""
        if not has_models and not self._was_seen:
            raise self._missing()
        self._was_seen = True

    def _missing(self) -> ConfigurationError:
        return ConfigurationError(f"the model repository '{self.path}' does not exist, or is empty")

    def _files(self, model: RemoteModel) -> ModelFiles:
        places = {
            number: self.cache.place(part.key(self.path)) for number, part in model.parts.items()
        }
        beside = model.parts.get(None)
        folder = places.get(None, self.cache.root)
        bare = next(iter(places.items())) if model.is_bare and places else None
        has_config = (
            any(file.path == layout.CONFIG_FILE for file in beside.files) if beside else False
        )
        missing = None
        if not model.versions:
            missing = f"no version folder: put the graph at {model.name}/1/{layout.MODEL_FILE}"
        with self._lock:
            attempt = self._attempts.get(model.name, 0)
        return ModelFiles(
            name=model.name,
            folder=folder,
            confinement=self._confinement,
            versions=model.versions,
            file=bare[1] / model.parts[bare[0]].files[0].path if bare else None,
            config_file=folder / layout.CONFIG_FILE if has_config else None,
            fault=model.fault or missing,
            stamp=_stamp(beside) if beside else (),
            version_stamps={number: _stamp(model.parts[number]) for number in model.versions},
            version_folders={number: places[number] for number in model.versions},
            attempt=attempt,
            source=_Source(self, model.name, model.parts),
        )


class _Source:
    """Brings the parts of one model, as they were listed."""

    def __init__(
        self, repository: RemoteRepository, name: str, parts: Mapping[int | None, RemotePart]
    ) -> None:
        self._repository = repository
        self._name = name
        self._parts = parts

    def fetch(self, version: int | None) -> object:
        """Have a version, or what lies beside them, on this machine; ModelLoadError as from `bring`."""
        part = self._parts.get(version)
        return None if part is None or not part.files else self._repository.bring(self._name, part)


def _stamp(part: RemotePart) -> Stamp:
    """Return the stamp of files: where those on disk have time and inode, a number made of the etag."""
    prefix = part.folder.partition("/")[2]
    return tuple(
        (f"{prefix}/{file.path}" if prefix else file.path, file.size, _number(file.tag), 0)
        for file in (*part.files, *([part.marker] if part.marker is not None else []))
    )


def _number(tag: str) -> int:
    return int.from_bytes(hashlib.sha256(tag.encode()).digest()[:8])
