"""Encodes an answer's outputs as JSON and binary tensors.

{"id": …, "model_name": …, "model_version": …, "outputs": […]} | output bytes | output bytes …
"""

import json
from collections.abc import Iterator

import numpy as np
import orjson

from zoo_server.datatypes import by_wire, element_count, from_raw, parse_pieces
from zoo_server.errors import InvalidRequest
from zoo_server.inference.execution import Rows
from zoo_server.inference.plan import Plan
from zoo_server.inference.request import OutputTensor
from zoo_server.model_config import ModelSettings
from zoo_server.protocols.copies import join
from zoo_server.protocols.rest.infer_request import BINARY_ONLY, RestRequest
from zoo_server.protocols.rest.json_values import Json

#: Elements made text at a time: as Python objects they take ten times their size, and no
#: other thread of the interpreter runs meanwhile, for some milliseconds.
ELEMENTS_AT_ONCE = 1 << 13

_ENCODER = json.JSONEncoder(separators=(",", ":"))


def check_formats(plan: Plan, decoded: RestRequest) -> None:
    """Before anything runs: InvalidRequest for an output whose format cannot carry its datatype."""
    for output, requested in plan.outputs:
        wire = output.datatype.wire
        outside_json = requested.classes or requested.destination is not None
        if wire in BINARY_ONLY and not outside_json and not decoded.wants_binary(output.name):
            raise InvalidRequest(
                f"sending {wire} data via JSON is not supported. Please use the binary data format "
                f"for output '{output.name}'"
            )


def encode(
    settings: ModelSettings, plan: Plan, rows: Rows, decoded: RestRequest
) -> tuple[bytes, int | None]:
    """Return the body, and the length of its JSON where bytes follow.

    InvalidRequest for classes of an output that has none.
    """
    outputs: list[bytes] = []
    pieces: list[bytes | memoryview] = [b""]
    for output, requested in plan.outputs:
        tensor = rows.tensor(output, requested.classes, plan.batch_size, requested.destination)
        entry: Json = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
        }
        if requested.destination is not None:
            outputs.append(_json(entry))  # the data is where it was asked to go
        elif decoded.wants_binary(tensor.name):
            entry["parameters"] = {"binary_data_size": len(tensor.raw)}
            outputs.append(_json(entry))
            pieces.append(tensor.raw)
        else:
            outputs.append(b"".join(_with_data(entry, tensor)))
    answer: Json = {"id": decoded.request.id} if decoded.request.id else {}
    answer |= {"model_name": settings.name, "model_version": str(settings.version)}
    pieces[0] = b"".join((_json(answer)[:-1], b',"outputs":[', b",".join(outputs), b"]}"))
    has_bytes = any(len(piece) for piece in pieces[1:])
    return join(pieces), len(pieces[0]) if has_bytes else None


def _json(value: object) -> bytes:
    return _ENCODER.encode(value).encode()


def _with_data(entry: Json, tensor: OutputTensor) -> Iterator[bytes]:
    """Yield the JSON of an output with its elements, a step at a time."""
    yield _json(entry)[:-1]
    separator = b',"data":['
    for elements in _data(tensor):
        yield separator + elements[1:-1]
        separator = b","
    yield b"]}" if separator == b"," else b',"data":[]}'


def _data(tensor: OutputTensor) -> Iterator[bytes]:
    """Yield arrays of the elements in one dimension, as Triton writes them whatever the shape."""
    datatype = by_wire(tensor.datatype)
    if datatype.byte_size is None:
        for part in parse_pieces(tensor.raw, element_count(tensor.shape), tensor=tensor.name):
            yield _json([element.decode() for element in part])
        return
    values: np.ndarray = from_raw(datatype, tensor.shape, tensor.raw).reshape(-1)
    for begin in range(0, len(values), ELEMENTS_AT_ONCE):
        yield _numbers(values[begin : begin + ELEMENTS_AT_ONCE])


def _numbers(values: np.ndarray) -> bytes:
    """Return numbers as JSON, FP32 with the digits of the same double, as Triton writes it."""
    if values.dtype.kind == "f":
        values = values.astype(np.float64)
        if not np.isfinite(values).all():
            return _json(values.tolist())  # NaN and Infinity as such; orjson writes null
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
