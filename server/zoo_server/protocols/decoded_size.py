"""Estimates the memory that a request takes once decoded, and reserves it from one budget for all.

    bytes ──weigh──> reservation.take ──> decode ──> … ──> answered ──> reservation.release

Raw tensors of numbers are views of the message and cost nothing. All else grows: a string of two
bytes is six on the wire and 140 as an object, an integer is one byte on the wire and 23 as a number.
The size is estimated from a message's bytes before they are decoded: protobuf's own objects, too, are
larger than the bytes that they are parsed from.

Requests of a kind that is known (server/zoo_server/protocols/grpc/infer.py) never come here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

from zoo_proto import grpc_service_pb2, tensorflow_serving_pb2
from zoo_server.errors import InvalidRequest
from zoo_server.inference.request import InputTensor
from zoo_server.inference.shared_memory import Source
from zoo_server.limits import Reservation
from zoo_server.varint import DELIMITED, FIXED_SIZES, VARINT, read_varint

#: Messages so small come to less than is accounted for, whatever is in them.
SMALL_MESSAGE = 256

# What things take when decoded, in bytes; measured (CPython 3.11, protobuf 6.33), and rounded up.
#: One string, besides its bytes: in the message, as bytes, as text, and in the lists between.
STRING = 192
#: A byte of a string, or of a field that is not known.
_STRING_BYTE = 3
#: A nested message, and the value that is made of it.
_MESSAGE = 384
#: A number that is a field of its own.
_NUMBER = 32
#: A number of a packed list, by its size as protobuf holds it.
_PACKED_NUMBER = {4: 18, 8: 26}
#: A byte of a packed list of fixed-size numbers, or of a tensor's content: two copies.
_FIXED_BYTE = 2
#: A byte of what is not looked into.
_ANY_BYTE = 192

#: From here on the numbers of a packed list are counted.
_COUNTED = 4096

#: Messages in messages, at most: protobuf's own bound.
_DEPTH = 100

#: Fields of one message, those of a list aside: a tenth of a second, and no client writes as many.
_MOST_FIELDS = 1 << 16


def reserve_message(reservation: Reservation, raw: bytes, fields: "Fields") -> None:
    """Account for what protobuf, and the values made of its message, will take."""
    if len(raw) > SMALL_MESSAGE:
        reservation.take(weigh(raw, fields, reservation.limit))


def reserve_strings(reservation: Reservation, tensors: Iterable[InputTensor]) -> None:
    """Account for raw strings, which are not taken apart yet."""
    for tensor in tensors:
        if tensor.datatype == "BYTES" and isinstance(tensor.data, bytes | memoryview | Source):
            reservation.take(weight_of_strings(tensor.shape, len(tensor.data), 4))


def weight_of_strings(shape: Iterable[int], size: int, least: int) -> int:
    """Return what strings take that are `size` bytes on the wire, each at least so many."""
    count = 1
    for dim in shape:
        count *= max(dim, 0)  # below 0 is a fault that is found later
    return STRING * min(count, size // least) + _STRING_BYTE * size


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """What one field of a message takes: each time that it is there, and by its content."""

    each: int = 0
    per_byte: int = 0
    #: Of a packed list of varints: each of them.
    per_number: int = 0
    #: Of a nested message.
    fields: "Fields | None" = None


Fields = dict[int, _Field]

_UNKNOWN = _Field(per_byte=_STRING_BYTE)

_VARINTS = {
    FieldDescriptor.CPPTYPE_INT32: 4,
    FieldDescriptor.CPPTYPE_UINT32: 4,
    FieldDescriptor.CPPTYPE_ENUM: 4,
    FieldDescriptor.CPPTYPE_INT64: 8,
    FieldDescriptor.CPPTYPE_UINT64: 8,
}


def _fields_of(message: Any, known: dict[str, Fields]) -> Fields:
    """Return what a message's fields take; a message may contain itself."""
    if message.full_name in known:
        return known[message.full_name]
    fields = known[message.full_name] = {}
    for field in message.fields:
        fields[field.number] = _field_of(field, known)
    return fields


def _field_of(field: Any, known: dict[str, Fields]) -> _Field:
    if field.message_type is not None:
        return _Field(each=_MESSAGE, fields=_fields_of(field.message_type, known))
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if field.name == "tensor_content":
            return _Field(per_byte=_FIXED_BYTE)
        return _Field(each=STRING if field.is_repeated else 0, per_byte=_STRING_BYTE)
    if field.cpp_type in _VARINTS:
        return _Field(per_number=_PACKED_NUMBER[_VARINTS[field.cpp_type]])
    return _Field(per_byte=_FIXED_BYTE)


_KNOWN: dict[str, Fields] = {}
INFER_FIELDS = _fields_of(grpc_service_pb2.ModelInferRequest.DESCRIPTOR, _KNOWN)
PREDICT_FIELDS = _fields_of(tensorflow_serving_pb2.PredictRequest.DESCRIPTOR, _KNOWN)


def weigh(raw: bytes, fields: Fields, enough: int) -> int:
    """Return about what a message takes once it is decoded; stop looking beyond `enough`.

    Of bytes that are no message, what protobuf takes until it finds that out.
    """
    return _Scales(raw, enough).weigh(0, len(raw), fields, _DEPTH)


class _Scales:
    """One walk over one message."""

    def __init__(self, raw: bytes, enough: int) -> None:
        self._raw = raw
        self._enough = enough
        self._weight = 0
        self._left = _MOST_FIELDS

    def weigh(self, at: int, end: int, fields: Fields, depth: int) -> int:
        """Add what lies between the two places, and return the sum."""
        raw = self._raw
        try:
            while at < end and self._weight <= self._enough:
                self._left -= 1
                if self._left < 0:
                    raise InvalidRequest(
                        f"the request has more than {_MOST_FIELDS} fields: send less at once"
                    )
                tag, at = read_varint(raw, at)
                wire = tag & 7
                if wire == DELIMITED:
                    size, at = read_varint(raw, at)
                    stop = min(at + size, end)
                    field = fields.get(tag >> 3, _UNKNOWN)
                    self._field(field, at, stop, depth)
                    at = self._more(tag, field, stop, end) if field.each else stop
                elif wire in FIXED_SIZES or wire == VARINT:
                    at = self._loose_numbers(tag, at, end)
                else:  # a group, which none of the messages has
                    return self._add(_ANY_BYTE * (end - at))
        except IndexError:  # cut off
            pass
        return self._weight

    def _loose_numbers(self, tag: int, at: int, end: int) -> int:
        """Add a number and those of the same list that follow, unpacked; return where they end."""
        raw, size, count = self._raw, FIXED_SIZES.get(tag & 7), 1
        while True:
            at = read_varint(raw, at)[1] if size is None else at + size
            if at >= end or raw[at] != tag or tag > 0x7F:
                break
            at += 1
            count += 1
        self._add(_NUMBER * count)
        return at

    def _field(self, field: _Field, at: int, end: int, depth: int) -> None:
        if field.per_number:
            self._add(field.per_number * _count(self._raw, at, end))
        elif field.fields is None:
            self._add(field.each + field.per_byte * (end - at))
        elif depth:
            self._add(field.each)
            self.weigh(at, end, field.fields, depth - 1)
        else:
            self._add(_ANY_BYTE * (end - at))

    def _more(self, tag: int, field: _Field, at: int, end: int) -> int:
        """Add the short strings of the same list that follow, and return where they end."""
        if field.fields is not None or tag > 0x7F:
            return at
        raw, begin, count = self._raw, at, 0
        while at + 1 < end and raw[at] == tag:
            size = raw[at + 1]
            if size > 0x7F:
                break
            at += size + 2
            count += 1
        self._add(field.each * count + field.per_byte * (at - begin))
        return at

    def _add(self, weight: int) -> int:
        self._weight += weight
        return self._weight


def _count(raw: bytes, at: int, end: int) -> int:
    """Return how many varints there are, or a little more."""
    size = end - at
    if size < _COUNTED:
        return size
    return int(np.count_nonzero(np.frombuffer(raw, np.int8, size, at) >= 0)) + 1
