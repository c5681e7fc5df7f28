"""Reads an ONNX file without the values of its weights, which may be gigabytes.

Protobuf's parsers read a file whole, as is best for a small one. Of a large one the fields that lead to the
values are walked through, and those are passed over; what is returned is a model like the file's, with weights
that have no values, or whose values are external data: where they lie in the file itself.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError

from zoo_proto import onnx_graph_pb2 as pb
from zoo_server.varint import DELIMITED, FIXED_SIZES, VARINT, delimited, read_varint

#: The fields that lead from a model to its weights: ModelProto.graph, GraphProto.initializer.
_WAY = (7, 5)

#: TensorProto's fields of values: float_data, int32_data, string_data, int64_data, raw_data, double_data,
#: uint64_data.
_VALUES = frozenset({4, 5, 6, 7, 9, 10, 11})

#: raw_data, and what stands in its place: external_data, with keys and values, and data_location, EXTERNAL.
_RAW_DATA, _EXTERNAL_DATA, _KEY, _VALUE = 9, 13, 1, 2
_IS_EXTERNAL = bytes([14 << 3 | VARINT, 1])

#: A file of so many bytes is parsed sooner than it is walked through.
_SMALL_FILE = 1 << 20

#: Values that take no more than this many bytes stay: they may be shapes.
_SHORT = 1024


def read_model(path: Path) -> pb.ModelProto | None:
    """Return a file's ModelProto, of a large file without the values of its larger weights; None if it is none.

    OSError if the file cannot be read.
    """
    try:
        if path.stat().st_size <= _SMALL_FILE:
            return pb.ModelProto.FromString(path.read_bytes())
        return pb.ModelProto.FromString(without_weights(path))
    except (DecodeError, ValueError):
        return None


def without_weights(path: Path) -> bytes:
    """Return a file's ModelProto without the values of its larger weights.

    OSError if the file cannot be read, ValueError if it is no protobuf message.
    """
    return _copy_of(path, lambda number, begin, size: b"")


def with_weights_in_place(path: Path) -> bytes:
    """Return a file's ModelProto whose larger weights are external data in the file, to be read from its folder.

    Where they begin is not aligned. OSError if the file cannot be read, ValueError if it is no
    protobuf message, or has large values that are not raw bytes.
    """

    def place(number: int, begin: int, size: int) -> bytes:
        if number != _RAW_DATA:
            raise ValueError("it has large values that are not raw bytes")
        facts = {"location": path.name, "offset": str(begin), "length": str(size)}
        entries = b"".join(
            _field(_EXTERNAL_DATA, _field(_KEY, key.encode()) + _field(_VALUE, value.encode()))
            for key, value in facts.items()
        )
        return entries + _IS_EXTERNAL

    return _copy_of(path, place)


#: What stands for a field of values: by its number, where it begins, and how many bytes it takes.
_Instead = Callable[[int, int, int], bytes]


def _copy_of(path: Path, instead: _Instead) -> bytes:
    with path.open("rb") as stream:
        return _copy(stream, 0, os.fstat(stream.fileno()).st_size, _WAY, instead)


def _copy(stream: BinaryIO, at: int, end: int, way: tuple[int, ...], instead: _Instead) -> bytes:
    """Return the fields between two places in the file, of which the stream is at the first; `way` leads on to
    the tensors.

    The place is counted: to ask the file for it is a call of the system, one for every field.
    """
    copy = bytearray()
    while at < end:
        tag, head = _read_varint(stream)
        number, kind = tag >> 3, tag & 7
        at += len(head)
        if kind == VARINT:
            value = _read_varint(stream)[1]
            copy += head + value
            at += len(value)
            continue
        length, size = FIXED_SIZES.get(kind, 0), b""
        if kind == DELIMITED:
            length, size = _read_varint(stream)
            at += len(size)
        elif kind not in FIXED_SIZES:
            length = end  # more than there is
        if at + length > end:
            raise ValueError("it is no protobuf message, or is cut off")
        if kind != DELIMITED:
            copy += head + stream.read(length)
        elif way and number == way[0]:
            copy += _field(number, _copy(stream, at, at + length, way[1:], instead))
        elif not way and number in _VALUES and length > _SHORT:
            copy += instead(number, at, length)
            stream.seek(length, os.SEEK_CUR)
        else:
            copy += _field(number, stream.read(length))
        at += length
    if at != end:  # a tag or a number that goes beyond it
        raise ValueError("it is no protobuf message, or is cut off")
    return bytes(copy)


def _field(number: int, content: bytes) -> bytes:
    return delimited(number, len(content)) + content


def _read_varint(stream: BinaryIO) -> tuple[int, bytes]:
    """Return a varint, and the bytes that it takes."""
    raw = bytearray(stream.read(1))
    while raw and raw[-1] >= 0x80 and len(raw) < 10:
        raw += stream.read(1) or b"\0"  # at the end of the file
    try:
        return read_varint(bytes(raw), 0)[0], bytes(raw)
    except IndexError:
        raise ValueError("it is no protobuf message, or is cut off") from None
