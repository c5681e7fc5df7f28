"""Where a run is written and where it ends: a temporary folder, renamed into place once it is whole.

.tmp-NAME ──> NAME           .old-NAME while one replaces another
    └───────> NAME.failed    what fell short of its claim
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from zoo.errors import CheckFailed, StorageError
from zoo.recipes.recipe import Recipe
from zoo.training.runs import RunFolder

#: Names the training that a temporary folder is of.
STATE_KEY = "state.key"


def recover(run: RunFolder) -> None:
    """Finish or undo a replacement that a kill interrupted."""
    old = run.runs / f".old-{run.name}"
    if old.exists():
        if run.path.exists():
            shutil.rmtree(old)
        else:
            old.rename(run.path)


def settle(recipe: Recipe, run: RunFolder, folder: Path, missed: Sequence[str]) -> None:
    """Rename a finished folder to where it belongs; raises CheckFailed with what was missed."""
    if missed:
        failed = _failed_folder(run)
        shutil.rmtree(failed, ignore_errors=True)
        folder.rename(failed)
        raise CheckFailed(f"{recipe.where}: {'; '.join(missed)}: see {failed}")
    _replace(run, folder)


def storage_error(recipe: Recipe, runs: Path, error: OSError) -> StorageError:
    """Return what a disk that refuses a run means to its user."""
    return StorageError(
        f"{recipe.where}: {error.filename or runs}: {error.strerror or error}: nothing that was "
        "finished before is lost"
    )


def clear(folder: Path, run_key: str, *, resume: bool) -> None:
    """Remove what a killed run left, except a state that the same training can go on from."""
    mark = folder / STATE_KEY
    if not (resume and mark.is_file() and mark.read_text(encoding="utf-8") == run_key):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if resume:
            mark.write_text(run_key, encoding="utf-8")


def _replace(run: RunFolder, folder: Path) -> None:
    """Rename a finished folder into place; `recover` undoes it if we are killed between."""
    old = run.runs / f".old-{run.name}"
    if run.path.exists():
        run.path.rename(old)
    folder.rename(run.path)
    for obsolete in (old, _failed_folder(run)):
        shutil.rmtree(obsolete, ignore_errors=True)


def _failed_folder(run: RunFolder) -> Path:
    """Return where a run that fell short is kept; no model's name has a dot."""
    return run.runs / f"{run.name}.failed"
