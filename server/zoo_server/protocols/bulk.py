"""Large messages: long lists are read apart from protobuf's parser.

    inputs { name, …, contents { fp32_contents: 32 MB } }
        └──> the same message with an empty list, and {b"name": {6: the 32 MB, as they lie}}

protobuf reads a message in one go, and so do numpy and Python its lists, while no other thread of the
interpreter runs: 32 MB of floats held everybody for half a second. Packed numbers lie in a message as
they do in memory, or are varints, which numpy reads in pieces; strings are read one by one, and other
threads come in between. What both ways read is the same: a property test says so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

from zoo_server.errors import InvalidRequest
from zoo_server.varint import DELIMITED, FIXED_SIZES, VARINT, delimited, read_varint

#: Lists of fewer bytes are left to protobuf, which has read them in a fraction of a millisecond.
LARGE = 1 << 13

#: The most fields of a message that is looked into, its long lists aside; others are protobuf's.
_MOST_FIELDS = 4096

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

#: What was taken out of one tensor, by the number of the field: packed bytes, or strings.
Lists = Mapping[int, memoryview | list[bytes]]


class _Strange(Exception):
    """A message that is not as clients write it."""


class Strings(list[bytes]):
    """A long list of strings, which lets go of them in parts."""

    def __del__(self) -> None:
        while self:
            del self[-_CONVERTED_AT_ONCE:]


@dataclass(slots=True)
class Bulk:
    """What is left of a message for protobuf, and the long lists, by their tensor's name."""

    rest: bytes
    lists: dict[bytes, Lists] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a message has its tensors; all numbers are of fields."""

    #: The way to a tensor's lists: repeated field, message field. A tensor's name is field 1 of the
    #: first.
    tensors: int
    values: int
    #: Bytes of an element of each packed list; 0 for varints.
    packed: dict[int, int]
    strings: int


INFER = Layout(tensors=5, values=5, packed={1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 4, 7: 8}, strings=8)
PREDICT = Layout(
    tensors=2,
    values=2,
    packed={5: 4, 6: 8, 7: 0, 10: 0, 11: 0, 13: 0, 16: 0, 17: 0},
    strings=8,
)


def take_out(raw: bytes, layout: Layout) -> Bulk:
    """Return a message's long lists and the rest of it; nothing is taken of a strange message."""
    bulk = Bulk(raw)
    if len(raw) < LARGE:
        return bulk
    try:
        rest = _Taker(raw, layout, bulk.lists).message(0, len(raw))
    except (_Strange, IndexError):
        return Bulk(raw)
    if bulk.lists:
        bulk.rest = rest
    return bulk


class _Taker:
    """One walk over one message."""

    def __init__(self, raw: bytes, layout: Layout, lists: dict[bytes, Lists]) -> None:
        self._raw = raw
        self._view = memoryview(raw)
        self._layout = layout
        self._lists = lists
        self._names: set[bytes] = set()
        self._left = _MOST_FIELDS

    def message(self, at: int, end: int) -> bytes:
        pieces: list[bytes | memoryview] = []
        for number, wire, begin, start, stop in self._fields(at, end):
            if number == self._layout.tensors and wire == DELIMITED:
                tensor = self._tensor(start, stop)
                pieces += delimited(number, len(tensor)), tensor
            else:
                pieces.append(self._view[begin:stop])
        return b"".join(pieces)

    def _tensor(self, at: int, end: int) -> bytes:
        if end - at < LARGE:
            name = b""
            for number, wire, _, start, stop in self._fields(at, end):
                if number == 1 and wire == DELIMITED:
                    name = self._raw[start:stop]
            self._note(name)
            return self._raw[at:end]
        pieces: list[bytes | memoryview] = []
        name, parts = b"", 0
        taken: dict[int, memoryview | list[bytes]] = {}
        for number, wire, begin, start, stop in self._fields(at, end):
            if number == 1 and wire == DELIMITED:
                name = self._raw[start:stop]
            if number == self._layout.values and wire == DELIMITED:
                parts += 1
                values = self._values(start, stop, taken)
                pieces += delimited(number, len(values)), values
            else:
                pieces.append(self._view[begin:stop])
        if parts > 1:
            raise _Strange  # protobuf merges them
        self._note(name)
        if taken:
            self._lists[name] = taken
        return b"".join(pieces)

    def _note(self, name: bytes) -> None:
        if name in self._names:
            raise _Strange
        self._names.add(name)

    def _values(self, at: int, end: int, taken: dict[int, memoryview | list[bytes]]) -> bytes:
        pieces: list[bytes | memoryview] = []
        seen: set[int] = set()
        while at < end:
            number, wire, start, stop = self._field(at, end)
            if number == self._layout.strings and wire == DELIMITED:
                if number in taken:
                    raise _Strange  # in two places
                taken[number], stop = self._strings(at, end)
            elif self._is_long(number, wire, stop - start):
                if number in seen:
                    raise _Strange
                taken[number] = self._view[start:stop]
            else:
                pieces.append(self._view[at:stop])
            if number in seen and number in taken:
                raise _Strange
            seen.add(number)
            at = stop
        return b"".join(pieces)

    def _is_long(self, number: int, wire: int, size: int) -> bool:
        each = self._layout.packed.get(number)
        if each is None or wire != DELIMITED or size < LARGE:
            return False
        return not each or not size % each

    def _strings(self, at: int, end: int) -> tuple[list[bytes], int]:
        """Return the strings of the list that begins here, and where it ends."""
        raw, strings = self._raw, Strings()
        tag = raw[at]
        while at < end and raw[at] == tag:
            size = raw[at + 1]
            if size < 0x80:
                at += 2
            else:
                size, at = read_varint(raw, at + 1)
            if size > end - at:
                raise _Strange
            strings.append(raw[at : at + size])
            at += size
        return strings, at

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
        """Give each field's number and wire type, and where it, its value and that one's end lie."""
        while at < end:
            number, wire, start, stop = self._field(at, end)
            yield number, wire, at, start, stop
            at = stop

    def _field(self, at: int, end: int) -> tuple[int, int, int, int]:
        self._left -= 1
        if self._left < 0:
            raise _Strange
        tag, at = read_varint(self._raw, at)
        wire, size = tag & 7, 0
        if wire == DELIMITED:
            size, at = read_varint(self._raw, at)
        elif wire in FIXED_SIZES:
            size = FIXED_SIZES[wire]
        elif wire == VARINT:
            size = read_varint(self._raw, at)[1] - at
        else:
            raise _Strange
        if size > end - at or not tag >> 3:
            raise _Strange
        return tag >> 3, wire, at, at + size


def _varints(packed: memoryview, message: str) -> np.ndarray[Any, Any]:
    """Return packed varints as uint64; InvalidRequest, naming the message, if they are none."""
    parts: list[np.ndarray[Any, Any]] = []
    at, size = 0, len(packed)
    while at < size:
        piece = np.frombuffer(packed[at : at + _STEP], np.uint8)
        ends = np.flatnonzero(piece < 0x80)
        if not len(ends):
            raise _malformed(message)
        parts.append(_decoded(piece[: ends[-1] + 1], ends, message))
        at += int(ends[-1]) + 1
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def _decoded(
    piece: np.ndarray[Any, Any], ends: np.ndarray[Any, Any], message: str
) -> np.ndarray[Any, Any]:
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


def array_of(values: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
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


def numbers(field: Any, packed: memoryview) -> np.ndarray[Any, Any]:
    """Return a packed list as protobuf reads it, by its descriptor; InvalidRequest if it is none."""
    dtype = _DTYPES[field.cpp_type]
    values: np.ndarray[Any, Any]
    if field.cpp_type in _FIXED:
        return np.frombuffer(packed, dtype)
    values = _varints(packed, field.containing_type.full_name)
    if dtype == np.bool_:
        values = values != 0
        return values
    if dtype.itemsize == 8:
        return values.view(dtype)
    return values.astype(np.uint32).view(dtype)  # the low bits of longer ones
