"""Patches of Keras while a model is traced; all are undone afterwards, also after an error.

recurrent layers    call answers with a token, for which the ONNX operator is written later
lookup tables       likewise: the frozen graph has no tables
text                likewise: splitting into words (text_vectorization.py)
inner jit           tf.function(jit_compile=True) becomes a plain function, which is inlined
open dimensions     resizing and TimeDistributed where sizes are not known (open_dimensions.py)
signbit             by comparing, since ONNX cannot look at a number's bits; argmax asks for it
slice_update        by selecting: XLA's operator, which writes a decoder's cache, has no counterpart
silu                by multiplying: TensorFlow keeps a graph with its own silu for good
cast to float8      by rounding, since tf2onnx knows no such type; layers quantised so round by it
dtype policies      mixed_float16 and the like compute in float32, as their weights are
recurrent state     reset before, restored after (states.py)
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from zoo.convert.backend_functions import Original, replaced, silu_without_gradient
from zoo.convert.layers import all_layers
from zoo.convert.open_dimensions import open_dimensions
from zoo.convert.recurrent.substitute import substituted
from zoo.convert.signature import Signature
from zoo.convert.states import without_state
from zoo.convert.text_vectorization import text_tokens
from zoo.convert.tokens import Tokens, placeholder

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

HALF = {"float16", "bfloat16", "float64"}

FLOAT8, FLOAT8_MAX = "float8_e4m3fn", 448.0


@contextmanager
def patched(
    model: keras.Model, signature: Signature | None = None, *, reset_states: bool = False
) -> Iterator[Tokens]:
    """Yield the tokens that tracing within this context will fill.

    Raises CheckFailed for a stateful model unless `reset_states`, or the signature has its states as inputs.
    """
    layers = all_layers(model)
    tokens: Tokens = {}
    with ExitStack() as stack:
        stack.enter_context(without_state(model, signature, reset_states=reset_states))
        stack.enter_context(computing_in_float32(model))
        stack.enter_context(_without_inner_jit())
        stack.enter_context(replaced("numpy", "signbit", _signbit))
        stack.enter_context(replaced("core", "slice_update", _slice_update))
        stack.enter_context(replaced("core", "cast", _cast))
        stack.enter_context(silu_without_gradient())
        stack.enter_context(open_dimensions(layers))
        for layer in layers:
            stack.enter_context(_lookup_tokens(layer, tokens))
            stack.enter_context(text_tokens(layer, tokens))
        stack.enter_context(substituted(layers, tokens))
        yield tokens


@contextmanager
def computing_in_float32(model: keras.Model) -> Iterator[None]:
    """Let layers of half or double precision compute in float32, what is quantised in between too.

    The weights of mixed policies are float32 already, those of others are cast where they are
    read; runtimes lack kernels for such numbers, or round differently.
    """
    with _computing_in("float32", model, HALF):
        yield


@contextmanager
def computing_in_float64(model: keras.Model) -> Iterator[None]:
    """Let all layers compute in float64, with the weights that they have."""
    with _computing_in("float64", model, HALF | {"float32"}):
        yield


@contextmanager
def _computing_in(dtype: str, model: keras.Model, instead_of: Container[str]) -> Iterator[None]:
    changed = _computed_in(instead_of, model)
    try:
        for layer, policy in changed:
            layer.__dict__["_dtype_policy"] = _policy_of(dtype, policy)
        yield
    finally:
        for layer, policy in changed:
            layer.__dict__["_dtype_policy"] = policy


def _policy_of(dtype: str, policy: keras.DTypePolicy) -> keras.DTypePolicy:
    """Return a policy of the same variables, quantised alike, that computes in another type."""
    import keras

    if isinstance(policy, keras.dtype_policies.DTypePolicyMap):  # the layers within have their own
        return keras.dtype_policies.DTypePolicy(dtype)
    policy = copy(policy)
    policy._compute_dtype = dtype
    return policy


def half_precision(model: keras.Model) -> list[str]:
    """Return the policies of the layers that `computing_in_float32` would change."""
    return sorted({policy.name for _, policy in _computed_in(HALF, model)})


def _computed_in(
    dtypes: Container[str], model: keras.Model
) -> list[tuple[keras.Layer, keras.DTypePolicy]]:
    """Return the layers that compute in one of these types, and their policies."""
    policies = [(layer, getattr(layer, "_dtype_policy", None)) for layer in all_layers(model)]
    return [(layer, p) for layer, p in policies if p is not None and p.compute_dtype in dtypes]


@contextmanager
def _without_inner_jit() -> Iterator[None]:
    """Make tf.function ignore jit_compile.

    Keras compiles grouped convolutions on the CPU (keras/src/backend/tensorflow/nn.py), and a
    compiled function stays a call (StatefulPartitionedCall) that tf2onnx does not look into.
    """
    import tensorflow as tf

    original = tf.function

    def function(func: Callable[..., object] | None = None, **options: object) -> object:
        options.pop("jit_compile", None)
        return original(func, **options)

    tf.function = function
    try:
        yield
    finally:
        tf.function = original


def _signbit(original: Original, x: tf.Tensor) -> tf.Tensor:
    """Compare: a negative number, or the zero of which 1/x is negative.

    Keras's argmax prefers 0 to -0 (keras/src/backend/tensorflow/numpy.py), and finds the sign by
    Bitcast. Right for every number; NaN has no sign here.
    """
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        return original(x)
    return tf.logical_or(x < 0, 1 / x < 0)


def _slice_update(
    original: Original, inputs: tf.Tensor, start_indices: tf.Tensor, updates: tf.Tensor
) -> tf.Tensor:
    """Take each element from the update where it lies within, else from the input.

    As XLA's, a start that is too large is as large as it can be.
    """
    import tensorflow as tf

    inputs = tf.convert_to_tensor(inputs)
    updates = tf.cast(updates, inputs.dtype)
    whole, part = tf.shape(inputs), tf.shape(updates)
    inside = None
    for axis, start in enumerate(tf.unstack(tf.cast(start_indices, tf.int32), inputs.shape.rank)):
        known = inputs.shape[axis]
        if known is not None and known == updates.shape[axis]:
            continue
        start = tf.clip_by_value(start, 0, whole[axis] - part[axis])
        place = tf.range(whole[axis]) - start
        if updates.shape[axis] != 1:  # one is spread by broadcasting
            updates = tf.gather(updates, tf.clip_by_value(place, 0, part[axis] - 1), axis=axis)
        here = tf.logical_and(place >= 0, place < part[axis])
        here = tf.reshape(here, [-1, *[1] * (inputs.shape.rank - axis - 1)])
        inside = here if inside is None else tf.logical_and(inside, here)
    return updates if inside is None else tf.where(inside, updates, inputs)


def _cast(original: Original, x: tf.Tensor, dtype: str) -> tf.Tensor:
    """Round to the numbers that float8_e4m3fn has, and stay in the type that computes.

    They are multiples of a power of 2 that grows with the number: of the smallest number, below the
    smallest normal one. What rounds beyond the largest is no number.
    """
    import tensorflow as tf

    if dtype != FLOAT8:
        return original(x, dtype)
    x = tf.cast(x, tf.float32)
    powers = 2.0 ** np.arange(-5, 9, dtype=np.float32)
    above = tf.reduce_sum(tf.cast(tf.abs(x)[..., None] >= powers, tf.int32), axis=-1)
    unit = tf.gather(2.0 ** np.arange(-9, 6, dtype=np.float32), above)
    rounded = tf.round(x / unit) * unit
    return tf.where(tf.abs(rounded) > FLOAT8_MAX, np.float32("nan"), rounded)


class Lookup:
    """A table's content: parallel lists of keys and values, and what unknown keys give."""

    def __init__(self, table: tf.lookup.StaticHashTable) -> None:
        keys, values = table.export()
        self.keys = keys.numpy()
        self.values = values.numpy()
        self.default = table.default_value.numpy()
        self.key_dtype = table.key_dtype
        self.value_dtype = table.value_dtype

    def __str__(self) -> str:
        return f"a lookup table of {len(self.keys)} entries"


@contextmanager
def _lookup_tokens(layer: keras.Layer, tokens: Tokens) -> Iterator[None]:
    """Replace a StringLookup's or IntegerLookup's table by a token."""
    table = getattr(layer, "lookup_table", None)
    if table is None or not hasattr(table, "export"):
        yield
        return
    content = Lookup(table)
    original: Original = table.lookup

    def lookup(keys: tf.Tensor, name: str | None = None) -> tf.Tensor:
        (values,), token = placeholder([keys], [content.value_dtype], [keys.shape], content)
        tokens[token] = content
        return values

    table.lookup = lookup
    try:
        yield
    finally:
        table.lookup = original
