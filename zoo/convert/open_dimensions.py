"""Patches of Keras for dimensions that are open, where Keras decides in Python, or maps over slices.

TimeDistributed    batch and time become one dimension for the layer inside; Keras maps it over the
                   steps of an open time, of which tf2onnx loses the length
image.resize       takes sizes that are known when the graph runs; Keras 3.15 compares them with 0 in
                   Python, and so refuses UpSampling2D of images of any size

TimeDistributed so written is equal where the layer treats each row by itself, as every layer of
Keras's does in inference; of a foreign one, parity judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


@contextmanager
def open_dimensions(layers: list[keras.Layer]) -> Iterator[None]:
    """Put the patches in place, and Keras's own back at the end."""
    import keras

    with ExitStack() as stack:
        for layer in layers:
            if type(layer) is keras.layers.TimeDistributed:
                stack.enter_context(_steps_as_rows(layer))
        stack.enter_context(_resize_by_open_sizes())
        yield


@contextmanager
def _steps_as_rows(layer: keras.Layer) -> Iterator[None]:
    original: Callable[..., tf.Tensor] = layer.call

    def call(inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor = None) -> tf.Tensor:
        if inputs.shape[1] is not None:
            return original(inputs, training=training, mask=mask)
        options: dict[str, object] = {}
        if layer.layer._call_has_mask_arg and mask is not None:
            options["mask"] = _merged(mask)
        if layer.layer._call_has_training_arg:
            options["training"] = training
        return _split(layer.layer.call(_merged(inputs), **options), inputs)

    layer.__dict__["call"] = call
    try:
        yield
    finally:
        layer.__dict__.pop("call", None)


def _merged(tensor: tf.Tensor) -> tf.Tensor:
    """[batch, time, ...] -> [batch * time, ...]"""
    import tensorflow as tf

    rest = tensor.shape[2:]
    if None not in rest:
        return tf.reshape(tensor, [-1, *rest])
    return tf.ensure_shape(
        tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[2:]], 0)), [None, *rest]
    )


def _split(tensor: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """[batch * time, ...] -> [batch, time, ...]"""
    import tensorflow as tf

    shape = tf.concat([tf.shape(like)[:2], tf.shape(tensor)[1:]], 0)
    return tf.ensure_shape(tf.reshape(tensor, shape), [*like.shape[:2], *tensor.shape[1:]])


@contextmanager
def _resize_by_open_sizes() -> Iterator[None]:
    from keras.src.ops import image

    original = image.resize

    def resize(images: tf.Tensor, size: Sequence[int], **options: object) -> tf.Tensor:
        if all(isinstance(item, int) for item in size):
            return original(images, size, **options)
        return image._resize(images, size, **options)

    image.resize = resize
    try:
        yield
    finally:
        image.resize = original
