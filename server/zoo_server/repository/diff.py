"""The difference of two repository scans, as load and unload actions. Pure.

A folder that is being copied changes from scan to scan. So an action is due only once its model
looked the same twice, and what stays half copied fails to load, which takes nothing down.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from zoo_server.repository.scan import ModelFiles


@dataclass(frozen=True, slots=True)
class Load:
    """A model came, or is not what it was."""

    files: ModelFiles

    @property
    def name(self) -> str:
        """The model's name."""
        return self.files.name


@dataclass(frozen=True, slots=True)
class Unload:
    """A model is gone."""

    name: str


Action = Load | Unload


def diff(before: Iterable[ModelFiles], after: Iterable[ModelFiles]) -> list[Action]:
    """Return what leads from one scan to another, by name."""
    old = {files.name: files for files in before}
    new = {files.name: files for files in after}
    return [
        Load(new[name]) if name in new else Unload(name)
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def settled(
    acted: Iterable[ModelFiles], before: Iterable[ModelFiles], now: Iterable[ModelFiles]
) -> list[Action]:
    """Return what is due: `now` differs from what was `acted` upon, and is as it was `before`."""
    now = list(now)
    moving = {action.name for action in diff(before, now)}
    return [action for action in diff(acted, now) if action.name not in moving]
