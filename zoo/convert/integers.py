"""Finds which inputs of a subclassed model are integers or words, of which Keras records no type.

What an Embedding or a lookup reads, by way of operators that only rearrange, is an integer (a word
for StringLookup and TextVectorization). A model that cannot be called on real numbers at all, and can
on integers of one type, takes those. The caller's samples tell more surely, and come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zoo.convert.layers import all_layers
from zoo.convert.signature import Signature

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    from tensorflow.types.experimental import ConcreteFunction

#: Layers that look up, and the type of what they take.
LOOKUPS = {
    "Embedding": "int32",
    "ReversibleEmbedding": "int32",
    "IntegerLookup": "int64",
    "CategoryEncoding": "int32",
    "StringLookup": "string",
    "TextVectorization": "string",
    "Hashing": "string",
}

#: Types of inputs that take no real numbers.
INTEGERS = ("int32", "int64")

#: Operators that give the numbers they take.
REARRANGING = {
    "Identity", "Cast", "Reshape", "StridedSlice", "ExpandDims", "Squeeze", "Transpose", "ConcatV2",
    "Pack", "Unpack", "GatherV2", "Slice", "Pad", "PadV2", "EnsureShape", "Split", "SplitV",
}  # fmt: skip


def integer_inputs(model: keras.Model, signature: Signature, samples: object) -> Signature:
    """Return the signature with the types that samples or the model's own lookups tell."""
    if samples is not None:
        return _of_samples(signature, samples)
    readers = [layer for layer in all_layers(model) if _kind(layer)]
    types = _read_by(model, signature, readers) if readers else {}
    if not types:
        return _of_one_integer_type(model, signature)
    inputs = tuple(
        replace(tensor, dtype=types.get(i, tensor.dtype))
        for i, tensor in enumerate(signature.inputs)
    )
    typed = replace(signature, inputs=inputs)
    return typed if _traced(model, typed) is not None else signature


def _of_one_integer_type(model: keras.Model, signature: Signature) -> Signature:
    """Return the signature with integers if the model takes no real numbers and one such type."""
    if any(t.dtype != "float32" for t in signature.inputs) or _traced(model, signature):
        return signature
    typed = [
        replace(signature, inputs=tuple(replace(t, dtype=kind) for t in signature.inputs))
        for kind in INTEGERS
    ]
    possible = [candidate for candidate in typed if _traced(model, candidate) is not None]
    return possible[0] if len(possible) == 1 else signature


def _of_samples(signature: Signature, samples: object) -> Signature:
    import keras

    leaves = [np.asarray(leaf) for leaf in keras.tree.flatten(samples)]
    if len(leaves) != len(signature.inputs):
        return signature  # what compares them with the inputs says so
    by_name = samples if isinstance(samples, dict) else {}
    inputs = []
    for tensor, leaf in zip(signature.inputs, leaves, strict=True):
        array = np.asarray(by_name.get(tensor.name, leaf))
        if array.dtype.kind in "iub":
            tensor = replace(tensor, dtype=array.dtype.name)
        elif array.dtype.kind in "OSU":
            tensor = replace(tensor, dtype="string")
        inputs.append(tensor)
    return replace(signature, inputs=tuple(inputs))


def _kind(layer: keras.Layer) -> str:
    """Return what a layer of Keras's looks up, empty for one that does not."""
    names = [kind.__name__ for kind in type(layer).__mro__ if kind.__module__.startswith("keras.")]
    return next((LOOKUPS[name] for name in names if name in LOOKUPS), "")


def _read_by(
    model: keras.Model, signature: Signature, readers: list[keras.Layer]
) -> dict[int, str]:
    """Return the types of those inputs, by position, that reach a lookup rearranged at most."""
    kinds: dict[int, str] = {}

    def watch(layer: keras.Layer, inputs: object) -> None:
        for name in _sources(inputs):
            if name.startswith("typed_input_"):
                kinds[int(name.removeprefix("typed_input_"))] = _kind(layer)

    with ExitStack() as stack:
        for layer in readers:
            stack.enter_context(_watched(layer, watch))
        _traced(model, signature)
    return kinds


@contextmanager
def _watched(layer: keras.Layer, watch: Callable[[keras.Layer, object], None]) -> Iterator[None]:
    original: Callable[..., object] = layer.call

    def call(inputs: object, *arguments: object, **options: object) -> object:
        watch(layer, inputs)
        return original(inputs, *arguments, **options)

    layer.__dict__["call"] = call
    try:
        yield
    finally:
        layer.__dict__.pop("call", None)


def _sources(tensor: tf.Tensor) -> set[str]:
    """Return the names of the placeholders that a traced tensor is rearranged from."""
    names, todo = set(), [getattr(tensor, "op", None)]
    while todo:
        operator = todo.pop()
        if operator is None:
            continue
        if operator.type == "Placeholder":
            names.add(operator.name)
        elif operator.type in REARRANGING:
            todo += [value.op for value in operator.inputs]
    return names


def _traced(model: keras.Model, signature: Signature) -> ConcreteFunction | None:
    """Return the traced model, None if it cannot be with inputs of these types."""
    import tensorflow as tf

    specification = [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=f"typed_input_{i}")
        for i, tensor in enumerate(signature.inputs)
    ]
    try:
        return tf.function(
            lambda *tensors: signature.call(model, tensors),
            input_signature=specification,
            autograph=False,
        ).get_concrete_function()
    except Exception:  # a model's own code may raise anything; `trace` says what, later
        return None
