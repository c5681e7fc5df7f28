"""Finds the tensor data in a serialised ModelInferRequest, without parsing it.

A request is a few dozen bytes of names and shapes, and then its tensors. protobuf would copy every
tensor twice to hand it out; the walk only finds where each begins and ends. It reads the form that
every generated client writes (fields in order, raw_input_contents last) and leaves anything else to
protobuf by answering None. What both read is the same: a property test says so.

    field                  number  tag    (all are length-delimited)
    model_name .. outputs   1 - 6  0x0a 0x12 0x1a 0x22 0x2a 0x32
    raw_input_contents      7      0x3a
"""

from collections.abc import Sequence
from dataclasses import dataclass

from zoo_server.varint import delimited, read_varint

_RAW_FIELD, _RAW = 7, 0x3A
_MODEL_NAME, _ID = 0x0A, 0x1A
_HEAD = frozenset({_MODEL_NAME, 0x12, _ID, 0x22, 0x2A, 0x32})

#: The most fields before the data, and the most tensors: empty ones are two bytes each, and what is
#: made of them is two hundred times as much (server/zoo_server/protocols/decoded_size.py).
_FIELDS = range(4096)


#: A length of more bytes is none.
_LENGTH_BYTES = 5


@dataclass(slots=True)
class Split:
    """One request: everything but its id and its tensors, the id, and where the tensors lie."""

    head: bytes
    id: bytes
    #: Begin and end of each entry of raw_input_contents, in order.
    spans: list[tuple[int, int]]


def split(raw: bytes, longest_head: int | None = None) -> Split | None:
    """Return the parts of a serialised ModelInferRequest, or None if protobuf should read it.

    None, too, if what is not tensors takes more bytes than `longest_head`.
    """
    end = len(raw)
    last = end if longest_head is None else longest_head
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
                size, at = read_varint(raw, at + 1, _LENGTH_BYTES)
            if tag == _ID:
                if id_end:
                    return None  # given twice: the last one counts, and protobuf knows
                id_field, id_begin, id_end = field, at, at + size
            at += size
            if at > last:
                return None
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
                size, at = read_varint(raw, at + 1, _LENGTH_BYTES)
            spans.append((at, at + size))
            at += size
    except IndexError:
        return None
    if at != end:
        return None  # cut short, or more fields than any model has
    if id_end:
        return Split(raw[:id_field] + raw[id_end:first], raw[id_begin:id_end], spans)
    return Split(raw[:first], b"", spans)


class Layout:
    """Requests that differ in their tensors' data only, and carry no id: which of their bytes are the same."""

    __slots__ = ("_fixed", "nbytes", "spans")

    def __init__(self, head: bytes, sizes: Sequence[int]) -> None:
        """`head`: all before the tensors; `sizes`: of the tensors, in bytes."""
        fixed: list[tuple[int, bytes]] = []
        spans: list[tuple[int, int]] = []
        at, before = 0, head
        for size in sizes:
            before += delimited(_RAW_FIELD, size)
            fixed.append((at, before))
            begin = at + len(before)
            at, before = begin + size, b""
            spans.append((begin, at))
        self._fixed = tuple(fixed) or ((0, head),)
        #: Begin and end of each tensor, as `split` finds them.
        self.spans = tuple(spans)
        #: The size of a request.
        self.nbytes = at + len(before)

    def fits(self, raw: bytes) -> bool:
        """Tell whether a request of `nbytes` bytes is one of these; of another size it must not be asked."""
        for at, same in self._fixed:  # noqa: SIM110  # a generator takes three times as long
            if not raw.startswith(same, at):
                return False
        return True


def model_name(raw: bytes) -> bytes:
    """Return the name of the model in a serialised ModelInferRequest; empty if it is not found."""
    return _last(raw, _MODEL_NAME)


def request_id(raw: bytes) -> bytes:
    """Return the id in a serialised ModelInferRequest; empty if it is not found."""
    return _last(raw, _ID)


def _last(raw: bytes, field_tag: int) -> bytes:
    """Return the last of the fields of one tag, as far as the fields are as clients write them."""
    at, end = 0, len(raw)
    value = b""
    try:
        for _ in _FIELDS:
            if at >= end or raw[at] not in _HEAD:
                break
            tag = raw[at]
            size, at = read_varint(raw, at + 1, _LENGTH_BYTES)
            if tag == field_tag:
                value = raw[at : at + size]
            at += size
    except IndexError:
        pass
    return value
