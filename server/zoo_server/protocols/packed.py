"""Numbers and strings of long lists, converted in parts, so that other threads come in between.

bulk.py says which lists these are; short ones are protobuf's, in one go.
"""

from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

from zoo_server.errors import InvalidRequest

#: Bytes of varints that are read at once.
_STEP = 1 << 18

#: Elements of a list of protobuf's that are made into Python's objects at once.
_CONVERTED_AT_ONCE = 1 << 14

#: A varint of 64 bits, at most.
_MOST_BYTES = 10

#: Types of numbers that lie in a packed list as they do in memory.
_FIXED = frozenset({FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE})

_DTYPES = {
    FieldDescriptor.CPPTYPE_BOOL: np.dtype("?"),
    FieldDescriptor.CPPTYPE_INT32: np.dtype("<i4"),
    FieldDescriptor.CPPTYPE_UINT32: np.dtype("<u4"),
    FieldDescriptor.CPPTYPE_INT64: np.dtype("<i8"),
    FieldDescriptor.CPPTYPE_UINT64: np.dtype("<u8"),
    FieldDescriptor.CPPTYPE_FLOAT: np.dtype("<f4"),
    FieldDescriptor.CPPTYPE_DOUBLE: np.dtype("<f8"),
}


class Strings(list[bytes]):
    """A long list of strings, which lets go of them in parts."""

    def __del__(self) -> None:
        while self:
            del self[-_CONVERTED_AT_ONCE:]


def _varints(packed: memoryview, message: str) -> np.ndarray:
    """Return packed varints as uint64; InvalidRequest, naming the message, if they are none."""
    parts: list[np.ndarray] = []
    at, size = 0, len(packed)
    while at < size:
        piece = np.frombuffer(packed[at : at + _STEP], np.uint8)
        ends = np.flatnonzero(piece < 0x80)
        if not len(ends):
            raise _malformed(message)
        parts.append(_decoded(piece[: ends[-1] + 1], ends, message))
        at += int(ends[-1]) + 1
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def _decoded(piece: np.ndarray, ends: np.ndarray, message: str) -> np.ndarray:
    if len(ends) == len(piece):
        return piece.astype(np.uint64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > _MOST_BYTES:
        raise _malformed(message)
    values = np.zeros(len(ends), np.uint64)
    for index in range(longest):
        has = np.flatnonzero(lengths > index)
        digits = (piece[starts[has] + index] & 0x7F).astype(np.uint64)
        values[has] |= digits << np.uint64(7 * index)
    return values


def _malformed(message: str) -> InvalidRequest:
    return InvalidRequest(f"the request cannot be parsed as {message}")


def array_of(values: Any, dtype: np.dtype) -> np.ndarray:
    """Return numbers, of a list or an array, as an aligned array.

    Long lists are converted in parts, so that other threads come in between.
    """
    if isinstance(values, np.ndarray):
        return np.require(values, dtype, ["ALIGNED"])
    if len(values) <= _CONVERTED_AT_ONCE:
        return np.fromiter(values, dtype, len(values))
    array = np.empty(len(values), dtype)
    for at in range(0, len(values), _CONVERTED_AT_ONCE):
        part = values[at : at + _CONVERTED_AT_ONCE]
        array[at : at + len(part)] = np.fromiter(part, dtype, len(part))
    return array


def elements_of(values: Any) -> list[bytes]:
    """Return strings as a list; as `array_of` does, in parts."""
    if isinstance(values, list):
        return values
    elements = Strings()
    for at in range(0, len(values), _CONVERTED_AT_ONCE):
        elements += values[at : at + _CONVERTED_AT_ONCE]
    return elements


def numbers(field: Any, packed: memoryview) -> np.ndarray:
    """Return a packed list as protobuf reads it, by its descriptor; InvalidRequest if it is none."""
    dtype = _DTYPES[field.cpp_type]
    values: np.ndarray
    if field.cpp_type in _FIXED:
        return np.frombuffer(packed, dtype)
    values = _varints(packed, field.containing_type.full_name)
    if dtype == np.bool_:
        values = values != 0
        return values
    if dtype.itemsize == 8:
        return values.view(dtype)
    return values.astype(np.uint32).view(dtype)  # the low bits of longer ones
