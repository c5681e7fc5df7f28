"""Converts arrays, lists and strings to tensors of a model's datatype, and back.

Values are converted where nothing but precision can be lost: to floats from anything, to integers
from integers that fit. BF16, which numpy lacks, is float32 on this side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoo_server import datatypes
from zoo_server.datatypes import DataType

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Array = np.ndarray


def to_array(value: ArrayLike, datatype: DataType) -> Array:
    """Return `value` in the datatype's carrier; ValueError says what cannot be converted."""
    if datatype.byte_size is None:
        return _strings(value)
    array = np.asarray(value)
    if datatype.wire == "BF16":
        return _bfloat16(array)
    target, kind = datatype.numpy, array.dtype.kind
    if array.dtype == target:
        return array
    if kind not in "biuf" or target.kind == "b" or (kind == "f" and target.kind != "f"):
        raise ValueError(f"takes {datatype.wire}, and {array.dtype} values are not that")
    if target.kind in "iu" and array.size:
        limits, low, high = np.iinfo(target), array.min(), array.max()
        if int(low) < limits.min or int(high) > limits.max:
            raise ValueError(
                f"takes {datatype.wire}, and {low if int(low) < limits.min else high} does not fit"
            )
    with np.errstate(over="ignore"):  # beyond the largest float is infinity
        return array.astype(target)


def from_raw(datatype: DataType, shape: tuple[int, ...], raw: bytes) -> Array:
    """Return raw wire data as an array; ValueError if it is not what the shape needs."""
    array = datatypes.from_raw(datatype, shape, raw)
    if datatype.wire == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array


def _strings(value: ArrayLike) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "SUO":
        raise ValueError(f"takes BYTES, and {array.dtype} values are not strings")
    if array.dtype.kind != "O":
        # Again from the value: numpy's fixed-width strings lose NULs at the end.
        array = np.asarray(value, dtype=object)
    for element in array.flat:
        if not isinstance(element, str | bytes):
            raise ValueError(f"takes BYTES, and a {type(element).__name__} is no string")
    return array


def _bfloat16(array: Array) -> Array:
    """Return the upper halves of float32 values, rounded to nearest, ties to even."""
    if array.dtype.kind not in "biuf":
        raise ValueError(f"takes BF16, and {array.dtype} values are not that")
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    bits = single.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    # Rounding would carry a NaN's bits over into another number.
    return np.where(np.isnan(single), 0x7FC0, rounded).astype("<u2")
