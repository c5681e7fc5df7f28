"""Brings the files of a model to a folder of this machine: all of them, as they were listed, or none."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo_server.errors import ModelLoadError, RepositoryUnreachable
from zoo_server.repository import layout
from zoo_server.repository.remote.listing import RemotePart, read_bare, read_model
from zoo_server.repository.remote.store import Store, StoredFile
from zoo_server.repository.scan import BARE_VERSION

#: A marker or manifest beyond it is no such thing.
_MAX_RECORD_BYTES = 16 << 20

#: What mends a version whose files are not those of its marker: what is there looks published to `zoo push`.
_PUSH_AGAIN = "remove the folder {} there, and push the version again"


def download(store: Store, part: RemotePart, files: Sequence[StoredFile], folder: Path) -> None:
    """Write files of a part into an empty folder.

    RepositoryUnreachable if that is worth another try: the store fails, or the files change meanwhile.
    ModelLoadError if they are not what their checksums say. OSError from this machine's disk.
    """
    where = f"{part.folder}/".lstrip("/")
    targets: dict[str, Path] = {}
    for file in files:
        place = folder / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        targets[where + file.path] = place
    try:
        if targets:
            store.download(targets)
        _check_sizes(part, files, folder)
        sums = _marked(store, part) or _manifest(folder)
    except FileNotFoundError:
        raise _change_error(part) from None
    # Checksums of all files are of one content; without them the listing must still be the same.
    if not all(file.path in sums for file in files) and _listed(store, part) != part:
        raise _change_error(part)
    _check_sums(part, files, folder, sums)


def _listed(store: Store, part: RemotePart) -> RemotePart | None:
    """Return the part as it is listed now."""
    if not part.folder:
        file = store.file(part.files[0].path)
        return None if file is None else read_bare(file).parts[BARE_VERSION]
    name, _, version = part.folder.partition("/")
    model = read_model(name, store.files(part.folder) if version else store.files(name))
    return None if model is None else model.parts.get(int(version) if version else None)


def _check_sizes(part: RemotePart, files: Sequence[StoredFile], folder: Path) -> None:
    for file in files:
        size = (folder / file.path).stat().st_size
        if size != file.size:
            raise RepositoryUnreachable(
                f"{part.folder}/{file.path} was cut short: {size} bytes of {file.size} came"
            )


def _change_error(part: RemotePart) -> RepositoryUnreachable:
    return RepositoryUnreachable(f"{part.folder} changed while it was read")


def _marked(store: Store, part: RemotePart) -> dict[str, str]:
    """Return the checksums of the version's marker; each file that it names must be listed."""
    if part.marker is None:
        return {}
    path = f"{part.folder}/{part.marker.path}"
    if part.marker.size > _MAX_RECORD_BYTES:
        raise ModelLoadError(f"{path} is larger than {_MAX_RECORD_BYTES} bytes")
    sums = checksums(store.read(path))
    if sums is None:
        raise ModelLoadError(f"{path} is damaged: {_PUSH_AGAIN.format(part.folder)}")
    missing = sorted(set(sums) - {file.path for file in part.files})
    if missing:
        raise ModelLoadError(
            f"{part.folder}/{missing[0]} is missing, which {path} lists: {_PUSH_AGAIN.format(part.folder)}"
        )
    return sums


def _manifest(folder: Path) -> dict[str, str]:
    """Return the checksums of a version that `zoo export` wrote and another tool copied."""
    path = folder / layout.MANIFEST_FILE
    if not path.is_file() or path.stat().st_size > _MAX_RECORD_BYTES:
        return {}
    return checksums(path.read_bytes()) or {}


def checksums(content: bytes) -> dict[str, str] | None:
    """Return the SHA-256 of each file that a marker or manifest lists, None if it is neither."""
    try:
        values: Any = json.loads(content)
        files: Mapping[str, Any] = values["files"]
        return {name: str(facts["sha256"]) for name, facts in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _check_sums(
    part: RemotePart, files: Sequence[StoredFile], folder: Path, sums: Mapping[str, str]
) -> None:
    for file in files:
        if file.path in sums:
            with (folder / file.path).open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if digest != sums[file.path]:
                raise ModelLoadError(
                    f"{part.folder}/{file.path} has not the checksum that it was published with "
                    f"({digest[:12]}… for {sums[file.path][:12]}…): {_PUSH_AGAIN.format(part.folder)}"
                )
