"""ModelInferRequest's bytes, walked without a parser: where the tensor data lies, and the rest.

A request is a few dozen bytes of names and shapes, and then its tensors. protobuf would copy every
tensor twice to hand it out; the walk only finds where each begins and ends. It reads the form that
every generated client writes (fields in order, raw_input_contents last) and leaves anything else to
protobuf by answering None. What both read is the same: a property test says so.

    field                  number  tag    (all are length-delimited)
    model_name .. outputs   1 - 6  0x0a 0x12 0x1a 0x22 0x2a 0x32
    raw_input_contents      7      0x3a
"""

from dataclasses import dataclass

_RAW = 0x3A
_ID = 0x1A
_HEAD = frozenset({0x0A, 0x12, _ID, 0x22, 0x2A, 0x32})

#: The most fields before the data, and the most tensors: empty ones are two bytes each, and what is
#: made of them is two hundred times as much (server/zoo_server/protocols/grpc/decoded_size.py).
_FIELDS = range(4096)


@dataclass(slots=True)
class Split:
    """One request: everything but its id and its tensors, the id, and where the tensors lie."""

    head: bytes
    id: bytes
    #: Begin and end of each entry of raw_input_contents, in order.
    spans: list[tuple[int, int]]


def split(raw: bytes) -> Split | None:
    """Return the parts of a serialised ModelInferRequest, or None if protobuf should read it."""
    end = len(raw)
    at = 0
    id_begin = id_field = id_end = 0
    try:
        for _ in _FIELDS:
            if at >= end:
                break
            tag = raw[at]
            if tag == _RAW:
                break
            if tag not in _HEAD:
                return None
            field = at
            size = raw[at + 1]
            if size < 0x80:
                at += 2
            else:
                size, at = _varint(raw, at + 1)
            if tag == _ID:
                if id_end:
                    return None  # given twice: the last one counts, and protobuf knows
                id_field, id_begin, id_end = field, at, at + size
            at += size
        first = at
        spans: list[tuple[int, int]] = []
        for _ in _FIELDS:
            if at >= end:
                break
            if raw[at] != _RAW:
                return None
            size = raw[at + 1]
            if size < 0x80:
                at += 2
            else:
                size, at = _varint(raw, at + 1)
            spans.append((at, at + size))
            at += size
    except IndexError:
        return None
    if at != end:
        return None  # cut short, or more fields than any model has
    if id_end:
        return Split(raw[:id_field] + raw[id_end:first], raw[id_begin:id_end], spans)
    return Split(raw[:first], b"", spans)


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """Return a length of at most five bytes and where it ends; longer ones are no length."""
    value = shift = 0
    while shift < 35:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise IndexError("a length of more than five bytes")


def delimited(number: int, size: int) -> bytes:
    """Return the tag and the length that come before `size` bytes of a field."""
    pieces = bytearray([number << 3 | 2])
    while size >= 0x80:
        pieces.append(size & 0x7F | 0x80)
        size >>= 7
    pieces.append(size)
    return bytes(pieces)
