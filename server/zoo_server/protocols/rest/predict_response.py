"""Encodes an answer as TensorFlow Serving's JSON.

    {"predictions": [ROW, …]}       to rows; ROW is {"a": VALUE, "b": VALUE} if there are more outputs
    {"outputs": VALUE}              to columns, or {"outputs": {"a": VALUE, "b": VALUE}}

Numbers have the digits that upstream gives them: six if they tell the value, else nine (FP32) or
seventeen. Strings of an output whose name ends in `_bytes` are {"b64": TEXT} (util/json_tensor.cc).
"""

import base64
import json
from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from zoo_server.datatypes import by_wire, from_raw
from zoo_server.errors import InvalidRequest
from zoo_server.inference.execution import Rows
from zoo_server.inference.plan import Plan
from zoo_server.protocols.rest.infer_request import BINARY_ONLY
from zoo_server.protocols.rest.predict_tensor import type_name

_BYTES_SUFFIX = "_bytes"

#: Elements made text at a time, which takes about a millisecond; in between other threads run.
_ELEMENTS_AT_ONCE = 1 << 11

#: Digits that tell every value of a type, by its size in bytes.
_DIGITS = {4: 9, 8: 17}


def check_datatypes(plan: Plan) -> None:
    """Before anything runs: InvalidRequest for an output that JSON cannot carry."""
    for output, _ in plan.outputs:
        if output.datatype.wire in BINARY_ONLY:
            raise InvalidRequest(
                f"Failed to write JSON value for tensor type: {type_name(output.datatype)} (output "
                f"'{output.name}'): call Predict over gRPC"
            )


def encode(plan: Plan, rows: Rows, *, is_rows: bool) -> bytes:
    """Return the body; InvalidRequest if outputs have no rows, or not equally many."""
    arrays = {}
    for output, requested in plan.outputs:
        tensor = rows.tensor(output, requested.classes, plan.batch_size)
        arrays[tensor.name] = from_raw(by_wire(tensor.datatype), tensor.shape, tensor.raw)
    return "".join(_by_row(arrays) if is_rows else _by_column(arrays)).encode()


def _by_column(arrays: dict[str, np.ndarray]) -> Iterator[str]:
    yield '{"outputs":'
    if len(arrays) == 1:
        yield from _nested(*next(iter(arrays.items())))
    else:
        yield from _object(arrays)
    yield "}"


def _by_row(arrays: dict[str, np.ndarray]) -> Iterator[str]:
    count = _row_count(arrays)
    yield '{"predictions":'
    if len(arrays) == 1:
        yield from _nested(*next(iter(arrays.items())))
    else:
        separator = "["
        for row in range(count):
            yield separator
            yield from _object({name: array[row, ...] for name, array in arrays.items()})
            separator = ","
        yield "]" if count else "[]"
    yield "}"


def _row_count(arrays: dict[str, np.ndarray]) -> int:
    count: int | None = None
    for name, array in arrays.items():
        if not array.ndim:
            raise InvalidRequest(f"Tensor name: {name} has no shape information")
        if count not in (None, array.shape[0]):
            raise InvalidRequest(
                f"Tensor name: {name} has inconsistent batch size: {array.shape[0]} expecting: "
                f"{count}: ask with 'inputs' instead of 'instances'"
            )
        count = array.shape[0]
    return count or 0


def _object(arrays: dict[str, np.ndarray]) -> Iterator[str]:
    separator = "{"
    for name, array in arrays.items():
        yield f"{separator}{json.dumps(name)}:"
        yield from _nested(name, array)
        separator = ","
    yield "}"


def _nested(name: str, array: np.ndarray) -> Iterator[str]:
    """Yield an array's JSON, nested as its shape is, a step at a time."""
    if not array.size:
        yield json.dumps(array.tolist())
        return
    flat = array.reshape(-1)
    #: So many elements end an array of each level, the outermost first.
    sizes = [prod(array.shape[level:]) for level in range(array.ndim)]
    line = sizes[-1] if sizes else 1
    yield "[" * array.ndim
    for begin in range(0, len(flat), _ELEMENTS_AT_ONCE):
        texts = _texts(name, flat[begin : begin + _ELEMENTS_AT_ONCE])
        at, end = begin, begin + len(texts)
        while at < end:
            until = min(end, at - at % line + line)
            yield ",".join(texts[at - begin : until - begin])
            if until < len(flat):
                ended = sum(not until % size for size in sizes)
                yield f"{']' * ended},{'[' * ended}"
            at = until
    yield "]" * array.ndim


def _texts(name: str, values: np.ndarray) -> Sequence[str]:
    """Return each value's JSON."""
    kind = values.dtype.kind
    if kind == "f":
        return _decimals(values)
    if kind == "b":
        return ["true" if value else "false" for value in values.tolist()]
    if kind != "O":
        return [str(value) for value in values.tolist()]
    if name.endswith(_BYTES_SUFFIX):
        return [f'{{"b64":"{base64.b64encode(value).decode()}"}}' for value in values]
    return [json.dumps(value.decode(), ensure_ascii=False) for value in values]


def _decimals(values: np.ndarray) -> list[str]:
    numbers = values.tolist()
    texts = ("%g " * len(numbers) % tuple(numbers)).split()
    with np.errstate(over="ignore"):
        exact = np.array([float(text) for text in texts], values.dtype) == values
    inexact = np.flatnonzero(~exact).tolist()
    every_digit = f"%.{_DIGITS[values.dtype.itemsize]}g " * len(inexact)
    all_of_them = (every_digit % tuple(numbers[index] for index in inexact)).split()
    for index, text in zip(inexact, all_of_them, strict=True):
        texts[index] = "NaN" if text == "nan" else text
    return [text if "." in text or "e" in text else _whole(text) for text in texts]


def _whole(text: str) -> str:
    if text.endswith("inf"):
        return text.replace("inf", "Infinity")
    return text if text == "NaN" else f"{text}.0"
