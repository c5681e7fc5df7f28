"""The zoo's own errors: each message names the culprit, the value seen and the cure.

    ZooError                exit 1   anything the zoo refuses or fails to do, said in one line
    ├── UsageError          exit 2   the call is wrong: unknown name, bad option, missing file
    │   └── RecipeError     exit 2   a recipe is wrong, so its author can mend it
    ├── CheckFailed         exit 1   everything ran, and what was measured is not good enough
    ├── MissingPackage      exit 1   an extra is not installed
    └── StorageError        exit 1   the disk or the store refused: full, read-only, no permission, away

The command line prints `str(error)` and exits with `error.exit_status`; it never shows a traceback
for these.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ZooError(Exception):
    """The base of the tree; `str()` of it is one line for people."""

    exit_status = 1


class UsageError(ZooError):
    """The caller asked for something that cannot be: theirs to correct."""

    exit_status = 2


class RecipeError(UsageError):
    """A recipe contradicts itself, its data or the model it builds: its author's to correct."""


class CheckFailed(ZooError):
    """A measurement fell short of what was claimed or demanded."""


class MissingPackage(ZooError):
    """A package of an optional extra is not installed."""

    def __init__(self, package: str, purpose: str, extra: str = "train") -> None:
        super().__init__(
            f"{package} is not installed, and {purpose} needs it: pip install 'layer-zoo[{extra}]'"
        )

    def __reduce__(self) -> tuple[type[ZooError], tuple[str]]:
        """Reach another process as its text, which is all that counts there."""
        return ZooError, (str(self),)


class StorageError(ZooError):
    """The disk or the store refused; what was finished before is still there."""


def first_line(error: BaseException) -> str:
    """Return the first line of a foreign error that says something, else the error's kind."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the question that names up to three near names, empty if there are none."""
    near = get_close_matches(name, list(known), n=3)
    return f"did you mean {' or '.join(near)}?" if near else ""
