"""The layers of a model, wherever they lie in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def all_layers(model: keras.Model) -> list[keras.Layer]:
    """Return the model and every layer in it, cells and wrapped layers included."""
    layers = model._flatten_layers(include_self=True, recursive=True)
    return list({id(layer): layer for layer in layers}.values())
