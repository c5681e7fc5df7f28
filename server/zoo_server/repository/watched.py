"""Remembers what the last looks at a repository found, and whether they succeeded.

What is loaded is served on either way, and what is in the cache of a repository elsewhere can be loaded
again while that is away.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from zoo_server.errors import OperatorError
from zoo_server.repository.scan import ModelFiles

T = TypeVar("T")


class Repository(Protocol):
    """A model repository, wherever it lies; every method looks at it anew.

    OperatorError says why that is not possible.
    """

    @property
    def path(self) -> Path | str:
        """What people call it."""

    def scan(self) -> list[ModelFiles]:
        """Return every model, by name."""

    def names(self) -> list[str]:
        """Return the models' names, sorted."""

    def find(self, name: str) -> ModelFiles | None:
        """Return one model, None if there is none of that name."""


class WatchedRepository:
    """A repository, and why it could not be read when it was last looked at."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.path = repository.path
        #: One line; empty if it could be read.
        self.problem = ""
        #: Models as they were last seen, by name.
        self.last_seen: dict[str, ModelFiles] = {}

    def scan(self) -> list[ModelFiles]:
        """Return every model, by name."""
        models = self._look(self._repository.scan)
        self.last_seen = {files.name: files for files in models}
        return models

    def names(self) -> list[str]:
        """Return the models' names, sorted."""
        return self._look(self._repository.names)

    def find(self, name: str) -> ModelFiles | None:
        """Return one model, None if there is none of that name."""
        files = self._look(lambda: self._repository.find(name))
        if files is not None:
            self.last_seen[name] = files
        else:
            self.last_seen.pop(name, None)
        return files

    def _look(self, look: Callable[[], T]) -> T:
        try:
            models = look()
        except OperatorError as error:
            self.problem = str(error)
            raise
        self.problem = ""
        return models
