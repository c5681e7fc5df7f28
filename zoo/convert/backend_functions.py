"""Puts functions in the place of those of Keras's TensorFlow backend, for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

#: What one of Keras's functions, or a table's look-up, was before it was replaced.
Original = Callable[..., "tf.Tensor"]


@contextmanager
def replaced(module: str, name: str, function: Callable[..., tf.Tensor]) -> Iterator[None]:
    """Put a function in the place of one of keras.src.backend.tensorflow's; it gets that one first."""
    functions = import_module(f"keras.src.backend.tensorflow.{module}")
    original = getattr(functions, name)
    setattr(functions, name, partial(function, original))
    try:
        yield
    finally:
        setattr(functions, name, original)


@contextmanager
def silu_without_gradient() -> Iterator[None]:
    """Let what is traced be forgotten although it has a silu.

    TensorFlow's own has a gradient of its own, which it registers by name and never drops, with the graph that it
    was traced in (tensorflow/python/ops/custom_gradient.py).
    """
    with replaced("nn", "silu", _silu):
        yield


def _silu(_: Original, x: tf.Tensor) -> tf.Tensor:
    """Multiply by the sigmoid, as tf.nn.silu does."""
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    return x * tf.sigmoid(x)
