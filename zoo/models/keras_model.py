"""Gives a published model as the Keras model that it was exported from."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from zoo.errors import UsageError
from zoo.models.find import model_file
from zoo.publish.keras_file import KERAS_FILE
from zoo.publish.versions import read_manifest


def load_keras(
    model: str | PathLike[str],
    *,
    version: int | None = None,
    repository: str | PathLike[str] | None = None,
) -> Any:
    """Return the trained Keras model of a published one, not compiled, to train on or to change.

    Needs the train extra. TensorFlow is made deterministic, as the zoo trains, and the seed is set to 0:
    set another with `keras.utils.set_random_seed`. Raises UsageError for what is not published or has no model.keras,
    MissingPackage.
    """
    path = model_file(model, version, repository).with_name(KERAS_FILE)
    if not path.is_file():
        raise UsageError(f"there is no {path}: {_cure(path.parent)}")
    from zoo.training.framework import import_keras

    keras = import_keras().keras
    # Deterministic operations refuse to draw random numbers, as for a shuffle, without a seed.
    keras.utils.set_random_seed(0)
    return keras.saving.load_model(path, compile=False)


def _cure(folder: Path) -> str:
    """Say what to do about a version without its Keras model."""
    manifest = read_manifest(folder.parent.parent, folder.parent.name, int(folder.name))
    files = {} if manifest is None else manifest.values.get("files", {})
    if KERAS_FILE in files:
        return f"export {folder.parent.name} again, which adds a whole version"
    return "recipes alone are published with it; keras.saving.load_model loads a file of one's own"
