"""Request and output parameters: the known ones and their types.

docs/protocol.md 2.4. What is unknown passes; what begins with `triton_` is reserved. The sequence
parameters mean nothing to a stateless model, and like Triton we accept them there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.errors import InvalidRequest
from zoo_server.inference.request import ParameterValue

RESERVED_PREFIX = "triton_"

#: The one reserved key callers may send: the C++ client sends it with every request.
ALLOWED_RESERVED = ("triton_enable_empty_final_response",)

#: Key -> the typed fields that may carry it.
_TYPES: Mapping[str, tuple[str, ...]] = {
    "sequence_id": ("int64_param", "string_param"),
    "sequence_start": ("bool_param",),
    "sequence_end": ("bool_param",),
    "priority": ("int64_param", "uint64_param"),
    "timeout": ("int64_param",),
    "triton_enable_empty_final_response": ("bool_param",),
}

#: The most classes one output may be asked for; Triton's field has 32 bits.
_MAX_CLASSES = 2**31 - 1

#: A tensor of a request.
Tensor = pb.ModelInferRequest.InferInputTensor | pb.ModelInferRequest.InferRequestedOutputTensor

#: The parameters that say where in shared memory a tensor lies.
REGION = "shared_memory_region"
OFFSET = "shared_memory_offset"
SIZE = "shared_memory_byte_size"


def request_parameters(parameters: Mapping[str, pb.InferParameter]) -> dict[str, ParameterValue]:
    """Return the parameters' values; InvalidRequest for a reserved key or a wrong type."""
    return {key: _value(key, parameter) for key, parameter in parameters.items()}


def _value(key: str, parameter: pb.InferParameter) -> ParameterValue:
    field = parameter.WhichOneof("parameter_choice")
    allowed = _TYPES.get(key)
    if allowed is not None and field not in allowed:
        raise InvalidRequest(
            f"invalid value type for '{key}' parameter, expected {' or '.join(allowed)}."
        )
    if key.startswith(RESERVED_PREFIX) and allowed is None:
        raise InvalidRequest(
            f"parameter keys starting with '{RESERVED_PREFIX}' are reserved for Triton usage. Only "
            f"the following keys starting with '{RESERVED_PREFIX}' are allowed: "
            + " ".join(ALLOWED_RESERVED)
        )
    if field is None:
        raise InvalidRequest(
            f"invalid value type for '{key}' parameter, expected int64_param, bool_param, or "
            "string_param."
        )
    value: ParameterValue = getattr(parameter, field)
    if key == "priority" and int(value) < 0:
        raise InvalidRequest("invalid value for 'priority', expected value >= 0.")
    return value


def classes_of(parameters: Mapping[str, pb.InferParameter]) -> int:
    """Return the requested number of classes, 0 for the output's values (docs/protocol.md 2.3)."""
    parameter = parameters.get("classification")
    if parameter is None:
        return 0
    if parameter.WhichOneof("parameter_choice") != "int64_param":
        raise InvalidRequest(
            "invalid value type for 'classification' parameter, expected int64_param"
        )
    return check_classes(parameter.int64_param)


def check_classes(count: int) -> int:
    """Return a number of classes; InvalidRequest for one that no output has."""
    if not 0 < count <= _MAX_CLASSES:
        raise InvalidRequest("invalid value for 'classification' parameter, expected >= 0")
    return count


@dataclass(frozen=True, slots=True)
class RegionPart:
    """Where in shared memory a tensor lies, as a request says it."""

    region: str
    offset: int
    byte_size: int


def region_part_of(tensor: Tensor) -> RegionPart | None:
    """Return what an input's or output's parameters say of shared memory, None if nothing (2.3)."""
    region = _parameter(tensor, REGION, "string_param")
    offset, size = (_parameter(tensor, key, "int64_param") for key in (OFFSET, SIZE))
    return region_part(
        tensor.name,
        None if region is None else region.string_param,
        None if offset is None else offset.int64_param,
        None if size is None else size.int64_param,
    )


def region_part(
    tensor: str, region: str | None, offset: int | None, byte_size: int | None
) -> RegionPart | None:
    """Return the part of a region that a tensor's parameters name; InvalidRequest for half of one."""
    if region is None:
        for key, value in ((OFFSET, offset), (SIZE, byte_size)):
            if value is not None:
                raise InvalidRequest(
                    f"'{key}' can not be specified without '{REGION}' parameter for tensor "
                    f"'{tensor}'"
                )
        return None
    if byte_size is None:
        raise InvalidRequest(
            f"'{SIZE}' must be specified along with '{REGION}' parameter for tensor '{tensor}'"
        )
    return RegionPart(region, offset or 0, byte_size)


def check_output(part: RegionPart | None, classes: int) -> None:
    """InvalidRequest for an output that is to be classified and to be written to shared memory."""
    if part is not None and classes:
        raise InvalidRequest(f"output can't set both '{REGION}' and 'classification'")


def _parameter(tensor: Tensor, key: str, field: str) -> pb.InferParameter | None:
    """Return a parameter that must have that field if it is there."""
    if key not in tensor.parameters:
        return None
    parameter = tensor.parameters[key]
    if parameter.WhichOneof("parameter_choice") != field:
        raise InvalidRequest(
            f"invalid value type for '{key}' parameter for tensor '{tensor.name}', expected {field}."
        )
    return parameter
