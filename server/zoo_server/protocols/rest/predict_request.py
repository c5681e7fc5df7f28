"""Decodes TensorFlow Serving's JSON, rows or columns, to InferRequest.

    {"instances": [VALUE, …]}  or  {"instances": [{"a": VALUE, "b": VALUE}, …]}      rows
    {"inputs": VALUE}          or  {"inputs": {"a": [VALUE, …], "b": [VALUE, …]}}    columns

A model's only input needs no name. A VALUE is nested as its tensor is; the text of a string that is no
Unicode is {"b64": TEXT}. The stems of messages are upstream's (util/json_tensor.cc).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from zoo_server.errors import InvalidRequest, UnreadableJson
from zoo_server.inference.request import InferRequest, InputTensor
from zoo_server.model_config import InputSettings, ModelSettings
from zoo_server.protocols.rest.elements import Values, collector_paused
from zoo_server.protocols.rest.json_values import NO_JSON, Json, parse_json
from zoo_server.protocols.rest.predict_tensor import (
    SHOWN_CHARACTERS,
    Wrong,
    is_base64,
    shown,
    tensor_of,
)
from zoo_server.protocols.rest.sliced_json import SLICE
from zoo_server.protocols.servables import SIGNATURE


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
    with collector_paused():
        return _decode(body, settings)


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
            f"JSON Value: {shown(document)} Not formatted correctly expecting only one of "
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
            f"JSON Value: {shown(document)} not formatted correctly. 'signature_name' key must be "
            "a string value."
        )
    if signature not in ("", SIGNATURE):
        raise InvalidRequest(
            f'Serving signature name: "{signature[:SHOWN_CHARACTERS]}" not found in signature def'
        )


# -- rows and columns ------------------------------------------------------------------------------


def _rows(instances: object, inputs: Sequence[InputSettings]) -> list[InputTensor]:
    if not isinstance(instances, list):
        raise InvalidRequest(
            f"JSON Value: {shown(instances)} Expecting 'instances' to be an list/array"
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
        return [tensor_of(inputs[0], instances, _wrong_row(""))]
    plain = _first(instances, lambda row: not _is_named(row))
    if plain is not None:
        raise InvalidRequest(f"Expecting object but got list at item {plain} of input list")
    sent = _sent_names(instances, inputs)
    return [
        tensor_of(
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
            name = min(unknown)[:SHOWN_CHARACTERS]
            raise _wrong_row(f" key: {name}")(
                index, f"JSON object: does not have named input: {name}"
            )
        if row.keys() != sent or not needed <= sent:
            keys = ",".join(sorted(needed | (sent & known)))
            raise InvalidRequest(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{shown(row)} keys must be equal to: {keys}"
            )
    return sent


def _columns(value: object, inputs: Sequence[InputSettings]) -> list[InputTensor]:
    if not _is_named(value):
        if len(inputs) > 1:
            raise InvalidRequest(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        return [tensor_of(inputs[0], value, _wrong_column)]
    missing = [s.name for s in inputs if s.name not in value and not s.optional]
    if missing:
        raise InvalidRequest(f"Missing named input: {missing[0]} in 'inputs' object.")
    return [
        tensor_of(settings, value[settings.name], _wrong_column)
        for settings in inputs
        if settings.name in value
    ]


def _is_named(value: object) -> TypeGuard[Json]:
    """Tell whether a value is an object of named values, and not a binary string."""
    return type(value) is dict and not is_base64(value)


def _first(values: Values, holds: Callable[[object], bool]) -> int | None:
    return next((index for index, value in enumerate(values) if holds(value)), None)


def _wrong_row(key: str) -> Wrong:
    return lambda row, text: InvalidRequest(
        f"Failed to process element: {row}{key} of 'instances' list. Error: {text}"
    )


def _wrong_column(_: int, text: str) -> InvalidRequest:
    return InvalidRequest(text)
