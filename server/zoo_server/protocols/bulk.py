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

from zoo_server.protocols.packed import Strings
from zoo_server.varint import DELIMITED, FIXED_SIZES, VARINT, delimited, read_varint

#: Lists of fewer bytes are left to protobuf, which has read them in a fraction of a millisecond.
LARGE = 1 << 13

#: The most fields of a message that is looked into, its long lists aside; others are protobuf's.
_MOST_FIELDS = 4096

#: What was taken out of one tensor, by the number of the field: packed bytes, or strings.
Lists = Mapping[int, memoryview | list[bytes]]


class _Strange(Exception):
    """A message that is not as clients write it."""


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
        fields: dict[int, memoryview | list[bytes]] = {}
        for number, wire, begin, start, stop in self._fields(at, end):
            if number == 1 and wire == DELIMITED:
                name = self._raw[start:stop]
            if number == self._layout.values and wire == DELIMITED:
                parts += 1
                values = self._values(start, stop, fields)
                pieces += delimited(number, len(values)), values
            else:
                pieces.append(self._view[begin:stop])
        if parts > 1:
            raise _Strange  # protobuf merges them
        self._note(name)
        if fields:
            self._lists[name] = fields
        return b"".join(pieces)

    def _note(self, name: bytes) -> None:
        if name in self._names:
            raise _Strange
        self._names.add(name)

    def _values(self, at: int, end: int, fields: dict[int, memoryview | list[bytes]]) -> bytes:
        pieces: list[bytes | memoryview] = []
        seen: set[int] = set()
        while at < end:
            number, wire, start, stop = self._field(at, end)
            if number == self._layout.strings and wire == DELIMITED:
                if number in fields:
                    raise _Strange  # in two places
                fields[number], stop = self._strings(at, end)
            elif self._is_long(number, wire, stop - start):
                if number in seen:
                    raise _Strange
                fields[number] = self._view[start:stop]
            else:
                pieces.append(self._view[at:stop])
            if number in seen and number in fields:
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
