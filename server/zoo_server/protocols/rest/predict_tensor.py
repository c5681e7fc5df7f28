"""Converts one VALUE of TensorFlow Serving's JSON, nested as its tensor is, to InputTensor.

The stems of messages are upstream's (util/json_tensor.cc).
"""

import base64
import binascii
import json
from collections.abc import Callable

from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_server.datatypes import DataType
from zoo_server.errors import InvalidRequest, UnreadableJson, Unsupported
from zoo_server.inference.request import InputTensor, TensorData
from zoo_server.model_config import InputSettings
from zoo_server.protocols.rest.elements import (
    JSON_TYPES,
    MAX_DEPTH,
    Values,
    elements,
    joined,
    types_of,
)
from zoo_server.protocols.rest.infer_request import BINARY_ONLY
from zoo_server.protocols.rest.json_values import Json

_BASE64 = "b64"

#: Of a value in a message.
SHOWN_CHARACTERS = 256

#: What upstream calls a JSON value's type.
_NAMES = {
    type(None): "Null",
    int: "Number",
    float: "Number",
    str: "String",
    list: "Array",
    dict: "Object",
}

#: Makes the error of what is wrong with the element of a row.
Wrong = Callable[[int, str], InvalidRequest]


def type_name(datatype: DataType) -> str:
    """Return what TensorFlow calls a datatype."""
    return tf.DataType.Name(datatype.tf_enum).removeprefix("DT_").lower()


def is_base64(value: Json) -> bool:
    """Tell whether an object is a binary string."""
    return len(value) == 1 and type(value.get(_BASE64)) is str


def tensor_of(settings: InputSettings, value: object, wrong: Wrong) -> InputTensor:
    """Return a value as an input's tensor; `wrong` makes the error of what is wrong with a row of it."""
    datatype = settings.datatype
    if datatype.wire in BINARY_ONLY:
        raise Unsupported(
            f"Conversion of JSON Value to type: {type_name(datatype)} (input '{settings.name}'): "
            "call Predict over gRPC"
        )
    shape, flat = _dense(value, wrong)
    if settings.image is not None and types_of(flat) == {dict}:
        files = [_bytes(item, row, wrong) for row, item in enumerate(flat)]
        return InputTensor(name=settings.name, datatype="BYTES", shape=shape, data=files)
    data = _values(flat, datatype, settings.name, wrong, shape[0] if shape else 1)
    return InputTensor(name=settings.name, datatype=datatype.wire, shape=shape, data=data)


def _dense(value: object, wrong: Wrong) -> tuple[tuple[int, ...], Values]:
    """Return shape and elements, row-major; the shape is that of the first at each level."""
    if type(value) is not list:
        return (), [value]
    shape, data = [len(value)], value
    for level in range(1, MAX_DEPTH):
        kinds = types_of(data)
        if list not in kinds:
            return tuple(shape), data
        per_row = max(1, len(data) // shape[0])
        if len(kinds) > 1:
            is_list = type(data[0]) is not list
            odd = next(i for i, item in enumerate(data) if (type(item) is list) is is_list)
            raise wrong(odd // per_row, _at_wrong_level(data[odd], level))
        size = len(data[0])
        different = next((i for i, item in enumerate(data) if len(item) != size), None)
        if different is not None:
            raise wrong(
                different // per_row,
                f"Encountered list at unexpected size: {len(data[different])} at level: {level} "
                f"expected size: {size}",
            )
        shape.append(size)
        data = joined(data)
    raise InvalidRequest(f"JSON nesting depth exceeds maximum allowed limit ({MAX_DEPTH})")


def _at_wrong_level(value: object, level: int) -> str:
    if type(value) is list:
        return f"Encountered list at unexpected level: {level} expected < {level}"
    return (
        f"JSON Value: {shown(value)} found at incorrect level: {level} in the JSON DOM. Expected "
        f"at level: {level + 1}"
    )


def _values(flat: Values, datatype: DataType, name: str, wrong: Wrong, rows: int) -> TensorData:
    per_row = max(1, len(flat) // max(1, rows))
    allowed = JSON_TYPES[datatype.numpy.kind][0]
    if datatype.byte_size is None and dict in types_of(flat):
        return [_bytes(item, index // per_row, wrong) for index, item in enumerate(flat)]
    if not types_of(flat) <= allowed:
        index = next(i for i, item in enumerate(flat) if type(item) not in allowed)
        raise wrong(index // per_row, _of_wrong_type(flat[index], datatype))
    try:
        return elements(flat, datatype, name)
    except UnreadableJson as error:  # beyond 64 bits, or half a pair of surrogates
        raise InvalidRequest(str(error)) from None


def _bytes(value: object, row: int, wrong: Wrong) -> bytes:
    if type(value) is str:
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise wrong(row, "a string is not valid Unicode") from None
    if type(value) is not dict or not is_base64(value):
        raise wrong(row, f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    text = value[_BASE64]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise wrong(row, "Unable to base64 decode") from None


def _of_wrong_type(value: object, datatype: DataType) -> str:
    kind = str(value) if type(value) is bool else _NAMES[type(value)]
    return f"JSON Value: {shown(value)} Type: {kind} is not of expected type: {type_name(datatype)}"


def shown(value: object) -> str:
    """Return a value's JSON, or its beginning: no more of it is written."""
    text = ""
    for piece in json.JSONEncoder().iterencode(value):
        text += piece[:SHOWN_CHARACTERS]
        if len(text) >= SHOWN_CHARACTERS:
            return text[:SHOWN_CHARACTERS]
    return text
