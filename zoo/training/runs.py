"""Finished trainings on disk: one folder a model, whole or absent. No framework.

    build/runs/<model>/           best.weights.h5  history.json  held_out.npz  record.json  train.log
    build/runs/<model>.failed/    the last training that missed its claim, for inspection
    build/runs/<model>.trials/    trainings with other seeds and settings, a folder of runs each
    build/runs/.tmp-<model>/      being written, under the lock; removed or resumed by the next run
    build/runs/.old-<model>/      the run being replaced; put back if the replacing was interrupted
    build/runs/.lock-<model>      held while training

Whether a run is up to date is decided by hashing files, never by loading arrays or TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets.dataset import Rows
from zoo.errors import ZooError
from zoo.files import code_files, sha256
from zoo.recipes import FAMILIES
from zoo.recipes.recipe import Recipe
from zoo.recipes.trial_settings import Settings, with_settings
from zoo.training.record import TrainingRecord

WEIGHTS, HISTORY, HELD_OUT, RECORD, LOG = (
    "best.weights.h5",
    "history.json",
    "held_out.npz",
    "record.json",
    "train.log",
)

#: How the arrays of further inputs and outputs are called in held_out.npz.
MORE_X, MORE_Y = "x:", "y:"

#: The rooms below zoo/ that a training depends on. Of the recipes' families, a file each, it is
#: only the recipe's own.
TRAINING_CODE = (
    "datasets", "recipes", "training",
    "zoo_server/images/description.py", "zoo_server/images/ink.py",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Reads the finished run of one model below `runs`; nothing here writes."""

    runs: Path
    name: str

    @classmethod
    def of(cls, runs: Path, recipe: Recipe) -> RunFolder:
        """Return the run that a recipe's weights come from: a step's is that of its source."""
        return cls(runs, recipe.trained_as.name)

    @property
    def path(self) -> Path:
        """Return the run's folder, which need not exist."""
        return self.runs / self.name

    @property
    def weights(self) -> Path:
        """Return the best weights, for `model.load_weights`."""
        return self.path / WEIGHTS

    @property
    def record(self) -> TrainingRecord | None:
        """Return the record of the finished run, None when there is none that can be read."""
        try:
            return TrainingRecord.from_json((self.path / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def history(self) -> dict[str, Any]:
        """Return loss and val_loss by epoch, and best_epoch."""
        loaded: dict[str, Any] = json.loads((self.path / HISTORY).read_text(encoding="utf-8"))
        return loaded

    def held_out(self) -> Rows:
        """Return the test split as it was at training; raises ZooError when it cannot be read."""
        try:
            with np.load(self.path / HELD_OUT) as file:
                more = {
                    side: {k.removeprefix(side): file[k] for k in file.files if k.startswith(side)}
                    for side in (MORE_X, MORE_Y)
                }
                return Rows(x=file["x"], y=file["y"], more_x=more[MORE_X], more_y=more[MORE_Y])
        except (OSError, ValueError, KeyError) as error:
            raise ZooError(
                f"{self.path / HELD_OUT} cannot be read ({error}): remove {self.path}, and train "
                f"{self.name} again"
            ) from error

    def chosen_settings(self, recipe: Recipe, settings: Settings | None = None) -> Recipe:
        """Return the recipe with these settings; (None) those of the last run, which may be none.

        Raises UsageError for one that the recipe does not take.
        """
        if settings is None:
            record = self.record
            settings = {} if record is None else record.settings
        return with_settings(recipe, settings)

    def is_current(
        self,
        recipe: Recipe,
        settings: Settings | None = None,
        workers: int | None = None,
    ) -> bool:
        """Tell whether the run is finished, intact and made from the recipe, data and code of now.

        And, where a number of workers is given, by as many.
        """
        record = self.record
        return (
            record is not None
            and workers in (None, record.workers)
            and record.key == key(self.chosen_settings(recipe, settings))
            and self.weights.is_file()
            and sha256(self.weights) == record.weights_sha256
        )


def key(recipe: Recipe) -> str:
    """Return the sha256 over everything a training's result depends on.

    Raises as Dataset.files does when the data is not there.
    """
    digest = hashlib.sha256(recipe.name.encode())
    digest.update(json.dumps(dict(recipe.settings), sort_keys=True).encode())
    code = (recipe.file, recipe.dataset.code, *_training_code())
    for path in (*code, *recipe.dataset.files()):
        digest.update(_cached_sha256(path).encode())
    digest.update(json.dumps(versions(), sort_keys=True).encode())
    return digest.hexdigest()


@cache
def versions() -> dict[str, str]:
    """Return the versions of what computes the weights, from package metadata alone."""
    installed = {"python": platform.python_version()}
    for name in ("numpy", "keras", "tensorflow", "tensorflow-cpu", "pillow", "scikit-learn"):
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def _training_code() -> tuple[Path, ...]:
    families = {path for family in FAMILIES for path in code_files(f"recipes/{family}.py")}
    return tuple(p for room in TRAINING_CODE for p in code_files(room) if p not in families)


@cache
def _sha256_of_state(path: Path, size: int, mtime_ns: int) -> str:
    return sha256(path)


def _cached_sha256(path: Path) -> str:
    """Return a file's sha256, hashed once a process while its size and time stay the same."""
    state = path.stat()
    return _sha256_of_state(path, state.st_size, state.st_mtime_ns)
