"""Encodes request parameters in the protocol's typed fields.

    bool ──> bool_param      int ──> int64_param (`priority`: uint64_param, as Triton's client sends it)
    str  ──> string_param    float ──> double_param

What a key means is the server's business: `priority`, `timeout` (microseconds in the queue), custom.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

from zoo.client.errors import InvalidArgument

Parameter = bool | int | float | str

#: bool first: it is an int to Python.
_FIELDS = (
    (bool, "bool_param"),
    (int, "int64_param"),
    (float, "double_param"),
    (str, "string_param"),
)


def write(target: Any, parameters: Mapping[str, Parameter]) -> None:
    """Fill a request's map of parameters; InvalidArgument names the one that cannot be sent."""
    for key, value in parameters.items():
        field = next((field for kind, field in _FIELDS if isinstance(value, kind)), None)
        if field is None:
            raise _invalid(key, value, "give a bool, an int, a float or a str")
        if key == "priority" and field == "int64_param":
            field = "uint64_param"
        try:
            setattr(target[key], field, value)
        except (TypeError, ValueError) as error:  # of protobuf: a number or a text does not fit
            raise _invalid(key, value, f"{field} cannot hold that ({error})") from None


def _invalid(key: Any, value: Any, cure: str) -> InvalidArgument:
    shown = reprlib.repr(value)
    return InvalidArgument("INVALID_ARGUMENT", f"parameter {key!r} is {shown}: {cure}")
