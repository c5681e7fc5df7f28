"""What Keras's layers give, and what Keras answers in float64: the yardsticks of an ill-conditioned model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.convert.patches import computing_in_float64
from zoo.convert.signature import Signature, Tensor
from zoo.parity.compare import Arrays
from zoo.parity.keras_answers import leaves_of, named

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasModel:
    """Answers questions about a model that its cases do not: slower, and asked where those disagree."""

    model: keras.Model
    signature: Signature
    outputs: Sequence[Tensor]
    reset_states: bool = False

    def in_float64(self, feeds: Arrays) -> Arrays:
        """Return Keras's answers, by output name, computed in float64 with the same weights.

        Raises whatever Keras does of a layer that has no such precision.
        """
        leaves = leaves_of(
            self.model,
            self.signature,
            feeds,
            reset_states=self.reset_states,
            within=partial(_in_float64, self.model),
            in_graph=True,
        )
        return {t.name: leaf for t, leaf in zip(self.outputs, leaves, strict=True)}

    def layers(self, feeds: Arrays) -> tuple[Arrays, list[np.ndarray]]:
        """Return Keras's answers by output name, and what every layer gave on the way, in float32."""
        values: dict[int, np.ndarray] = {}
        leaves = leaves_of(
            self.model,
            self.signature,
            feeds,
            reset_states=self.reset_states,
            within=partial(_recording, values),
            in_graph=False,
        )
        return named(leaves, self.outputs), list(values.values())

    def first_rows(self, feeds: Arrays, rows: int) -> Arrays:
        """Return the first rows of feeds whose batch is open, else all."""
        if any(not t.shape or t.shape[0] is not None for t in self.signature.inputs):
            return feeds
        return {name: feed[:rows] for name, feed in feeds.items()}


@contextmanager
def _in_float64(model: keras.Model) -> Iterator[None]:
    """Compute in float64, each layer's weights cast once it has its inputs: else all are from the start."""
    import keras
    import tensorflow as tf

    layer: Any = keras.Layer
    original = layer.__call__

    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        tensors = filter(tf.is_tensor, keras.tree.flatten((arguments, options)))
        with tf.control_dependencies(list(tensors)):
            return original(self, *arguments, **options)

    try:
        layer.__call__ = call
        with computing_in_float64(model):
            yield
    finally:
        layer.__call__ = original


@contextmanager
def _recording(values: dict[int, np.ndarray]) -> Iterator[None]:
    """Keep what layers and operations of Keras's give, however deep they lie in the model."""
    import keras

    kinds: tuple[Any, ...] = (keras.Layer, keras.Operation)
    originals = [kind.__call__ for kind in kinds]

    def recorded(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, *arguments: Any, **options: Any) -> Any:
            answer = original(self, *arguments, **options)
            for leaf in keras.tree.flatten(answer):
                # Within a loop or a compiled function there are no values.
                if hasattr(leaf, "numpy") and leaf.dtype.name == "float32":
                    array = np.asarray(leaf)
                    values[array.ctypes.data] = array
            return answer

        return call

    try:
        for kind, original in zip(kinds, originals, strict=True):
            kind.__call__ = recorded(original)
        yield
    finally:
        for kind, original in zip(kinds, originals, strict=True):
            kind.__call__ = original
