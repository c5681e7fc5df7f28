"""Exports into a repository in an object store: into a folder of this machine first, then by `push`.

The folder is given the models' latest versions, so an export finds what it would find in a repository on
this machine: whether it is up to date, which interface the kept versions have, whether the configuration
was edited by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.publish.transfer import RemoteTarget, Transferred


@dataclass(frozen=True, slots=True)
class ExportPlace:
    """The folder to export into; `target` is where its models go then, None if they stay."""

    folder: Path
    target: RemoteTarget | None = None

    def push(self, names: Sequence[str]) -> tuple[list[Transferred], dict[str, ZooError]]:
        """Publish what was exported; return what came of each, and what failed by name."""
        pushed: list[Transferred] = []
        failures: dict[str, ZooError] = {}
        for name in names if self.target is not None else ():
            assert self.target is not None
            try:
                pushed.append(self.target.push(self.folder, name))
            except ZooError as error:
                failures[name] = error
        return pushed, failures


@contextmanager
def export_place(repository: Path | str, names: Sequence[str]) -> Iterator[ExportPlace]:
    """Yield where models are exported to: a path itself, for a URL a folder that is gone at the end.

    UsageError for a URL that is none, StorageError if the store cannot be read.
    """
    if isinstance(repository, Path):
        yield ExportPlace(repository)
        return
    from zoo.publish.transfer import RemoteTarget

    target = RemoteTarget(repository)
    with TemporaryDirectory(prefix="zoo-export-") as place:
        folder = Path(place)
        for name in names:
            if target.has(name):
                target.pull(name, folder)
        yield ExportPlace(folder, target)
