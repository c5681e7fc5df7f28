"""Reads an ONNX TensorProto, without the onnx package."""

from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from zoo_proto.onnx_tensor_pb2 import TensorProto
from zoo_server.datatypes import (
    DATA_TYPES,
    DataType,
    byte_count,
    element_count,
    from_raw,
    object_array,
)

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


def parse_tensor(content: bytes) -> tuple[str, np.ndarray]:
    """Return a tensor's name, which may be empty, and its elements; words are objects of type str.

    ValueError says why these bytes hold no tensor that can be served.
    """
    try:
        tensor = TensorProto.FromString(content)
    except DecodeError:
        raise ValueError("it is not a TensorProto") from None
    if tensor.data_location == TensorProto.EXTERNAL:
        raise ValueError("its data lies in another file, which is not read")
    datatype = _BY_ENUM.get(tensor.data_type)
    if datatype is None:
        raise ValueError(f"its element type {tensor.data_type} is not one that is served")
    shape = tuple(tensor.dims)
    if tensor.HasField("raw_data"):
        if datatype.byte_size is None:
            raise ValueError("words in raw_data, which ONNX does not allow")
        return tensor.name, from_raw(datatype, shape, tensor.raw_data)
    return tensor.name, _typed_field(datatype, shape, getattr(tensor, _carrier(datatype)))


def _carrier(datatype: DataType) -> str:
    return _CARRIERS.get(datatype.wire, "int32_data")


def _typed_field(datatype: DataType, shape: tuple[int, ...], values: Any) -> np.ndarray:
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
