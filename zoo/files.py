"""Files on disk, one way each: a checksum, an atomic write, JSON, a lock, a staged folder."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zoo_server
from zoo.errors import StorageError

#: What is being written is called so; servers and publishers pass over hidden names.
TEMPORARY_PREFIX = ".tmp-"


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal; of a folder, that of its files' names and SHA-256."""
    if path.is_dir():
        names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        lines = "".join(f"{sha256(path / name)}  {name}\n" for name in names)
        return hashlib.sha256(lines.encode()).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; one that holds this content already is left alone."""
    if path.is_file() and path.read_bytes() == content:
        return
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def json_bytes(values: Any) -> bytes:
    """Return the content of a JSON file that people may read: indented, with a line's end."""
    return (json.dumps(values, indent=2) + "\n").encode()


def json_object(content: bytes) -> dict[str, Any]:
    """Return the JSON object that is the content of a file, empty for what is none."""
    try:
        values = json.loads(content)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file, empty if that is absent or holds none."""
    try:
        return json_object(path.read_bytes())
    except OSError:
        return {}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; the system releases it when the process dies, however it dies."""
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def staged_folder(parent: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder in `parent`, to be renamed or emptied into place; gone at the end.

    Raises StorageError for what the disk refuses within.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}{name}-", dir=parent))
        try:
            folder.chmod(0o755)  # mkdtemp's 0700 would hide it from a server's own user
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        where = parent if error.filename is None or TEMPORARY_PREFIX in str(error.filename) else ""
        raise StorageError(
            f"{where or error.filename}: {error.strerror or error}: nothing was written"
        ) from error


def code_files(place: str) -> list[Path]:
    """Return the Python files of one of the rooms, in order, or the one that is named.

    `place` is below zoo/, or below the server's package: "export", "table.py", "zoo_server/images".
    """
    package, _, below = place.partition("/")
    if package == zoo_server.__name__:
        path = Path(zoo_server.__path__[0]) / below
    else:
        path = Path(__file__).parent / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))
