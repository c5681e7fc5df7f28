"""JSON's nested arrays to arrays of numpy, a slice at a time, so that other threads run in between."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from zoo_server.datatypes import DataType
from zoo_server.errors import InvalidRequest, UnreadableJson
from zoo_server.inference.request import TensorData

#: JSON values; of what type they are is found out for all of them at once (types_of).
Values = list[Any]

#: Triton's bound on how deep `data` may be nested.
MAX_DEPTH = 100

#: Elements converted at once: in between other threads run.
_ELEMENTS_AT_ONCE = 1 << 14


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from looking at a large request, during which no thread runs.

    Its nested arrays are in no circle, and gone once they are arrays of numpy.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def flatten(data: Values) -> Values:
    """Return the elements of nested arrays, row-major; InvalidRequest below 100 levels."""
    for _ in range(MAX_DEPTH):
        kinds = types_of(data)
        if list not in kinds:
            return data
        if len(kinds) == 1:
            data = joined(data)
        else:
            flat: Values = []
            for item in data:
                flat += item if type(item) is list else (item,)
            data = flat
    raise InvalidRequest(f"JSON nesting depth exceeds maximum allowed limit ({MAX_DEPTH})")


def joined(lists: list[Values]) -> Values:
    """Return the elements of all lists; the first takes those of the others, which are emptied."""
    flat = lists[0]  # often the only one, and too long to be copied in one go
    for item in lists[1:]:
        flat += item
        item.clear()  # the elements go with `flat`
    return flat


def types_of(values: Values) -> set[type]:
    """Return the types of the elements."""
    return {kind for part in parts_of(values) for kind in set(map(type, part))}


def parts_of(values: Values) -> Iterator[Values]:
    """Yield slices, in between which other threads may run."""
    for begin in range(0, len(values), _ELEMENTS_AT_ONCE):
        yield values[begin : begin + _ELEMENTS_AT_ONCE]


#: What JSON's elements must be, by the kind of the datatype's numpy dtype, and Triton's words if not.
JSON_TYPES: dict[str, tuple[set[type], str]] = {
    "b": ({bool}, "'data': attempt to access JSON non-boolean as boolean"),
    "i": ({int}, "'data': attempt to access JSON non-signed-integer as signed-integer"),
    "u": ({int}, "'data': attempt to access JSON non-unsigned-integer as unsigned-integer"),
    "f": ({int, float}, "'data': attempt to access JSON non-number as double"),
    "O": ({str}, "JSON bytes array: attempt to access JSON non-string as string"),
}

#: What Triton reads JSON integers as, before it looks at the datatype.
_CARRIERS = {"i": np.iinfo(np.int64), "u": np.iinfo(np.uint64)}


def elements(flat: Values, row: DataType, name: str) -> TensorData:
    """Return JSON values as an array in one dimension, or as BYTES elements; `flat` is emptied.

    UnreadableJson for values of another type, InvalidRequest for numbers out of range.
    """
    kinds, words = JSON_TYPES[row.numpy.kind]
    if not types_of(flat) <= kinds:
        raise UnreadableJson(f"Unable to parse {words} in input '{name}'")
    try:
        if row.byte_size is None:
            return [element.encode() for element in flat]
        if row.numpy.kind in "iu" and flat:
            limits = np.iinfo(row.numpy)
            low, high = min(map(min, parts_of(flat))), max(map(max, parts_of(flat)))
            if low < _CARRIERS[row.numpy.kind].min or high > _CARRIERS[row.numpy.kind].max:
                raise UnreadableJson(f"Unable to parse {words} in input '{name}'")
            if low < limits.min or high > limits.max:
                bad = low if low < limits.min else high
                raise InvalidRequest(
                    f"value {str(bad)[:40]} of input '{name}' is out of range for datatype "
                    f"'{row.wire}'"
                )
        with np.errstate(over="ignore"):  # too large for FP32 is infinite, as in Triton
            return _array(flat, row.numpy)
    except UnicodeEncodeError:
        raise UnreadableJson(f"a string element of input '{name}' is not valid Unicode") from None
    except OverflowError:
        raise InvalidRequest(f"a value of input '{name}' is too large for {row.wire}") from None


def _array(flat: Values, dtype: np.dtype) -> np.ndarray:
    """Return the elements as an array, and empty the list: to free it at once takes as long."""
    values = np.empty(len(flat), dtype)
    while flat:
        begin = max(0, len(flat) - _ELEMENTS_AT_ONCE)
        values[begin : len(flat)] = np.array(flat[begin:], dtype)
        del flat[begin:]
    return values
