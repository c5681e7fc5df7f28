"""Converts TensorFlow's TensorProto to InputTensor, and OutputTensor to TensorProto.

What a request may send is what TensorFlow's own Tensor::FromProto takes (docs/protocol.md 2.6): the
elements in tensor_content, or in the one list that belongs to the type, where

* a list shorter than the shape is filled up with its last value, an empty one with zeros;
* 8 and 16 bit values are the low bits of their 32 bit carriers: perf_analyzer leaves the others as
  it finds them, and languages without unsigned types extend the sign;
* lists of other types are not looked at.

One thing differs: more values than the shape has room for are a fault here, where TensorFlow drops
the surplus. Answers always come in the typed list, as TensorFlow Serving's do by default: clients in
other languages read that list and nothing else.
"""

from collections.abc import Callable, Iterator, Sequence, Sized
from types import MappingProxyType
from typing import cast

import numpy as np

from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_server import datatypes
from zoo_server.datatypes import DataType
from zoo_server.errors import InvalidRequest
from zoo_server.inference.request import InputTensor, OutputTensor, TensorData
from zoo_server.protocols.bulk import Lists
from zoo_server.protocols.decoded_size import weight_of_strings
from zoo_server.protocols.packed import array_of, elements_of, numbers
from zoo_server.varint import TooLong, delimited, read_varint

#: A few bytes of request must not take gigabytes of memory; who wants so much sends it whole.
MAX_FILLED_BYTES = 64 * 2**20

#: What a string costs in memory at least, for the bound above.
_STRING_BYTES = 64

_FIELDS = tf.TensorProto.DESCRIPTOR.fields_by_name
_BY_NUMBER = tf.TensorProto.DESCRIPTOR.fields_by_number

#: A packed list of these lies on the wire as an array does in memory: nothing to convert.
_PACKED_AS_MEMORY = frozenset({"float_val", "double_val", "bool_val"})

#: A length of more bytes has more than 32 bits.
_LENGTH_BYTES = 5

#: Accounts for memory about to be taken (zoo_server.limits.Reservation.take).
Take = Callable[[int], None]


def decode(
    alias: str, tensor: tf.TensorProto, take: Take, lists: Lists = MappingProxyType({})
) -> InputTensor:
    """Return one input as a value; InvalidRequest, in TensorFlow's words, if it is no tensor.

    `take` is told what grows beyond the message: strings in tensor_content, and lists filled up.
    `lists` were taken out of the message (server/zoo_server/protocols/bulk.py).
    """
    try:
        datatype = _datatype(tensor.dtype)
        _check_others(lists, datatype)
        values = _values(tensor, datatype, lists)
        shape = _shape(tensor.tensor_shape)
        count = datatypes.element_count(shape)
        if not count:
            data: TensorData = b""
        elif tensor.tensor_content:
            data = _content(datatype, count, tensor.tensor_content, take)
        else:
            data = _typed_list(datatype, count, values, take)
    except ValueError as error:
        raise InvalidRequest(f"tensor parsing error: {alias}: {error}") from None
    return InputTensor(name=alias, datatype=datatype.wire, shape=shape, data=data)


def encode(output: OutputTensor) -> tuple[bytes | memoryview, ...]:
    """Return one output as a serialised TensorProto, in pieces."""
    tensor = tf.TensorProto()
    datatype = datatypes.by_wire(output.datatype)
    tensor.dtype = cast("tf.DataType", datatype.tf_enum)
    tensor.tensor_shape.SetInParent()  # a scalar's shape has no dims, and is still a shape
    for size in output.shape:
        tensor.tensor_shape.dim.add(size=size)
    field = datatype.tf_values
    if field in _PACKED_AS_MEMORY:
        # A packed list is its tag, its length, and the memory.
        head: bytes = tensor.SerializeToString()
        return head, delimited(_FIELDS[field].number, len(output.raw)), output.raw
    # A list may come in parts, each in a message of its own: protobuf merges what follows what. Of a long
    # one no part holds the interpreter's lock for long.
    pieces = [tensor.SerializeToString()]
    for values in _carried(output, datatype):
        part = tf.TensorProto()
        getattr(part, field).extend(values)
        pieces.append(part.SerializeToString())
    return tuple(pieces)


def _carried(output: OutputTensor, datatype: DataType) -> Iterator[Sequence[object]]:
    """Give an output's elements as the typed list takes them, some at a time."""
    if datatype.byte_size is None:
        yield from datatypes.parse_pieces(output.raw, datatypes.element_count(output.shape))
        return
    carrier = np.dtype("<u2") if datatype.tf_values == "half_val" else datatype.numpy
    yield from datatypes.pieces_of(np.frombuffer(output.raw, carrier))


def _datatype(number: int) -> DataType:
    try:
        return datatypes.by_tf(number)
    except ValueError:
        names = {value: name for name, value in tf.DataType.items()}
        known = ", ".join(names[row.tf_enum] for row in datatypes.DATA_TYPES)
        name = names.get(number, str(number))
        raise ValueError(f"data type {name} is not served; these are: {known}") from None


def _shape(shape: tf.TensorShapeProto) -> tuple[int, ...]:
    if shape.unknown_rank:
        raise ValueError("the shape is of unknown rank; give each dimension's size")
    return tuple(dim.size for dim in shape.dim)


def _content(datatype: DataType, count: int, content: bytes, take: Take) -> TensorData:
    if datatype.byte_size is None:
        take(weight_of_strings((count,), len(content), 1))
        return _strings(count, content)
    expected = count * datatype.byte_size
    if len(content) != expected:
        raise ValueError(f"tensor_content has {len(content)} bytes, the shape needs {expected}")
    return content


def _strings(count: int, content: bytes) -> list[bytes]:
    """Return strings from TensorFlow's encoding of them: every length as a varint, then the bytes."""
    lengths, position = [], 0
    try:
        for _ in range(count):
            length, position = read_varint(content, position, _LENGTH_BYTES)
            lengths.append(length)
    except TooLong:
        raise ValueError("tensor_content holds a length of more than 32 bits") from None
    except IndexError:
        raise ValueError("tensor_content ends within the lengths of its strings") from None
    if sum(lengths) != len(content) - position:
        raise ValueError(
            f"tensor_content has {len(content) - position} bytes of strings, their lengths sum up "
            f"to {sum(lengths)}"
        )
    elements = []
    for length in lengths:
        elements.append(content[position : position + length])
        position += length
    return elements


def _values(tensor: tf.TensorProto, datatype: DataType, lists: Lists) -> Sized:
    field = _FIELDS[datatype.tf_values]
    content = lists.get(field.number)
    if content is None:
        values: Sized = getattr(tensor, datatype.tf_values)
        return values
    return numbers(field, content) if isinstance(content, memoryview) else content


def _check_others(lists: Lists, datatype: DataType) -> None:
    """Lists of other types are not looked at; that they can be parsed is no less a rule."""
    for number, values in lists.items():
        if number != _FIELDS[datatype.tf_values].number and isinstance(values, memoryview):
            numbers(_BY_NUMBER[number], values)


def _typed_list(datatype: DataType, count: int, values: Sized, take: Take) -> TensorData:
    """Return a typed list's elements, filled up to `count`."""
    if len(values) > count:
        raise ValueError(
            f"{datatype.tf_values} has {len(values)} values, the shape has room for {count}"
        )
    missing = count - len(values)
    filled = missing * (datatype.byte_size or _STRING_BYTES)
    if filled > MAX_FILLED_BYTES:
        raise ValueError(
            f"{datatype.tf_values} has {len(values)} of {count} values, and at most "
            f"{MAX_FILLED_BYTES} bytes are filled up with the last one: send them all"
        )
    take(2 * filled)  # the filling, and the whole
    if datatype.byte_size is None:
        elements = elements_of(values)
        return elements if not missing else elements + [elements[-1] if elements else b""] * missing
    array = _numbers(datatype, values)
    if not missing:
        return array
    last = array[-1] if len(array) else np.zeros((), array.dtype)
    return np.concatenate([array, np.full(missing, last, array.dtype)])


def _numbers(datatype: DataType, values: object) -> np.ndarray:
    if datatype.tf_values == "half_val":
        carriers = array_of(values, np.dtype("<i4"))
        return carriers.astype(np.dtype("<u2")).view(datatype.numpy)
    if datatype.tf_values == "int_val":
        return array_of(values, np.dtype("<i4")).astype(datatype.numpy)
    return array_of(values, datatype.numpy)
