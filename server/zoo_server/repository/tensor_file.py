"""One ONNX TensorProto from a file, without the onnx package, which a serving machine lacks.

protobuf parses the bytes; only the fields that hold a tensor are described here, by the numbers and
types of onnx/onnx.proto (TensorProto). The message is called otherwise and lives in a pool of its
own, so that it meets neither onnx's nor TensorFlow's in the same process.
"""

from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from zoo_server.datatypes import (
    DATA_TYPES,
    DataType,
    byte_count,
    element_count,
    from_raw,
    object_array,
)

_TYPES = descriptor_pb2.FieldDescriptorProto

#: (name, number, type, repeated)
_FIELDS = (
    ("dims", 1, _TYPES.TYPE_INT64, True),
    ("data_type", 2, _TYPES.TYPE_INT32, False),
    ("float_data", 4, _TYPES.TYPE_FLOAT, True),
    ("int32_data", 5, _TYPES.TYPE_INT32, True),
    ("string_data", 6, _TYPES.TYPE_BYTES, True),
    ("int64_data", 7, _TYPES.TYPE_INT64, True),
    ("name", 8, _TYPES.TYPE_STRING, False),
    ("raw_data", 9, _TYPES.TYPE_BYTES, False),
    ("double_data", 10, _TYPES.TYPE_DOUBLE, True),
    ("uint64_data", 11, _TYPES.TYPE_UINT64, True),
    ("data_location", 14, _TYPES.TYPE_INT32, False),
)

#: data_location when the bytes lie in another file.
_EXTERNAL = 1

#: The field that carries a type's elements where raw_data does not; all others use int32_data.
_CARRIERS = {
    "FP32": "float_data",
    "FP64": "double_data",
    "INT64": "int64_data",
    "UINT64": "uint64_data",
    "UINT32": "uint64_data",
    "BYTES": "string_data",
}

_BY_ENUM = {row.onnx_enum: row for row in DATA_TYPES}


def _message() -> Any:
    """Return the message class."""
    file = descriptor_pb2.FileDescriptorProto(
        name="layer_zoo/tensor.proto", package="layer_zoo", syntax="proto2"
    )
    message = file.message_type.add(name="Tensor")
    for name, number, kind, repeated in _FIELDS:
        label = _TYPES.LABEL_REPEATED if repeated else _TYPES.LABEL_OPTIONAL
        message.field.add(name=name, number=number, type=kind, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("layer_zoo.Tensor"))


_Tensor = _message()


def read_tensor(path: Path) -> tuple[str, np.ndarray[Any, Any]]:
    """Return a tensor's name, which may be empty, and its elements; words are objects of type str.

    ValueError says why the file holds no tensor that can be served; OSError if it cannot be read.
    """
    try:
        tensor = _Tensor.FromString(path.read_bytes())
    except DecodeError:
        raise ValueError("it is not a TensorProto") from None
    if tensor.data_location == _EXTERNAL:
        raise ValueError("its data lies in another file, which is not read")
    datatype = _BY_ENUM.get(tensor.data_type)
    if datatype is None:
        raise ValueError(f"its element type {tensor.data_type} is not one that is served")
    shape = tuple(tensor.dims)
    if tensor.HasField("raw_data"):
        if datatype.byte_size is None:
            raise ValueError("words in raw_data, which ONNX does not allow")
        return tensor.name, from_raw(datatype, shape, tensor.raw_data)
    return tensor.name, _typed(datatype, shape, getattr(tensor, _carrier(datatype)))


def _carrier(datatype: DataType) -> str:
    return _CARRIERS.get(datatype.wire, "int32_data")


def _typed(datatype: DataType, shape: tuple[int, ...], values: Any) -> np.ndarray[Any, Any]:
    """Return the elements of a typed field."""
    if datatype.byte_size is None:
        count = element_count(shape)
        if len(values) != count:
            raise ValueError(f"it holds {len(values)} words where its shape needs {count}")
        return object_array([value.decode() for value in values], shape)
    # Half precision and bfloat16 are carried as their bits.
    bits = datatype.wire in ("FP16", "BF16")
    kind = np.dtype("<u2") if bits else datatype.numpy
    try:
        raw = np.array(list(values), object).astype(kind).tobytes() if values else b""
    except OverflowError as error:
        raise ValueError(f"{datatype.wire} cannot hold its elements: {error}") from None
    if len(raw) != byte_count(datatype, shape):
        raise ValueError(f"it holds {len(values)} elements, and its shape is {list(shape)}")
    return from_raw(datatype, shape, raw)
