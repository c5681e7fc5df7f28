"""Converts what a caller has (arrays, lists, images, files, pandas rows, text) to a model's tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import UsageError
from zoo.models.input_text import read_bytes, read_file, read_text
from zoo.models.interface import Array, InputSpec
from zoo_server.images import reading


def tensors(
    values: Sequence[Any], named: Mapping[str, Any], inputs: Sequence[InputSpec]
) -> dict[str, Array]:
    """Return the tensors to run, rows first: `values` one for each input in order, or by name.

    One value that is a mapping by the inputs' names stands for all. Raises UsageError with the
    expected and the actual sizes where something does not fit.
    """
    specs = {spec.name: spec for spec in inputs}
    if len(values) == 1 and not named:
        (value,) = values
        if isinstance(value, str):
            value = read_text(value, inputs[0])
        if isinstance(value, Mapping) and not set(value) <= set(inputs[0].features):
            return _by_name(value, specs)
        values = (value,)
    if named and not values:
        return _by_name(named, specs)
    if named or len(values) != len(inputs):
        names = ", ".join(specs)
        count = f"{len(values)} given" + (f", and {len(named)} by name" if named else "")
        raise UsageError(
            f"the model's inputs are {names}: give each once, in this order or by name, "
            f"as one value like 1,2,3 ({count})"
        )
    return _same_rows({spec.name: _tensor(v, spec) for v, spec in zip(values, inputs, strict=True)})


def _by_name(values: Mapping[str, Any], specs: Mapping[str, InputSpec]) -> dict[str, Array]:
    if set(values) != set(specs):
        raise UsageError(f"the model's inputs are {', '.join(specs)}, not {', '.join(values)}")
    return _same_rows({name: _tensor(values[name], spec) for name, spec in specs.items()})


def _same_rows(feeds: dict[str, Array]) -> dict[str, Array]:
    counts = {name: len(array) if array.ndim else 1 for name, array in feeds.items()}
    if len(set(counts.values())) > 1:
        seen = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise UsageError(f"the inputs have different numbers of rows: {seen}")
    return feeds


def _tensor(value: Any, spec: InputSpec) -> Array:
    """Return any kind of value as the input's type and shape."""
    if isinstance(value, str):
        value = read_text(value, spec)
    elif isinstance(value, Path):
        value = read_file(value, spec)
    elif isinstance(value, bytes):
        value = read_bytes(value, "the content", spec)
    elif isinstance(value, Mapping) or _is_table(value):
        value = _columns(value, spec)
    elif spec.image is not None:
        value = _images(value, spec)
    elif reading.is_picture(value):
        raise UsageError(f"the input {spec.name} of this model does not take images")
    return fit(value, spec)


def _is_table(value: Any) -> bool:
    """Tell whether this is a row or a table of pandas's, without importing it."""
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "to_numpy")


def _columns(value: Any, spec: InputSpec) -> Any:
    """Return a mapping, a row or a table in the order of the model's features, if it has those."""
    names = list(spec.features)
    keys = [str(key) for key in (value.columns if hasattr(value, "columns") else value.keys())]
    if names and set(names) <= set(keys):
        return np.stack([np.asarray(value[name]) for name in names], axis=-1)
    if isinstance(value, Mapping):
        expected = ", ".join(names) or "none that have names"
        raise UsageError(f"input {spec.name} takes the columns {expected}, not {', '.join(keys)}")
    return value.to_numpy()


def _images(value: Any, spec: InputSpec) -> Any:
    """Return pictures in the model's values; what holds such values already as it is."""
    assert spec.image is not None
    if reading.is_picture(value):
        return reading.values_of(value, spec.image)
    if isinstance(value, list | tuple) and value and all(map(_is_image, value)):
        return np.stack([_one_image(item, spec) for item in value])
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and not _fits(value, spec):
        pictures = value if value.ndim == 4 else value[None]
        try:
            return np.stack(
                [reading.values_of(reading.picture_of_pixels(p), spec.image) for p in pictures]
            )
        except reading.UnreadablePicture as error:
            raise UsageError(str(error)) from error
    return value


def _is_image(item: Any) -> bool:
    pixels = isinstance(item, np.ndarray) and item.dtype == np.uint8
    return isinstance(item, str | Path | bytes) or reading.is_picture(item) or pixels


def _one_image(item: Any, spec: InputSpec) -> Array:
    rows = _tensor(item, spec)
    if len(rows) != 1:
        raise UsageError(f"input {spec.name}: an image of a list holds {len(rows)} rows, not one")
    row: Array = rows[0]
    return row


def _fits(array: Array, spec: InputSpec) -> bool:
    """Tell whether an array is one or several of the input's rows, with or without channels."""
    shapes = (spec.dims, spec.dims[:-1]) if spec.dims[-1] == 1 else (spec.dims,)
    return any(array.shape == dims or array.shape[1:] == dims for dims in shapes)


def fit(values: Any, spec: InputSpec) -> Array:
    """Return values as the input's type and shape: one row, several rows, or flat numbers."""
    try:
        array = np.asarray(values, dtype=spec.dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"input {spec.name} takes {spec.dtype} values: {error}") from error
    if not spec.batched:
        if _matches(array.shape, spec.dims):
            return array
        raise UsageError(f"input {spec.name} is {list(spec.dims)}, not {list(array.shape)}")
    shaped = _rows(array, spec.dims)
    if shaped is None or not len(shaped):
        expected = " × ".join("any" if dim == -1 else str(dim) for dim in spec.dims)
        actual = " × ".join(map(str, array.shape)) or "one value"
        raise UsageError(f"input {spec.name} takes {expected} values a row, not {actual}")
    return shaped


def _rows(array: Array, dims: tuple[int, ...]) -> Array | None:
    """Return an array as rows of `dims`, None if it cannot be one or more of them."""
    if _matches(array.shape, dims):
        return array[None]
    if _matches(array.shape[1:], dims):
        return array
    if dims[-1:] == (1,):
        # Without the last dimension, as grey images and series of one value often are.
        if _matches(array.shape, dims[:-1]) and array.ndim:
            return array[None, ..., None]
        if array.ndim > 1 and _matches(array.shape[1:], dims[:-1]):
            return array[..., None]
    size = prod(dims)
    if -1 not in dims:
        rows = array.ndim == 2 and array.shape[1] == size
        if rows or (array.ndim <= 1 and array.size and array.size % size == 0):
            return array.reshape(-1, *dims)
    elif dims.count(-1) == 1 and array.ndim == 1 and array.size and array.size % -size == 0:
        return array.reshape(1, *dims)  # one row, as long as it is
    return None


def _matches(shape: tuple[int, ...], dims: tuple[int, ...]) -> bool:
    return len(shape) == len(dims) and all(b in (-1, a) for a, b in zip(shape, dims, strict=True))
