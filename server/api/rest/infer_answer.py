"""An answer's outputs to JSON and binary tensors.

{"id": …, "model_name": …, "model_version": …, "outputs": […]} | output bytes | output bytes …
"""

import json
from typing import Any

import numpy as np

from server.api.rest.infer_request import BINARY_ONLY, Asked
from server.errors import InvalidRequest
from server.inference.execution import Rows
from server.inference.messages import OutputTensor
from server.inference.validation import Plan
from server.repository.settings import ModelSettings
from server.tensors import by_wire, element_count, from_raw, parse_bytes


def check_forms(plan: Plan, asked: Asked) -> None:
    """Before anything runs: InvalidRequest for an output whose form cannot carry its datatype."""
    for output, requested in plan.outputs:
        wire = output.datatype.wire
        has_form = requested.classes or requested.destination is not None
        if wire in BINARY_ONLY and not has_form and not asked.wants_binary(output.name):
            raise InvalidRequest(
                f"sending {wire} data via JSON is not supported. Please use the binary data format "
                f"for output '{output.name}'"
            )


def encode(
    settings: ModelSettings, plan: Plan, rows: Rows, asked: Asked
) -> tuple[bytes, int | None]:
    """Return the body, and the length of its JSON where bytes follow.

    InvalidRequest for classes of an output that has none.
    """
    outputs: list[dict[str, Any]] = []
    pieces = [b""]
    for output, requested in plan.outputs:
        tensor = rows.tensor(output, requested.classes, plan.batch_size, requested.destination)
        entry: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
        }
        if requested.destination is not None:
            pass  # the data is where it was asked to go
        elif asked.wants_binary(tensor.name):
            entry["parameters"] = {"binary_data_size": len(tensor.raw)}
            pieces.append(tensor.raw)
        else:
            entry["data"] = _data(tensor)
        outputs.append(entry)
    answer: dict[str, Any] = {"id": asked.request.id} if asked.request.id else {}
    answer |= {
        "model_name": settings.name,
        "model_version": str(settings.version),
        "outputs": outputs,
    }
    pieces[0] = json.dumps(answer, separators=(",", ":")).encode()
    has_bytes = any(pieces[1:])
    return b"".join(pieces), len(pieces[0]) if has_bytes else None


def _data(tensor: OutputTensor) -> list[Any]:
    """Return the elements in one dimension, as Triton writes them whatever the shape."""
    datatype = by_wire(tensor.datatype)
    if datatype.byte_size is None:
        elements = parse_bytes(tensor.raw, element_count(tensor.shape), tensor=tensor.name)
        return [element.decode() for element in elements]
    values: np.ndarray[Any, Any] = from_raw(datatype, tensor.shape, tensor.raw)
    flat: list[Any] = values.reshape(-1).tolist()
    return flat
