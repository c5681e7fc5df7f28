"""Scores a setting by its best validation loss: what a search compares. The test split is not looked at."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.errors import CheckFailed
from zoo.files import atomic_write, json_bytes, read_json, sha256
from zoo.recipes.recipe import Recipe
from zoo.training.loop import Progress, fit
from zoo.training.runs import WEIGHTS, key
from zoo.training.train import prepared_model

FILE = "score.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one setting reached, or why it did not; `key` is that of its training."""

    key: str
    val_loss: float | None  # the lowest; None where the training failed
    epochs: int = 0
    weights_sha256: str = ""
    failure: str = ""
    stopped: bool = False  # by a scheduler, before its end: neither chosen nor kept

    @property
    def order(self) -> float:
        """Return what is the lower, the better the setting is."""
        return math.inf if self.val_loss is None else self.val_loss

    def write(self, folder: Path) -> None:
        """Write it into a folder, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / FILE, json_bytes(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Score | None:
        """Return the one of a folder, None if there is none."""
        return cls.of(read_json(folder / FILE))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Score | None:
        """Return it from plain values, None if they are none of this version."""
        try:
            return cls(**values)
        except TypeError:
            return None


def score(recipe: Recipe, progress: Progress) -> Score:
    """Train a recipe as it is set, and keep nothing of it; a loss that is no number is a failure.

    Raises RecipeError for what cannot be built.
    """
    training_key = key(recipe)
    model, splits = prepared_model(recipe)
    try:
        history = fit(recipe, model, splits, progress=progress)
    except CheckFailed as error:
        return Score(key=training_key, val_loss=None, failure=str(error))
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, WEIGHTS)
        model.save_weights(weights)
        return Score(
            key=training_key,
            val_loss=min(history.val_loss),
            epochs=len(history.loss),
            weights_sha256=sha256(weights),
        )
