"""Copies versions between a repository on this machine and one in an object store, whole or not at all.

    push    NAME/VERSION/.upload first, which makes the number this writer's; the files; what lies
            beside the version, config.pbtxt last; NAME/VERSION/.complete
    pull    a staged folder, checked, then renamed into place

Readers of the store pass over a version without .complete (server/zoo_server/repository/remote/listing.py), and
.upload stays, so no number is ever written twice. What a writer that dies leaves behind is invisible.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from zoo.errors import CheckFailed, StorageError, UsageError, did_you_mean
from zoo.files import json_bytes, json_object, read_json
from zoo.publish import repository as publish
from zoo.publish.versions import STATE_FILE, read_manifest, unknown_model
from zoo_server.errors import ConfigurationError, ModelLoadError, OperatorError
from zoo_server.repository import layout
from zoo_server.repository.remote.address import RemoteAddress
from zoo_server.repository.remote.download import checksums, download
from zoo_server.repository.remote.listing import (
    RemoteModel,
    read_model,
)
from zoo_server.repository.remote.store import Store

#: How often a number is looked for that no other writer takes at the same moment.
_TRIES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """The version that was copied; `created` is False if it was there already."""

    name: str
    version: int
    created: bool
    config_kept: bool = False


class RemoteTarget:
    """A repository in an object store, as push and pull see it.

    UsageError for an address that is none, StorageError for what the store refuses.
    """

    def __init__(self, url: str) -> None:
        with _as_ours():
            self._store = Store(RemoteAddress.parse(url))
        self.shown = self._store.address.shown

    def push(self, repository: Path, name: str, version: int | None = None) -> Transferred:
        """Publish a version of a repository on this machine, the latest by default.

        A version that is named keeps its number; UsageError if that holds another. The latest becomes
        the latest there: under its number, or under the next that is free. UsageError if the versions
        there would not satisfy its configuration; CheckFailed if it is not whole.
        """
        number = _present(repository, name, version)
        folder = repository / name / str(number)
        manifest = read_manifest(repository, name, number)
        if manifest is not None:
            manifest.require_intact()
        sums = publish.file_sums(folder)
        with _as_ours():
            model = self._model(name)
            there = number if version is not None else max(model.versions, default=0)
            if self._sums(model, there) == sums:
                return Transferred(name=name, version=there, created=False)
            self._keeps_config(repository / name, model)  # before anything is written
            number = self._claim(model, number, exact=version is not None)
            place = f"{name}/{number}"
            self._store.upload({folder / file: f"{place}/{file}" for file in sums})
            kept = self._write_beside(repository / name, model, number)
            record = {"files": {file: {"sha256": digest} for file, digest in sums.items()}}
            self._store.write(f"{place}/{layout.COMPLETE_MARKER}", json_bytes(record))
        return Transferred(name=name, version=number, created=True, config_kept=kept)

    def pull(self, name: str, repository: Path, version: int | None = None) -> Transferred:
        """Bring a version to a repository on this machine, the latest by default, under its number.

        UsageError if it is not there, or the repository holds another of that number, or kept versions
        would not satisfy its configuration. CheckFailed if its files are not what was published.
        """
        with _as_ours():
            model = self._model(name)
        if not model.versions:
            raise UsageError(self._no_model(name))
        number = max(model.versions) if version is None else version
        if number not in model.versions:
            has = ", ".join(map(str, model.versions))
            raise UsageError(f"{self.shown} has no version {number} of {name}: it has {has}")
        with publish.staging(repository, name) as staged, _as_ours():
            inside, beside = staged / "version", staged / "beside"
            inside.mkdir()
            beside.mkdir()
            for part, place in ((model.parts[number], inside), (model.parts.get(None), beside)):
                if part is not None:
                    download(self._store, part, part.files, place)
            state = self._read(f"{name}/{STATE_FILE}")
            if state is not None and json_object(state).get("version") == number:
                (beside / STATE_FILE).write_bytes(state)
            adopted = publish.adopt(repository, name, inside, number, beside)
        return Transferred(
            name=name,
            version=number,
            created=adopted.created,
            config_kept=adopted.config_kept,
        )

    def has(self, name: str) -> bool:
        """Tell whether a model is there, with a whole version."""
        with _as_ours():
            return bool(self._model(name).versions)

    def _model(self, name: str) -> RemoteModel:
        """Return what is there of a model; one without versions if nothing is."""
        try:
            layout.check_model_name(name)
            model = read_model(name, self._store.files(name))
        except ValueError as error:
            raise UsageError(str(error)) from None
        except FileNotFoundError:
            raise UsageError(f"{self.shown} does not exist: make the bucket first") from None
        if model is not None and model.fault:
            raise UsageError(f"{name} in {self.shown} cannot be used: {model.fault}")
        return model or RemoteModel(name=name)

    def _sums(self, model: RemoteModel, number: int) -> dict[str, str] | None:
        """Return the checksums of a whole version, None if none are known."""
        part = model.parts.get(number)
        if part is None or part.marker is None:
            return None
        content = self._read(f"{part.folder}/{part.marker.path}")
        return None if content is None else checksums(content)

    def _claim(self, model: RemoteModel, number: int, *, exact: bool) -> int:
        """Take a number that no writer has; UsageError if it must be one that is taken."""
        numbers = {*model.versions, *model.unfinished}
        if exact and number in numbers:
            raise UsageError(self._conflict(model, number))
        if not exact:
            number = max([number, *(other + 1 for other in numbers)])
        for _ in range(_TRIES):
            writer = {
                "host": socket.gethostname(),
                "process": os.getpid(),
                "begun": datetime.now(UTC).isoformat(timespec="seconds"),
                "token": secrets.token_hex(16),
            }
            if self._store.create(
                f"{model.name}/{number}/{layout.UPLOAD_MARKER}", json_bytes(writer)
            ):
                return number
            if exact:
                raise UsageError(self._conflict(model, number))
            number += 1
        raise StorageError(
            f"{self.shown}: no free version of {model.name} up to {number}: try again"
        )

    def _conflict(self, model: RemoteModel, number: int) -> str:
        place = f"{model.name}/{number}"
        if number in model.versions:
            return (
                f"{self.shown} holds another version {number} of {model.name}, which stays as it is: "
                "push without a version, which takes the next number"
            )
        return (
            f"{self.shown}: {place} is being written, or was given up ({place}/{layout.UPLOAD_MARKER} says by "
            "whom): push without a version, which takes the next number"
        )

    def _keeps_config(self, folder: Path, model: RemoteModel) -> bool:
        """Return whether the configuration there was edited by hand; UsageError for another interface."""
        path = f"{model.name}/{layout.CONFIG_FILE}"
        old, own = self._read(path), folder / layout.CONFIG_FILE
        if old is None or not own.is_file():
            return False
        config = publish.parse_config(str(own), own.read_bytes())
        state = json_object(self._read(f"{model.name}/{STATE_FILE}") or b"")
        cure = f"push to another repository, or remove {self.shown}/{model.name}"
        is_edited = publish.keeps_config(f"{self.shown}/{path}", old, config, state, cure)
        return is_edited and old != own.read_bytes()

    def _write_beside(self, folder: Path, model: RemoteModel, number: int) -> bool:
        """Write what lies beside the versions, config.pbtxt last; return whether that there is kept."""
        name, config = model.name, folder / layout.CONFIG_FILE
        kept = self._keeps_config(folder, model)
        if not kept:
            files = {
                path: f"{name}/{path.relative_to(folder).as_posix()}" for path in _beside(folder)
            }
            files.pop(config, None)
            self._store.upload(files)
            if config.is_file():
                path, content = f"{name}/{layout.CONFIG_FILE}", config.read_bytes()
                # Another writer's may have come meanwhile: then both must have one interface.
                if not self._store.create(path, content):
                    kept = self._keeps_config(folder, model)
                    if not kept:
                        self._store.write(path, content)
        state = read_json(folder / STATE_FILE)
        if state:
            self._store.write(f"{name}/{STATE_FILE}", json_bytes(state | {"version": number}))
        return kept

    def _read(self, path: str) -> bytes | None:
        try:
            return self._store.read(path)
        except FileNotFoundError:
            return None

    def _no_model(self, name: str) -> str:
        with _as_ours():
            try:
                names = [entry.rstrip("/") for entry in self._store.names() if entry.endswith("/")]
            except FileNotFoundError:
                names = []
        has = f"it has {', '.join(names)}" if names else "it has none"
        return f"{self.shown} has no model {name!r}: {did_you_mean(name, names) or has}"


def _present(repository: Path, name: str, version: int | None) -> int:
    """Return the version to push; UsageError if it is not there."""
    folder = repository / name
    numbers = layout.version_numbers(folder) if folder.is_dir() else []
    if not numbers:
        raise unknown_model(repository, name)
    number = numbers[-1] if version is None else version
    if number not in numbers:
        has = ", ".join(map(str, numbers))
        raise UsageError(f"{repository} has no version {number} of {name}: it has {has}")
    return number


def _beside(folder: Path) -> list[Path]:
    """Return the files of a model that belong to no version and are not hidden."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and layout.version_number((parts := path.relative_to(folder).parts)[0]) is None
        and not any(map(layout.is_hidden, parts))
    ]


@contextmanager
def _as_ours() -> Iterator[None]:
    """Raise the server's errors as the zoo's."""
    try:
        yield
    except ConfigurationError as error:
        raise UsageError(str(error)) from error
    except ModelLoadError as error:
        raise CheckFailed(str(error)) from error
    except OperatorError as error:
        raise StorageError(str(error)) from error
