"""Keeps what was read from a store on this machine: whole folders, of bounded size, for several servers.

    CACHE/DIGEST-BYTES/…      files that were listed so; the folder never changes
    CACHE/.tmp-…-BYTES/       being written, or being removed
    CACHE/.lock, .lock-00…    held while room is made, and while one folder is written

A folder comes by a rename once all of it is on the disk, so a process that is killed and a full disk
leave only what is removed later. Whoever reads a folder holds a lock on it, which the system releases
when the process ends, however it ends. What nobody holds leaves when room is needed, that which was used
longest ago first.
"""

import errno
import fcntl
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo_server.durability import flush, flush_tree
from zoo_server.repository import layout

_LOCK = ".lock"


class Lease:
    """Holds a folder of a cache for as long as the object lives."""

    def __init__(self, descriptor: int) -> None:
        self._end = weakref.finalize(self, os.close, descriptor)


class Cache:
    """Folders by key, in one folder; may be used by any number of threads and processes.

    A key is DIGEST-BYTES, so that names alone tell what the cache holds.
    """

    def __init__(self, root: Path, most_bytes: int) -> None:
        """OSError if the folder cannot be made."""
        root.mkdir(parents=True, exist_ok=True)
        self.root = Path(os.path.realpath(root))
        self.most_bytes = most_bytes

    def place(self, key: str) -> Path:
        """Return where a folder lies, or would."""
        return self.root / key

    def obtain(self, key: str, fill: Callable[[Path], None]) -> Lease:
        """Return the folder of a key; if it is not there, `fill` writes its files into an empty one.

        OSError if there is no room for it; else whatever `fill` raises. Nothing is kept then.
        """
        place = self.place(key)
        with self._locked(f"{_LOCK}-{key[:2]}"):
            lease = _lease(place)
            return lease if lease is not None else self._write(place, fill)

    def _write(self, place: Path, fill: Callable[[Path], None]) -> Lease:
        staged, descriptor = self._stage(_size(place))
        lease = Lease(descriptor)
        try:
            fill(staged)
            flush_tree(staged)
            staged.rename(place)
            flush(self.root)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return lease

    def _stage(self, size: int) -> tuple[Path, int]:
        """Make room; return an empty folder that counts as so many bytes, with a lock on it."""
        with self._locked(_LOCK):
            self._make_room(size)
            name = tempfile.mkdtemp(f"-{size}", layout.TEMPORARY_PREFIX, self.root)
            staged = Path(name)
            staged.chmod(0o755)  # mkdtemp's 0700 would hide it from other users' servers
            return staged, _hold(staged, fcntl.LOCK_SH)

    def _make_room(self, size: int) -> None:
        """Remove what was used longest ago until so many bytes fit; the lock is held."""
        folders = [entry for entry in self.root.iterdir() if _size(entry) >= 0]
        staged = [entry for entry in folders if layout.is_hidden(entry.name)]
        left = [entry for entry in staged if not self._remove(entry)]  # of those that were killed
        whole = [entry for entry in folders if not layout.is_hidden(entry.name)]
        used = sum(map(_size, [*left, *whole]))
        if used + size > self.most_bytes:
            for folder in sorted(whole, key=_used_bytes):
                if self._remove(folder):
                    used -= _size(folder)
                if used + size <= self.most_bytes:
                    break
        if used + size > self.most_bytes:
            raise OSError(
                errno.ENOSPC,
                f"no room for {size} bytes: {used} of {self.most_bytes} are in use; raise "
                "--repository-cache-bytes",
            )
        free = shutil.disk_usage(self.root).free
        if free < size:
            raise OSError(
                errno.ENOSPC,
                f"its disk has no room for {size} bytes: {free} are free; name another folder by "
                "--repository-cache",
            )

    def _remove(self, folder: Path) -> bool:
        """Remove a folder unless somebody holds it."""
        try:
            descriptor = _hold(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        try:
            if not layout.is_hidden(folder.name):  # at once, so that none finds half of it
                leaving = folder.with_name(f"{layout.TEMPORARY_PREFIX}{folder.name}")
                folder.rename(leaving)
                folder = leaving
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with (self.root / name).open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _lease(place: Path) -> Lease | None:
    """Hold a folder that is there, and note that it was used."""
    try:
        descriptor = _hold(place, fcntl.LOCK_SH)
    except OSError:
        return None
    try:
        here = place.stat().st_ino == os.fstat(descriptor).st_ino
    except OSError:  # it was removed while the lock was waited for
        here = False
    if not here:
        os.close(descriptor)
        return None
    with suppress(OSError):  # of another user: it is as old as it looks
        os.utime(place)
    return Lease(descriptor)


def _hold(folder: Path, how: int) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _used_bytes(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _size(folder: Path) -> int:
    """Return the bytes of a folder, by its name; -1 for what is none of the cache's."""
    number = folder.name.rpartition("-")[2]
    return int(number) if number.isdigit() and not folder.name.startswith(_LOCK) else -1
