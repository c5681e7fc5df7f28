"""Builds a model that was never called, so that its shapes are known.

On the caller's samples; or, without any, a Sequential whose layers allow inputs of one number of
dimensions only, of any size: an Embedding before an LSTM takes [batch, time] and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoo.convert.function import reason_of
from zoo.convert.specification import call_arguments
from zoo.errors import UsageError

if TYPE_CHECKING:
    import keras

#: How many dimensions an input may have, the batch among them.
RANKS = range(1, 6)


def build(model: keras.Model, samples: object) -> None:
    """Build a model in place; one that is built, or that nothing tells enough of, stays as it is.

    Raises UsageError for samples that Keras refuses.
    """
    if getattr(model, "built", True) and getattr(model, "_called", True):
        return
    if samples is not None:
        _on_samples(model, samples)
    elif (shape := _only_shape(model)) is not None:
        model.build(shape)


def _on_samples(model: keras.Model, samples: object) -> None:
    """Call a model on one row."""
    import keras

    names, values = call_arguments(model, samples)
    if isinstance(samples, dict) and len(samples) == 1:
        names, values = [None], list(samples.values())
    try:
        first = keras.tree.map_structure(
            lambda rows: keras.ops.convert_to_tensor(np.asarray(rows)[:1]), values
        )
        pairs = list(zip(names, first, strict=True))
        named = {name: value for name, value in pairs if name is not None}
        model(*[value for name, value in pairs if name is None], **named)
    except Exception as error:  # Keras refuses rows by whatever its backend raises
        raise UsageError(f"samples that do not fit: Keras says {reason_of(error)}") from error


def _only_shape(model: keras.Model) -> tuple[None, ...] | None:
    """Return the one open shape that an unbuilt Sequential can be built with, if there is one."""
    import keras

    if type(model) is not keras.Sequential or model.built or not model.layers:
        return None
    shapes = [(None,) * rank for rank in RANKS if _can_be_built(model, (None,) * rank)]
    return shapes[0] if len(shapes) == 1 else None


def _can_be_built(model: keras.Model, shape: tuple[None, ...]) -> bool:
    """Whether layers like the model's take inputs of a shape; its own must not be built wrong."""
    import keras

    try:
        copy = keras.Sequential([type(i).from_config(i.get_config()) for i in model.layers])
        copy.build(shape)
    except (
        Exception
    ):  # a layer refuses a shape by whatever it raises, and a foreign one has no configuration
        return False
    return getattr(copy, "_functional", None) is not None
