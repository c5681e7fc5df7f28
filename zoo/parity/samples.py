"""Rows of a user's model: those that the user gives, or random ones.

The user's own rows say most. Without them, seeded random rows stand in: normal for floats, and for
integers and strings values that the model's own tables know, besides one that they do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoo.convert.layers import all_layers
from zoo.convert.signature import Signature, Tensor
from zoo.errors import UsageError

if TYPE_CHECKING:
    import keras
    from numpy.typing import ArrayLike

SEED = 0

Feeds = dict[str, np.ndarray]
Samples = object


def sample_rows(signature: Signature, samples: Samples) -> Feeds:
    """Return the user's rows by the names of the inputs that the call takes, in the model's types."""
    names = [tensor.name for tensor in signature.own_inputs]
    if isinstance(samples, Mapping):
        if set(samples) != set(names) and not (len(names) == len(samples) == 1):
            raise UsageError(f"samples are for {list(samples)}, and the inputs are {names}")
        rows = list(samples.values()) if len(names) == 1 else [samples[name] for name in names]
    else:
        rows = list(samples) if isinstance(samples, list | tuple) else [samples]
    if len(rows) != len(names):
        raise UsageError(f"{len(rows)} arrays of samples for the {len(names)} inputs {names}")
    feeds = {}
    for tensor, values in zip(signature.own_inputs, rows, strict=True):
        array = _array(tensor, values)
        shape = (None, *tensor.shape[1:])
        if array.ndim != len(shape) or not len(array):
            raise UsageError(f"samples of {tensor.name} are {list(array.shape)}, not {list(shape)}")
        wrong = [(a, b) for a, b in zip(array.shape[1:], shape[1:], strict=True) if b and a != b]
        if wrong:
            raise UsageError(f"samples of {tensor.name} are {list(array.shape)}, not {list(shape)}")
        feeds[tensor.name] = _cast(tensor, array)
    sizes = {name: len(rows) for name, rows in feeds.items()}
    if len(set(sizes.values())) > 1:
        raise UsageError(f"samples have different numbers of rows: {sizes}")
    return feeds


def _array(tensor: Tensor, values: ArrayLike) -> np.ndarray:
    try:
        array: np.ndarray = np.asarray(values)
    except (TypeError, ValueError) as error:  # rows of different lengths, a foreign array's refusal
        raise UsageError(f"samples of {tensor.name} are no array: {error}") from error
    return array


def _cast(tensor: Tensor, array: np.ndarray) -> np.ndarray:
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


def repeated(user_rows: Mapping[str, np.ndarray], batch: int) -> Feeds:
    """Return the first rows, over again if there are too few."""
    return {name: rows[np.arange(batch) % len(rows)] for name, rows in user_rows.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What random rows are: the size of open dimensions, and which numbers.

    `integers` are from the first to below the second, None for what the model looks up; real numbers
    are normal, or their distance from 0 added to `least`.
    """

    open_size: int = 1
    integers: tuple[int, int] | None = None
    least: float | None = None


def random_rows(model: keras.Model, signature: Signature, batch: int, draw: Draw) -> Feeds:
    """Draw rows for every input."""
    generator = np.random.default_rng((SEED, batch))
    words = _vocabulary(model)
    low, high = draw.integers or (0, _limit(model))
    feeds = {}
    for tensor in signature.inputs:
        rest = [draw.open_size if size is None else size for size in tensor.shape[1:]]
        shape = (tensor.shape[0] or batch, *rest) if tensor.shape else ()
        if tensor.dtype == "string":
            feeds[tensor.name] = generator.choice(np.array(words, object), size=shape)
        elif tensor.dtype == "bool":
            feeds[tensor.name] = generator.integers(0, 2, shape).astype(bool)
        elif tensor.dtype.startswith(("int", "uint")):
            feeds[tensor.name] = generator.integers(low, high, shape).astype(tensor.dtype)
        else:
            values = generator.normal(size=shape)
            values = values if draw.least is None else draw.least + np.abs(values)
            feeds[tensor.name] = values.astype(tensor.dtype)
    return feeds


def _limit(model: keras.Model) -> int:
    """Return the smallest number of entries that the model looks up by an integer."""
    layers = all_layers(model)
    sizes = [getattr(layer, "input_dim", None) for layer in layers]
    sizes += [getattr(layer, "num_tokens", None) for layer in layers]
    known = [size for size in sizes if isinstance(size, int) and size > 0]
    return min(known, default=8)


def _vocabulary(model: keras.Model) -> list[str]:
    """Return words for string inputs: what the lookup layers know, and one that none does."""
    words: list[str] = []
    texts: list[str] = []
    for layer in all_layers(model):
        if hasattr(layer, "get_vocabulary"):
            words += [str(word) for word in layer.get_vocabulary() if str(word)]
        texts += _texts(words) if getattr(layer, "_split", None) else []
    return [*dict.fromkeys([*words, *texts]), "zoo: not a known word"]


def _texts(words: Sequence[str]) -> list[str]:
    """Return texts of these words: none, several in a row, in capitals, with what is cleaned away."""
    a, b = (words or ["a"])[0], (words or ["b"])[-1]
    return ["", f" {a}\t{b}  {a.upper()}, É{b}!", f"{b}\n\u00a0{b}-{a} '{b}'", f"{a} " * 9]
