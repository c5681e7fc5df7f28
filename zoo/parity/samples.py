"""Test cases of a user's model: given or random rows, in batches of 1 and 7, with Keras's answers.

The user's own rows say most. Without them, seeded random rows stand in: normal for floats, and for
integers and strings values that the model's own tables know, besides one that they do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from zoo.convert.function import reason_of
from zoo.convert.patches import all_layers, computing_in_float32, without_state
from zoo.convert.signature import Signature, Tensor
from zoo.errors import CheckFailed, UsageError
from zoo.parity.compare import Case

BATCHES = (1, 7)

SEED = 0

#: Sizes tried for dimensions that the model leaves open, one pair for the two batches: they differ,
#: so that a size frozen into the graph shows. Larger ones for models that shrink their input.
OPEN_SIZES = ((5, 8), (16, 24), (32, 48), (64, 96), (224, 256))

Feeds = dict[str, np.ndarray]
Samples = Any


def cases(
    model: Any,
    signature: Signature,
    outputs: Sequence[Tensor],
    samples: Samples = None,
    *,
    reset_states: bool = False,
) -> tuple[Case, ...]:
    """Return feeds and Keras's answers, at batch 1 and 7, or at the batch that the model fixes.

    `samples` is an array, a list in Keras's order or a mapping by input name, at least one row
    each; None draws seeded random rows. Raises UsageError for samples that do not fit, CheckFailed
    if Keras itself cannot answer.
    """
    user_rows = None if samples is None else sample_rows(signature, samples)
    fixed = {t.shape[0] for t in signature.inputs if t.shape and t.shape[0] is not None}
    batches = tuple(sorted(fixed)[:1]) or BATCHES
    first_error: Exception | None = None
    for sizes in OPEN_SIZES:
        try:
            cases = []
            for batch, open_size in zip(batches, sizes, strict=False):
                if user_rows is None:
                    feeds = _random(model, signature, batch, open_size)
                    kind = "random rows"
                else:
                    feeds, kind = _rows(user_rows, batch), "given rows"
                expected = answers(model, signature, outputs, feeds, reset_states=reset_states)
                cases.append(Case(name=f"{kind}, batch {batch}", feeds=feeds, expected=expected))
            return tuple(cases)
        except (UsageError, CheckFailed):
            raise
        except Exception as error:  # Keras refuses rows by whatever its backend raises
            first_error = first_error or error
            if user_rows is not None or not any(None in t.shape[1:] for t in signature.inputs):
                break
    assert first_error is not None
    cure = (
        "give rows that it can answer (samples, --samples)"
        if user_rows is None
        else "mend the rows"
    )
    raise CheckFailed(f"Keras itself cannot answer: {reason_of(first_error)}; {cure}")


def answers(
    model: Any,
    signature: Signature,
    outputs: Sequence[Tensor],
    feeds: Mapping[str, np.ndarray],
    *,
    reset_states: bool = False,
) -> Feeds:
    """Return Keras's answers by output name, computed in float32 and from reset state."""
    import keras
    import tensorflow as tf

    tensors = [tf.constant(feeds[tensor.name]) for tensor in signature.inputs]

    def ask() -> Any:
        return model(signature.pack(tensors), training=False)

    with _inference(model, reset_states):
        try:
            answer = ask()
        except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError) as error:
            # channels_first and dilated transposed convolutions have no plain kernel on the CPU,
            # and XLA has one. TensorFlow reports either of these, by operator.
            try:
                answer = tf.function(ask, jit_compile=True, autograph=False)()
            except Exception:  # what XLA cannot either: the first error says more
                raise error from None
    leaves = [np.asarray(leaf) for leaf in keras.tree.flatten(answer)]
    return {t.name: _typed(leaf, t.dtype) for t, leaf in zip(outputs, leaves, strict=True)}


def _typed(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return an answer as runtimes give it: strings as str, and no half precision."""
    if array.dtype == object:
        text = [item.decode() if isinstance(item, bytes) else item for item in array.ravel()]
        return np.array(text, object).reshape(array.shape)
    return array.astype(dtype)


@contextmanager
def _inference(model: Any, reset_states: bool) -> Iterator[None]:
    with without_state(model, all_layers(model), reset_states), computing_in_float32(model):
        yield


def sample_rows(signature: Signature, samples: Samples) -> Feeds:
    """Return the user's rows by input name, in the model's types."""
    names = [tensor.name for tensor in signature.inputs]
    if isinstance(samples, Mapping):
        if set(samples) != set(names) and not (len(names) == len(samples) == 1):
            raise UsageError(f"samples are for {list(samples)}, and the inputs are {names}")
        rows = list(samples.values()) if len(names) == 1 else [samples[name] for name in names]
    else:
        rows = list(samples) if isinstance(samples, list | tuple) else [samples]
    if len(rows) != len(names):
        raise UsageError(f"{len(rows)} arrays of samples for the {len(names)} inputs {names}")
    feeds = {}
    for tensor, values in zip(signature.inputs, rows, strict=True):
        array = _array(tensor, values)
        shape = (None, *tensor.shape[1:])
        if array.ndim != len(shape) or not len(array):
            raise UsageError(f"samples of {tensor.name} are {list(array.shape)}, not {list(shape)}")
        wrong = [(a, b) for a, b in zip(array.shape[1:], shape[1:], strict=True) if b and a != b]
        if wrong:
            raise UsageError(f"samples of {tensor.name} are {list(array.shape)}, not {list(shape)}")
        feeds[tensor.name] = _converted(tensor, array)
    sizes = {name: len(rows) for name, rows in feeds.items()}
    if len(set(sizes.values())) > 1:
        raise UsageError(f"samples have different numbers of rows: {sizes}")
    return feeds


def _array(tensor: Tensor, values: Any) -> np.ndarray:
    try:
        array: np.ndarray = np.asarray(values)
    except (TypeError, ValueError) as error:  # rows of different lengths, a foreign array's refusal
        raise UsageError(f"samples of {tensor.name} are no array: {error}") from error
    return array


def _converted(tensor: Tensor, array: np.ndarray) -> np.ndarray:
    """Return rows in an input's type; UsageError for those that would become other values."""
    if tensor.dtype == "string":
        return array.astype(object)
    if array.dtype.kind not in "biuf":
        raise UsageError(f"samples of {tensor.name} are {array.dtype}, not {tensor.dtype}")
    with np.errstate(invalid="ignore", over="ignore"):
        rows = array.astype(tensor.dtype)
    if not tensor.dtype.startswith("float") and not np.array_equal(rows, array):
        wrong = array[rows != array].flat[0]
        raise UsageError(f"samples of {tensor.name} hold {wrong}, which is no {tensor.dtype}")
    return rows


def _rows(user_rows: Mapping[str, np.ndarray], batch: int) -> Feeds:
    """Return the first rows, over again if there are too few."""
    return {name: rows[np.arange(batch) % len(rows)] for name, rows in user_rows.items()}


def _random(model: Any, signature: Signature, batch: int, open_size: int) -> Feeds:
    """Draw rows for every input."""
    generator = np.random.default_rng((SEED, batch))
    words = _vocabulary(model)
    limit = _limit(model)
    feeds = {}
    for tensor in signature.inputs:
        shape = (batch, *(open_size if size is None else size for size in tensor.shape[1:]))
        if tensor.dtype == "string":
            feeds[tensor.name] = generator.choice(np.array(words, object), size=shape)
        elif tensor.dtype == "bool":
            feeds[tensor.name] = generator.integers(0, 2, shape).astype(bool)
        elif tensor.dtype.startswith(("int", "uint")):
            feeds[tensor.name] = generator.integers(0, limit, shape).astype(tensor.dtype)
        else:
            feeds[tensor.name] = generator.normal(size=shape).astype(tensor.dtype)
    return feeds


def _limit(model: Any) -> int:
    """Return the smallest number of entries that the model looks up by an integer."""
    layers = all_layers(model)
    sizes = [getattr(layer, "input_dim", None) for layer in layers]
    sizes += [getattr(layer, "num_tokens", None) for layer in layers]
    known = [size for size in sizes if isinstance(size, int) and size > 0]
    return min(known, default=8)


def _vocabulary(model: Any) -> list[str]:
    """Return words for string inputs: what the lookup layers know, and one that none does."""
    words: list[str] = []
    for layer in all_layers(model):
        if hasattr(layer, "get_vocabulary"):
            words += [str(word) for word in layer.get_vocabulary() if str(word)]
    return [*dict.fromkeys(words), "zoo: not a known word"]
