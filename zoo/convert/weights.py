"""Keeps a large model's weights out of TensorFlow's graph and of tf2onnx's, which both copy them many times.

    large variables -> inputs of the traced function -> inputs of tf2onnx's graph
                    -> initializers without values (passes/large_weights.py), read when the file is written

Memory then holds what Keras has, and one tensor more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from zoo.convert.layers import all_layers
from zoo.convert.passes.large_weights import LargeWeights

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

#: Bytes of weights from which a model is large: below, all of it is converted at once.
LARGE_MODEL = 2**25

#: Bytes of a variable that is kept out. Smaller ones are folded and fused as they always are.
LARGE_VARIABLE = 2**16

#: Kinds of weights that are read as float32, in which every file computes (patches.py).
REAL = {"float32", "float16", "bfloat16", "float64"}


#: Begins the names that large weights have until the graph is cleaned.
WEIGHT = "zoo_weight_"


def weight_key(position: int) -> str:
    """Return the name that a large weight has until the graph is cleaned."""
    return f"{WEIGHT}{position:05d}"


def large_variables(model: keras.Model) -> tuple[keras.Variable, ...]:
    """Return the variables of a large model that are kept out of its graph, none of a smaller model.

    Recurrent layers read their own to write ONNX's operators, so those stay.
    """
    variables = {id(v): v for v in model.weights if _bytes(v) >= LARGE_VARIABLE and _is_real(v)}
    if sum(map(_bytes, model.weights)) < LARGE_MODEL:
        return ()
    for layer in _recurrent(model):
        for variable in layer.variables:
            variables.pop(id(variable), None)
    return tuple(variables.values())


@contextmanager
def reading(variables: Sequence[keras.Variable], tensors: Sequence[tf.Tensor]) -> Iterator[None]:
    """Let variables have the values of tensors, while a function is traced; they cannot be assigned."""
    before = [variable._value for variable in variables]
    try:
        for variable, tensor in zip(variables, tensors, strict=True):
            variable._value = tensor
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable._value = value


def initializers(
    variables: Sequence[keras.Variable], large: LargeWeights
) -> dict[str, TensorProto]:
    """Return the initializer of each variable by its key; values are read as they are then."""
    return {
        weight_key(i): large.add(
            weight_key(i), tuple(variable.shape), TensorProto.FLOAT, partial(_values, variable)
        )
        for i, variable in enumerate(variables)
    }


def _values(variable: keras.Variable) -> np.ndarray:
    return np.asarray(variable.numpy()).astype(np.float32, copy=False)


def _bytes(variable: keras.Variable) -> int:
    return int(math.prod(variable.shape)) * 4


def _is_real(variable: keras.Variable) -> bool:
    return str(variable.dtype) in REAL


def _recurrent(model: keras.Model) -> list[keras.Layer]:
    import keras

    kinds = (keras.layers.RNN, keras.layers.Bidirectional)
    return [layer for layer in all_layers(model) if isinstance(layer, kinds)]
