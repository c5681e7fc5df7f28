"""Decodes TensorFlow Serving's JSON, rows or columns, to InferRequest.

    {"instances": [VALUE, …]}  or  {"instances": [{"a": VALUE, "b": VALUE}, …]}      rows
    {"inputs": VALUE}          or  {"inputs": {"a": [VALUE, …], "b": [VALUE, …]}}    columns

A model's only input needs no name. A VALUE is nested as its tensor is; the text of a string that is no
Unicode is {"b64": TEXT}. The stems of messages are upstream's (util/json_tensor.cc).
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_server.datatypes import DataType
from zoo_server.errors import InvalidRequest, UnreadableJson, Unsupported
from zoo_server.inference.request import InferRequest, InputTensor, TensorData
from zoo_server.model_config import InputSettings, ModelSettings
from zoo_server.protocols.rest.elements import (
    JSON_TYPES,
    MAX_DEPTH,
    Values,
    elements,
    joined,
    no_collection,
    types_of,
)
from zoo_server.protocols.rest.infer_request import BINARY_ONLY
from zoo_server.protocols.rest.json_values import NO_JSON, Json, parse_json
from zoo_server.protocols.rest.sliced_json import SLICE
from zoo_server.protocols.servables import SIGNATURE

_BASE64 = "b64"

#: Of a value in a message.
_SHOWN_CHARACTERS = 256

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """A request, and whether its answer is rows."""

    request: InferRequest
    is_rows: bool


def decode(body: memoryview, settings: ModelSettings) -> PredictRequest:
    """Return the request as values; InvalidRequest, Unsupported for one that the model cannot take."""
    if not body:
        raise InvalidRequest("JSON Parse error: The document is empty")
    if len(body) <= SLICE:
        return _decode(body, settings)
    with no_collection():
        return _decode(body, settings)


def type_name(datatype: DataType) -> str:
    """Return what TensorFlow calls a datatype."""
    return tf.DataType.Name(datatype.tf_enum).removeprefix("DT_").lower()


def _decode(body: memoryview, settings: ModelSettings) -> PredictRequest:
    try:
        document = parse_json(body, "split the request, or call Predict over gRPC")
    except UnreadableJson as error:
        raise InvalidRequest(f"JSON Parse error: {str(error).removeprefix(NO_JSON)}") from None
    _check_signature(document)
    if ("instances" in document) == ("inputs" in document):
        if "inputs" not in document:
            raise InvalidRequest("Missing 'inputs' or 'instances' key")
        raise InvalidRequest(
            f"JSON Value: {_shown(document)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist"
        )
    is_rows = "instances" in document
    if is_rows:
        inputs = _rows(document["instances"], settings.inputs)
    else:
        inputs = _columns(document["inputs"], settings.inputs)
    return PredictRequest(request=InferRequest(id="", inputs=tuple(inputs)), is_rows=is_rows)


def _check_signature(document: Json) -> None:
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise InvalidRequest(
            f"JSON Value: {_shown(document)} not formatted correctly. 'signature_name' key must be "
            "a string value."
        )
    if signature not in ("", SIGNATURE):
        raise InvalidRequest(
            f'Serving signature name: "{signature[:_SHOWN_CHARACTERS]}" not found in signature def'
        )


# -- rows and columns ------------------------------------------------------------------------------


def _rows(instances: object, inputs: Sequence[InputSettings]) -> list[InputTensor]:
    if not isinstance(instances, list):
        raise InvalidRequest(
            f"JSON Value: {_shown(instances)} Expecting 'instances' to be an list/array"
        )
    if not instances:
        raise InvalidRequest("JSON Value: [] No values in 'instances' array")
    if not _is_named(instances[0]):
        if len(inputs) > 1:
            raise InvalidRequest(
                "instances is a plain list, but expecting list of objects as multiple input "
                "tensors required as per tensorinfo_map"
            )
        named = _first(instances, _is_named)
        if named is not None:
            raise InvalidRequest(
                f"Expecting value/list but got object at item {named} of input list"
            )
        return [_tensor(inputs[0], instances, _wrong_row(""))]
    plain = _first(instances, lambda row: not _is_named(row))
    if plain is not None:
        raise InvalidRequest(f"Expecting object but got list at item {plain} of input list")
    sent = _sent_names(instances, inputs)
    return [
        _tensor(
            settings,
            [row[settings.name] for row in instances],
            _wrong_row(f" key: {settings.name}"),
        )
        for settings in inputs
        if settings.name in sent
    ]


def _sent_names(rows: list[Json], inputs: Sequence[InputSettings]) -> set[str]:
    """Return which inputs the rows have: all the same, and all that are not optional."""
    known = {settings.name for settings in inputs}
    sent = set(rows[0])
    needed = {settings.name for settings in inputs if not settings.optional}
    for index, row in enumerate(rows):
        unknown = row.keys() - known
        if unknown:
            name = min(unknown)[:_SHOWN_CHARACTERS]
            raise _wrong_row(f" key: {name}")(
                index, f"JSON object: does not have named input: {name}"
            )
        if row.keys() != sent or not needed <= sent:
            keys = ",".join(sorted(needed | (sent & known)))
            raise InvalidRequest(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{_shown(row)} keys must be equal to: {keys}"
            )
    return sent


def _columns(value: object, inputs: Sequence[InputSettings]) -> list[InputTensor]:
    if not _is_named(value):
        if len(inputs) > 1:
            raise InvalidRequest(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        return [_tensor(inputs[0], value, _wrong_column)]
    missing = [s.name for s in inputs if s.name not in value and not s.optional]
    if missing:
        raise InvalidRequest(f"Missing named input: {missing[0]} in 'inputs' object.")
    return [
        _tensor(settings, value[settings.name], _wrong_column)
        for settings in inputs
        if settings.name in value
    ]


def _is_named(value: object) -> TypeGuard[Json]:
    """Tell whether a value is an object of named values, and not a binary string."""
    return type(value) is dict and not _is_base64(value)


def _is_base64(value: Json) -> bool:
    return len(value) == 1 and type(value.get(_BASE64)) is str


def _first(values: Values, holds: Callable[[object], bool]) -> int | None:
    return next((index for index, value in enumerate(values) if holds(value)), None)


def _wrong_row(key: str) -> Wrong:
    return lambda row, text: InvalidRequest(
        f"Failed to process element: {row}{key} of 'instances' list. Error: {text}"
    )


def _wrong_column(_: int, text: str) -> InvalidRequest:
    return InvalidRequest(text)


# -- one tensor ------------------------------------------------------------------------------------


def _tensor(settings: InputSettings, value: object, wrong: Wrong) -> InputTensor:
    datatype = settings.datatype
    if datatype.wire in BINARY_ONLY:
        raise Unsupported(
            f"Conversion of JSON Value to type: {type_name(datatype)} (input '{settings.name}'): "
            "call Predict over gRPC"
        )
    shape, flat = _dense(value, wrong)
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
        f"JSON Value: {_shown(value)} found at incorrect level: {level} in the JSON DOM. Expected "
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
    if type(value) is not dict or not _is_base64(value):
        raise wrong(row, f"JSON Value: {_shown(value)} not formatted correctly for base64 data")
    text = value[_BASE64]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise wrong(row, "Unable to base64 decode") from None


def _of_wrong_type(value: object, datatype: DataType) -> str:
    kind = str(value) if type(value) is bool else _NAMES[type(value)]
    return (
        f"JSON Value: {_shown(value)} Type: {kind} is not of expected type: {type_name(datatype)}"
    )


def _shown(value: object) -> str:
    """Return a value's JSON, or its beginning: no more of it is written."""
    text = ""
    for piece in json.JSONEncoder().iterencode(value):
        text += piece[:_SHOWN_CHARACTERS]
        if len(text) >= _SHOWN_CHARACTERS:
            return text[:_SHOWN_CHARACTERS]
    return text
