"""Lists, reads and writes the objects below one address, through fsspec; its errors are one line each."""

import asyncio
import errno
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, unquote

from zoo_server.errors import ConfigurationError, RepositoryUnreachable
from zoo_server.repository.remote import pages
from zoo_server.repository.remote.address import RemoteAddress
from zoo_server.repository.remote.driver import one_line, open_driver

#: Folders within folders that are walked where a store has no flat listing.
_MAX_DEPTH = 32

#: What tells one content of an object from another, the best first; names differ from store to store.
_TAGS = (
    "ETag", "etag", "md5Hash", "content_md5", "generation", "Last-Modified", "LastModified",
    "last_modified", "mtime", "created",
)  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class StoredFile:
    """An object: its path below the repository's root, size in bytes, and what its content is known by."""

    path: str
    size: int
    tag: str


class Store:
    """The objects below an address; may be used from any thread."""

    def __init__(self, address: RemoteAddress) -> None:
        """ConfigurationError if what speaks the address's scheme is not installed or set, RepositoryUnreachable
        if it does not answer."""
        self.address = address
        self._web = address.scheme in ("http", "https")
        self._lister = pages.LISTERS.get(address.scheme)
        self._lock = threading.Lock()
        self._driver: Any = None
        self._root = ""
        self._open()

    def names(self) -> list[str]:
        """Return what lies at the root, folders with a slash at the end, without looking into them.

        FileNotFoundError if nothing does; ConfigurationError if it is more than MAX_OBJECTS.
        """
        if self._lister is not None:
            list_all = partial(pages.read_names, self._lister, path=self._root)
            return cast("list[str]", self._ask(list_all))
        return [self._relative(row) + _slash(row) for row in self._rows("") if self._is_below(row)]

    def files(self, folder: str = "") -> list[StoredFile]:
        """Return every object below a folder, sorted; none if there is no such folder (pages.py: but for hidden ones).

        FileNotFoundError if the bucket, or the root's own folder, is not there; ConfigurationError if there are more
        objects than MAX_OBJECTS.
        """
        if self._lister is not None:
            return sorted(self._ask(partial(self._listed, self._lister, folder)))
        rows = [*islice(self._walk(folder, 0), pages.MAX_OBJECTS + 1)]
        if len(rows) > pages.MAX_OBJECTS:
            raise self._too_many()
        return sorted(self._stored(row) for row in rows if self._is_below(row))

    def file(self, path: str) -> StoredFile | None:
        """Return one object, None if it is not there."""
        try:
            row = self._ask(lambda driver: driver.info(self._full(path)))
        except FileNotFoundError:
            return None
        return None if row["type"] == "directory" else self._stored(row)

    def read(self, path: str) -> bytes:
        """Return a small object's content; FileNotFoundError if it is not there."""
        content: bytes = self._ask(lambda driver: driver.cat_file(self._full(path)))
        return content

    def download(self, files: Mapping[str, Path]) -> None:
        """Write objects, by path, to files of this machine; OSError if this machine has no room."""
        paths = [self._full(path) for path in files]
        places = [str(place) for place in files.values()]
        self._ask(lambda driver: driver.get(paths, places))

    def create(self, path: str, content: bytes) -> bool:
        """Write a small object unless there is one already; return whether it was written."""
        try:
            full = self._full(path)
            self._ask(lambda driver: driver.pipe_file(full, content, mode="create"))
        except FileExistsError:
            return False
        return self.read(path) == content  # a store that knows no condition lets the last one win

    def write(self, path: str, content: bytes) -> None:
        """Write a small object, whole or not at all."""
        self._ask(lambda driver: driver.pipe_file(self._full(path), content))

    def upload(self, files: Mapping[Path, str]) -> None:
        """Write files of this machine to objects, by path."""
        for place, path in files.items():
            self._ask(_put(str(place), self._full(path)))

    # -- what fsspec says ------------------------------------------------------------------------

    def _rows(self, folder: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._ask(
            lambda driver: driver.ls(self._full(folder) + "/" * self._web, detail=True)
        )
        return rows

    def _listed(self, lister: pages.Lister, folder: str, driver: Any) -> list[StoredFile]:
        rows = pages.read_files(lister, driver, self._root, folder)
        return [StoredFile(*row) for row in rows]

    def _walk(self, folder: str, depth: int) -> Iterator[dict[str, Any]]:
        """Yield all files; not by fsspec's own walk, which takes a folder that fails for an empty one."""
        try:
            rows = self._rows(folder)
        except FileNotFoundError:
            if not folder:
                raise  # the root itself: a store that is away rather than one without models
            return
        for row in rows:
            if row["type"] != "directory":
                yield row
            elif depth < _MAX_DEPTH and self._is_below(row):
                yield from self._walk(self._relative(row), depth + 1)

    def _stored(self, row: Mapping[str, Any]) -> StoredFile:
        path = self._relative(row)
        if row["size"] is None:  # a web server's page of links tells names alone
            row = self._ask(lambda driver: driver.info(row["name"]))
        tag = next((str(row[name]) for name in _TAGS if row.get(name)), "")
        return StoredFile(path=path, size=int(row["size"] or 0), tag=tag)

    def _full(self, path: str) -> str:
        path = quote(path) if self._web else path
        return (f"{self._root}/{path}" if self._root else path).rstrip("/")

    def _is_below(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a row is of the repository: a page of links also has others."""
        name: str = row["name"]
        return len(self._relative(row)) > 0 and not (self._web and ("?" in name or "#" in name))

    def _relative(self, row: Mapping[str, Any]) -> str:
        name = row["name"] if self._web else row["name"].lstrip("/")
        root = self._root if self._web else self._root.lstrip("/")
        path: str = name if not root else ""
        if root and name.startswith(f"{root}/"):
            path = name.removeprefix(f"{root}/")
        path = path.rstrip("/") if row["type"] == "directory" else path
        return unquote(path) if self._web else path

    def _ask(self, call: Callable[[Any], Any]) -> Any:
        """Call a driver; FileNotFoundError and FileExistsError are the caller's to understand."""
        with self._lock:
            driver = self._driver or self._open()
        try:
            return call(driver)
        except (FileNotFoundError, FileExistsError):
            raise
        except pages.TooManyObjects:
            raise self._too_many() from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            if _is_refusal(error):
                with self._lock:
                    self._driver = None  # credentials are read anew: they may have been renewed
            raise RepositoryUnreachable(self._why(error)) from error

    def _open(self) -> Any:
        self._driver, self._root = open_driver(self.address)
        return self._driver

    def _too_many(self) -> ConfigurationError:
        return ConfigurationError(
            f"the model repository '{self.address.shown}' has more than {pages.MAX_OBJECTS} objects: name the path of "
            "the repository itself, or take --model-control-mode explicit, which lists the models alone"
        )

    def _why(self, error: Exception) -> str:
        place = f"the model repository '{self.address.shown}'"
        if _is_refusal(error):
            return f"{place} refuses the credentials: {one_line(error)}"
        if isinstance(error, TimeoutError | asyncio.TimeoutError):
            return f"{place} does not answer in time"
        return f"{place} cannot be read: {one_line(error)}"


#: Names of errors, of several providers, that say that credentials are missing, wrong or over.
_REFUSALS = ("Credential", "Unauthorized", "Forbidden", "ClientAuthentication", "RefreshError")


def _put(place: str, path: str) -> Callable[[Any], Any]:
    return lambda driver: driver.put_file(place, path)


def _is_refusal(error: Exception) -> bool:
    status = getattr(error, "status", None) or getattr(error, "code", None)
    return (
        isinstance(error, PermissionError)
        or status in (401, 403)
        or any(word in type(error).__name__ for word in _REFUSALS)
        or (isinstance(error, OSError) and str(error).startswith("Forbidden:"))  # so says gcsfs
    )


def _slash(row: Mapping[str, Any]) -> str:
    return "/" if row["type"] == "directory" else ""
