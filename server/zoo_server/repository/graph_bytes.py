"""Reads an ONNX file without the values of its weights, which may be gigabytes.

Protobuf's parsers read a file whole. Here the fields that lead to the values are walked through, and those
are passed over; what is returned is a model like the file's, with weights that have no values.
"""

import os
from pathlib import Path
from typing import BinaryIO

from zoo_server.varint import DELIMITED, FIXED_SIZES, VARINT, delimited, read_varint

#: The fields that lead from a model to its weights: ModelProto.graph, GraphProto.initializer.
_WAY = (7, 5)

#: TensorProto's fields of values: float_data, int32_data, string_data, int64_data, raw_data, double_data,
#: uint64_data.
_VALUES = frozenset({4, 5, 6, 7, 9, 10, 11})

#: Values that take no more than this many bytes stay: they may be shapes.
_SHORT = 1024


def without_weights(path: Path) -> bytes:
    """Return a file's ModelProto without the values of its larger weights.

    OSError if the file cannot be read, ValueError if it is no protobuf message.
    """
    with path.open("rb") as stream:
        return _copy(stream, os.fstat(stream.fileno()).st_size, _WAY)


def _copy(stream: BinaryIO, end: int, way: tuple[int, ...]) -> bytes:
    """Return the fields up to a place in the file; `way` leads on to the tensors."""
    copy = bytearray()
    while stream.tell() < end:
        tag, head = _read_varint(stream)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            copy += head + _read_varint(stream)[1]
            continue
        length = FIXED_SIZES[kind] if kind in FIXED_SIZES else _read_varint(stream)[0]
        if kind not in (*FIXED_SIZES, DELIMITED) or stream.tell() + length > end:
            raise ValueError("it is no protobuf message, or is cut off")
        if kind != DELIMITED:
            copy += head + stream.read(length)
        elif way and number == way[0]:
            inner = _copy(stream, stream.tell() + length, way[1:])
            copy += delimited(number, len(inner)) + inner
        elif not way and number in _VALUES and length > _SHORT:
            stream.seek(length, os.SEEK_CUR)
        else:
            copy += delimited(number, length) + stream.read(length)
    return bytes(copy)


def _read_varint(stream: BinaryIO) -> tuple[int, bytes]:
    """Return a varint, and the bytes that it takes."""
    raw = bytearray(stream.read(1))
    while raw and raw[-1] >= 0x80 and len(raw) < 10:
        raw += stream.read(1) or b"\0"  # at the end of the file
    try:
        return read_varint(bytes(raw), 0)[0], bytes(raw)
    except IndexError:
        raise ValueError("it is no protobuf message, or is cut off") from None
