"""Tensor element types and their bytes on the wire, in one table.

One row per element type that the Open Inference Protocol can name:

    wire name  config.pbtxt  numpy  ONNX type  TensorProto  typed field  TensorFlow's enum and field

Raw numeric data is little-endian and row-major (docs/protocol.md 2.2.4). BYTES has no fixed element
size: each element is a 4-byte little-endian length and then the bytes (docs/protocol.md 2.2.3).
numpy has no bfloat16, so BF16 travels in uint16 carriers holding the upper half of a float32.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from zoo_server.malloc import heap

#: A dimension of any size, on the wire and in config.pbtxt.
VARIABLE = -1

#: A shape whose dimensions (other than 0) multiply to more than this cannot be a real tensor: its
#: bytes would not fit in int64, and numpy fails on it (docs/protocol.md 2.2.4).
MAX_ELEMENTS = (2**63 - 1) // 8

_LENGTH = struct.Struct("<I")

#: Strings that are converted, copied or let go of at once: a millisecond or so. Other threads come in
#: between, for each step is one that the interpreter's lock is held for.
STRINGS_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True)
class DataType:
    """One element type under each of its names."""

    wire: str
    config: str
    numpy: np.dtype
    onnx: str
    onnx_enum: int
    tf_enum: int
    #: The field of InferTensorContents that carries it; None: raw only (docs/protocol.md 2.2.2).
    contents: str | None
    #: The field of TensorFlow's TensorProto that carries it.
    tf_values: str
    #: Bytes of one element, or None where elements differ in length.
    byte_size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a graph; a dimension is a size, a symbol, or None if unnamed."""

    name: str
    datatype: DataType
    shape: tuple[int | str | None, ...]
    #: The graph holds a default for this input, so a run may leave it out.
    has_default: bool = False


def _row(
    wire: str,
    numpy: str,
    onnx: str,
    onnx_enum: int,
    contents: str | None,
    tf_enum: int,
    tf_values: str,
    config: str | None = None,
) -> DataType:
    dtype = np.dtype(numpy)
    return DataType(
        wire=wire,
        config=config or f"TYPE_{wire}",
        numpy=dtype,
        onnx=f"tensor({onnx})",
        onnx_enum=onnx_enum,
        tf_enum=tf_enum,
        contents=contents,
        tf_values=tf_values,
        byte_size=None if dtype.hasobject else dtype.itemsize,
    )


DATA_TYPES: tuple[DataType, ...] = (
    _row("BOOL", "?", "bool", 9, "bool_contents", 10, "bool_val"),
    _row("UINT8", "<u1", "uint8", 2, "uint_contents", 4, "int_val"),
    _row("UINT16", "<u2", "uint16", 4, "uint_contents", 17, "int_val"),
    _row("UINT32", "<u4", "uint32", 12, "uint_contents", 22, "uint32_val"),
    _row("UINT64", "<u8", "uint64", 13, "uint64_contents", 23, "uint64_val"),
    _row("INT8", "<i1", "int8", 3, "int_contents", 6, "int_val"),
    _row("INT16", "<i2", "int16", 5, "int_contents", 5, "int_val"),
    _row("INT32", "<i4", "int32", 6, "int_contents", 3, "int_val"),
    _row("INT64", "<i8", "int64", 7, "int64_contents", 9, "int64_val"),
    _row("FP16", "<f2", "float16", 10, None, 19, "half_val"),
    _row("FP32", "<f4", "float", 1, "fp32_contents", 1, "float_val"),
    _row("FP64", "<f8", "double", 11, "fp64_contents", 2, "double_val"),
    _row("BYTES", "O", "string", 8, "bytes_contents", 7, "string_val", "TYPE_STRING"),
    _row("BF16", "<u2", "bfloat16", 16, None, 14, "half_val"),
)

_BY_WIRE = {row.wire: row for row in DATA_TYPES}
_BY_CONFIG = {row.config: row for row in DATA_TYPES}
_BY_ONNX = {row.onnx: row for row in DATA_TYPES}
_BY_TF = {row.tf_enum: row for row in DATA_TYPES}
# BF16 is left out: an array of uint16 means UINT16, the carrier is only ours.
_BY_NUMPY = {row.numpy: row for row in DATA_TYPES if row.wire != "BF16"}

T = TypeVar("T")


def _find(table: Mapping[T, DataType], key: T, what: str) -> DataType:
    try:
        return table[key]
    except KeyError:
        known = ", ".join(str(name) for name in table)
        raise ValueError(f"unknown {what} '{key}'; known are {known}") from None


def by_wire(name: str) -> DataType:
    """Return the type called "FP32" on the wire; ValueError names the known ones."""
    return _find(_BY_WIRE, name, "datatype")


def by_config(name: str) -> DataType:
    """Return the type called "TYPE_FP32" in config.pbtxt; ValueError names the known ones."""
    return _find(_BY_CONFIG, name, "data_type")


def by_onnx(name: str) -> DataType:
    """Return the type that ONNX calls "tensor(float)"; ValueError names the known ones."""
    return _find(_BY_ONNX, name, "ONNX element type")


def by_tf(number: int) -> DataType:
    """Return the type that TensorFlow's DataType numbers so; ValueError lists the known ones."""
    return _find(_BY_TF, number, "TensorFlow data type")


def by_numpy(dtype: np.dtype) -> DataType:
    """Return the type of an array's elements; strings of any kind are BYTES."""
    if dtype.kind in "SU":
        return _BY_WIRE["BYTES"]
    return _find(_BY_NUMPY, dtype.newbyteorder("<"), "numpy dtype")


def element_count(shape: Iterable[int]) -> int:
    """Return the number of elements; ValueError for a negative size or more than MAX_ELEMENTS."""
    count = 1
    empty = False
    for size in shape:
        if size < 0:
            raise ValueError(f"shape has the negative dimension {size}")
        if size == 0:
            empty = True  # keep checking: [0, -1] and [0, 2**62] are still faults
            continue
        count *= size
        if count > MAX_ELEMENTS:
            raise ValueError(f"shape holds more than {MAX_ELEMENTS} elements")
    return 0 if empty else count


def byte_count(datatype: DataType, shape: Sequence[int]) -> int:
    """Return the raw bytes of a fixed-size type; ValueError as for element_count."""
    if datatype.byte_size is None:
        raise ValueError(f"{datatype.wire} has no fixed element size")
    return element_count(shape) * datatype.byte_size


def serialize_bytes(elements: Iterable[bytes | str]) -> bytes:
    """Return BYTES elements in wire form, in the order given; str goes out as UTF-8."""
    raw = bytearray()
    for element in elements:
        data = element.encode() if isinstance(element, str) else bytes(element)
        raw += _LENGTH.pack(len(data))
        raw += data
    return bytes(raw)


def parse_pieces(
    raw: bytes | memoryview, count: int, *, tensor: str = "tensor"
) -> Iterator[list[bytes]]:
    """Give exactly `count` BYTES elements of a raw buffer (docs/protocol.md 2.2.3), STRINGS_AT_ONCE at a time.

    ValueError, naming `tensor`, if a length runs past the end, bytes are left over, or the number of
    elements differs.
    """
    elements: list[bytes] = []
    done = 0
    view = memoryview(raw)
    position, end = 0, len(view)
    while position < end:
        if end - position < _LENGTH.size:
            raise ValueError(
                f"incomplete string length indicator for {tensor}, expecting {_LENGTH.size} bytes "
                f"but only {end - position} bytes available"
            )
        if done + len(elements) == count:
            raise miscounted(count + 1, count, tensor=tensor)
        if len(elements) == STRINGS_AT_ONCE:
            yield elements
            done += STRINGS_AT_ONCE
            elements = []
        (length,) = _LENGTH.unpack_from(view, position)
        position += _LENGTH.size
        if length > end - position:
            raise ValueError(
                f"incomplete string data for {tensor}, expecting string of length {length} "
                f"but only {end - position} bytes available"
            )
        elements.append(bytes(view[position : position + length]))
        position += length
    if done + len(elements) != count:
        raise miscounted(done + len(elements), count, tensor=tensor)
    yield elements


def miscounted(got: int, count: int, *, tensor: str) -> ValueError:
    """Return the error of another number of BYTES elements than the shape's, in Triton's words."""
    if got > count:
        return ValueError(
            f"unexpected number of string elements {count + 1} for {tensor}, expecting {count}"
        )
    return ValueError(f"expected {count} string elements for {tensor}, got {got}")


class _Objects(np.ndarray):
    """A long array of objects, which lets go of them in parts."""

    def __del__(self) -> None:
        if self.base is None:  # no view of another
            flat = self.reshape(-1)
            for begin in range(0, self.size, STRINGS_AT_ONCE):
                flat[begin : begin + STRINGS_AT_ONCE] = None


def empty_objects(shape: Sequence[int]) -> np.ndarray:
    """Return an array of None; numpy's own string dtypes would lose trailing NULs."""
    if element_count(shape) <= STRINGS_AT_ONCE:
        return np.empty(shape, dtype=object)
    # numpy writes None everywhere with the lock held, which takes ten times as long where there are no pages yet.
    heap.make_pages(element_count(shape) * np.dtype(object).itemsize)
    return _Objects(shape, dtype=object)


def object_array(elements: Sequence[object], shape: Sequence[int]) -> np.ndarray:
    """Return elements as an object array."""
    return object_array_of(pieces_of(elements), shape)


def object_array_of(pieces: Iterable[Sequence[object]], shape: Sequence[int]) -> np.ndarray:
    """Return elements that come in pieces as an object array; there must be as many as it has."""
    array = empty_objects(shape)
    flat, at = array.reshape(-1), 0
    for piece in pieces:
        flat[at : at + len(piece)] = piece
        at += len(piece)
    return array


def pieces_of(elements: Sequence[Any] | np.ndarray) -> Iterator[list[Any]]:
    """Give the elements of a sequence or a flat array, in order, STRINGS_AT_ONCE at a time."""
    for begin in range(0, len(elements), STRINGS_AT_ONCE):
        piece = elements[begin : begin + STRINGS_AT_ONCE]
        yield piece.tolist() if isinstance(piece, np.ndarray) else list(piece)


def from_raw(datatype: DataType, shape: Sequence[int], raw: bytes | memoryview) -> np.ndarray:
    """Return raw wire data as an array of `shape`: a read-only view, or objects for BYTES.

    ValueError if the buffer is not exactly what the shape needs.
    """
    if datatype.byte_size is None:
        return object_array_of(parse_pieces(raw, element_count(shape)), shape)
    expected = byte_count(datatype, shape)
    if len(raw) != expected:
        raise ValueError(
            f"byte size mismatch: {datatype.wire} of shape {list(shape)} needs {expected} bytes, "
            f"got {len(raw)}"
        )
    return np.frombuffer(raw, dtype=datatype.numpy).reshape(shape)


def to_raw(datatype: DataType, array: np.ndarray) -> bytes:
    """Return an array's elements in wire form, row-major; TypeError if they are of another type."""
    if datatype.byte_size is None:
        return b"".join([serialize_bytes(piece) for piece in pieces_of(array.ravel())])
    if array.dtype != datatype.numpy and by_numpy(array.dtype) is not datatype:
        raise TypeError(f"an array of {array.dtype} is not {datatype.wire}")
    return np.ascontiguousarray(array, dtype=datatype.numpy).tobytes()
