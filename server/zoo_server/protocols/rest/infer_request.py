"""Decodes an HTTP inference request, JSON and binary tensors, to InferRequest.

    {"id": …, "parameters": {…}, "inputs": […], "outputs": […]} | input bytes | input bytes …
    └─────────── Inference-Header-Content-Length ──────────────┘

An input's data is the member `data` (nested or flat, row-major), or the next `binary_data_size` bytes
after the JSON. FP16 and BF16 have no JSON form. A header of length 0 means that the whole body is the
data of the model's only input.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zoo_server.datatypes import DATA_TYPES, VARIABLE, element_count, serialize_bytes
from zoo_server.errors import InvalidRequest, UnreadableJson
from zoo_server.inference.picture_tensors import SIGNATURES
from zoo_server.inference.request import (
    InferRequest,
    InputTensor,
    OutputRequest,
    ParameterValue,
    TensorData,
)
from zoo_server.inference.shared_memory import SharedMemory
from zoo_server.model_config import ModelSettings
from zoo_server.protocols.parameters import (
    OFFSET,
    REGION,
    RESERVED_PREFIX,
    SIZE,
    RegionPart,
    check_classes,
    check_output,
    region_part,
)
from zoo_server.protocols.rest.elements import Values, collector_paused, elements, flatten
from zoo_server.protocols.rest.json_values import (
    SET,
    Json,
    array,
    flag,
    parameters,
    parse_json,
    text,
    unsigned,
)
from zoo_server.protocols.rest.sliced_json import SLICE

_BY_WIRE = {row.wire: row for row in DATA_TYPES}

#: Datatypes that only bytes can carry.
BINARY_ONLY = frozenset({"FP16", "BF16"})

#: What Triton reads `binary_data_size` as; more than a body has is another fault than no number.
_MOST_BYTES = 2**64 - 1

_FLAGS = ("sequence_start", "sequence_end")
_NUMBERS = ("priority", "timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRequest:
    """A request, and in which format each output is wanted."""

    request: InferRequest
    #: Of outputs that the request does not list.
    binary_by_default: bool = False
    binary: Mapping[str, bool] = field(default_factory=dict)

    def wants_binary(self, output: str) -> bool:
        """Tell whether an output goes out as bytes."""
        return self.binary.get(output, self.binary_by_default)


def decode(
    body: memoryview, header_length: int, settings: ModelSettings, memory: SharedMemory
) -> RestRequest:
    """Return the request as values; InvalidRequest, UnreadableJson for one that no model could take.

    `header_length`: how much of the body is JSON. Where a tensor names a region of shared memory:
    NotFound, Unsupported as SharedMemory.source says.
    """
    if header_length == 0:
        return _raw(body, settings)
    if header_length <= SLICE:
        return _decode(body, header_length, settings, memory)
    with collector_paused():
        return _decode(body, header_length, settings, memory)


def _decode(
    body: memoryview, header_length: int, settings: ModelSettings, memory: SharedMemory
) -> RestRequest:
    header = parse_json(body[:header_length])
    members = parameters(header)
    binary_by_default = flag(members, "binary_data_output")
    listed = array(header, "outputs") if "outputs" in header else []
    pairs = [_output(output, memory) for output in listed]
    return RestRequest(
        request=InferRequest(
            id=text(header, "id") if "id" in header else "",
            parameters=_parameters(members),
            inputs=_inputs(array(header, "inputs"), body[header_length:], settings.name, memory),
            outputs=tuple(output for output, _ in pairs),
        ),
        binary_by_default=binary_by_default,
        binary={output.name: binary for output, binary in pairs},
    )


def _parameters(members: Mapping[str, object]) -> dict[str, ParameterValue]:
    """docs/protocol.md 2.4, by JSON's types; what is HTTP's own affair does not reach the model."""
    values: dict[str, ParameterValue] = {}
    for key, value in members.items():
        if key.startswith(RESERVED_PREFIX):
            raise InvalidRequest(
                f"parameter keys starting with '{RESERVED_PREFIX}' are reserved for Triton usage "
                "and should not be specified."
            )
        if key == "binary_data_output":
            continue
        if key in _FLAGS:
            values[key] = flag(dict(members), key)
        elif key == "sequence_id":
            is_number = type(value) is int and value >= 0
            values[key] = unsigned(value, key) if is_number else text(dict(members), key)
        elif key in _NUMBERS:
            values[key] = unsigned(value, key)
        elif isinstance(value, bool | int | float | str):
            values[key] = value
        else:
            raise InvalidRequest(
                f"parameter '{key}' has invalid type. It should be either 'int', 'bool', or "
                "'string'."
            )
    return values


def _inputs(
    listed: Sequence[object], data: memoryview, model: str, memory: SharedMemory
) -> tuple[InputTensor, ...]:
    inputs: list[InputTensor] = []
    used = 0
    for item in listed:
        members = parameters(item) if isinstance(item, dict) else {}
        if not isinstance(item, dict):
            raise InvalidRequest("Unable to parse 'inputs': an input is not an object")
        _one_route(item, members)
        name, datatype = text(item, "name"), text(item, "datatype")
        shape = tuple(unsigned(size, "shape") for size in array(item, "shape"))
        part = _region_part(name, members)
        content: TensorData
        if part is not None:
            content = memory.source(part.region, part.offset, part.byte_size)
        elif "binary_data_size" in members:
            size = unsigned(members["binary_data_size"], "binary_data_size", most=_MOST_BYTES)
            if size > len(data) - used:
                raise InvalidRequest(
                    f"unexpected size for input '{name}', expecting {size - len(data) + used} "
                    f"additional bytes for model '{model}'"
                )
            content = data[used : used + size]
            used += size
        else:
            content = _tensor_data(array(item, "data"), datatype, name, shape)
        inputs.append(InputTensor(name=name, datatype=datatype, shape=shape, data=content))
    if used != len(data):
        raise InvalidRequest(f"unexpected additional input data for model '{model}'")
    return tuple(inputs)


def _one_route(item: Mapping[str, object], members: Mapping[str, object]) -> None:
    """An input brings its data by exactly one route (docs/protocol.md 2.2.1)."""
    routes = {
        "data": "data" in item,
        "binary_data_size": "binary_data_size" in members,
        "shared_memory_region": "shared_memory_region" in members,
    }
    routes_set = [f"'{route}'" for route, is_set in routes.items() if is_set]
    if len(routes_set) != 1:
        raise InvalidRequest(
            "Input must set only one of the following fields: 'data', 'binary_data_size' in "
            "'parameters', 'shared_memory_region' in 'parameters'. But "
            + (f"set {' '.join(routes_set)}" if routes_set else "no field is set")
        )


def _region_part(tensor: str, members: Json) -> RegionPart | None:
    """Return where in shared memory a tensor lies, None if its parameters do not say so (2.3)."""
    offset, size = (
        unsigned(members[key], key) if key in members else None for key in (OFFSET, SIZE)
    )
    region = text(members, REGION) if REGION in members else None
    return region_part(tensor, region, offset, size)


def _output(item: object, memory: SharedMemory) -> tuple[OutputRequest, bool]:
    if not isinstance(item, dict):
        raise UnreadableJson("Unable to parse 'outputs': an output is not an object")
    members = parameters(item)
    name, binary = text(item, "name"), flag(members, "binary_data")
    part, classes = _region_part(name, members), 0
    if "classification" in members:
        classes = check_classes(unsigned(members["classification"], "classification", SET))
    check_output(part, classes)
    if part is None:
        return OutputRequest(name=name, classes=classes), binary
    if binary:
        raise InvalidRequest(f"output can't set both '{REGION}' and 'binary_data'")
    destination = memory.destination(part.region, part.offset, part.byte_size)
    return OutputRequest(name=name, destination=destination), False


# -- data -----------------------------------------------------------------------------------------


def _tensor_data(data: Values, datatype: str, name: str, shape: tuple[int, ...]) -> TensorData:
    """Return JSON data as an array in one dimension, or as BYTES elements."""
    if datatype in BINARY_ONLY:
        raise InvalidRequest(
            f"receiving {datatype} data via JSON is not supported. Please use the binary data "
            f"format for input {name}"
        )
    row = _BY_WIRE.get(datatype)
    if row is None:
        raise InvalidRequest(f"invalid datatype for input {name}")
    flat = flatten(data)
    try:
        count = element_count(shape)
    except ValueError as error:
        raise InvalidRequest(f"invalid shape for input '{name}': {error}") from None
    if len(flat) != count:
        raise UnreadableJson(
            f"Unable to parse 'data': Shape does not match true shape of 'data' field: input "
            f"'{name}' has {len(flat)} elements, its shape {count}"
        )
    return elements(flat, row, name)


def _raw(body: memoryview, settings: ModelSettings) -> RestRequest:
    """The whole body is the only input's data, its shape as the configuration says."""
    if len(settings.inputs) != 1:
        raise InvalidRequest(
            "Raw request must only have 1 input (found 1) to be deduced but got "
            f"{len(settings.inputs)} inputs in model '{settings.name}'"
        )
    tensor = settings.inputs[0]
    if tensor.image is not None and bytes(body[:8]).startswith(SIGNATURES):
        picture = InputTensor(
            name=tensor.name, datatype="BYTES", shape=(1,), data=serialize_bytes([bytes(body)])
        )
        return RestRequest(request=InferRequest(id="", inputs=(picture,)), binary_by_default=True)
    shape = ([1] if settings.max_batch_size else []) + list(tensor.dims)
    variable = [index for index, size in enumerate(shape) if size == VARIABLE]
    if len(variable) > 1:
        raise InvalidRequest(
            f"The shape of the raw input '{tensor.name}' can not be deduced because there are more "
            "than one variable-sized dimension"
        )
    known = element_count([size for size in shape if size != VARIABLE])
    data: TensorData = body
    if tensor.datatype.byte_size is None:
        if variable or known != 1:
            raise InvalidRequest(
                f"For BYTE datatype raw input '{tensor.name}', the model must have input shape [1]"
            )
        data = serialize_bytes([bytes(body)])
    elif variable:
        row = known * tensor.datatype.byte_size
        shape[variable[0]] = len(body) // row if row else 0
    sent = InputTensor(
        name=tensor.name, datatype=tensor.datatype.wire, shape=tuple(shape), data=data
    )
    return RestRequest(request=InferRequest(id="", inputs=(sent,)), binary_by_default=True)
