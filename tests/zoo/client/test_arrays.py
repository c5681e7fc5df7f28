"""What the client makes of arrays, and arrays of answers: every datatype there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.client.arrays import from_raw, to_array
from zoo_server import datatypes


@pytest.mark.parametrize("row", datatypes.DATA_TYPES, ids=lambda row: row.wire)
def test_every_datatype_goes_and_comes_back(row: datatypes.DataType) -> None:
    """From lists to the wire and back to arrays; BF16 as float32."""
    values = {"BOOL": [True, False], "BYTES": [b"a\0", b""]}.get(row.wire, [1, 2])
    array = to_array(values, row)
    raw = array.tobytes() if row.byte_size else datatypes.serialize_bytes(array.tolist())

    assert from_raw(row, (2,), raw).tolist() == values


def test_strings_of_every_kind() -> None:
    """str, bytes and numpy's own, with NULs at the end; numbers are no strings."""
    row = datatypes.by_wire("BYTES")
    assert to_array(["a\0", "b"], row).tolist() == ["a\0", "b"]
    assert to_array(np.array([["x"]]), row).tolist() == [["x"]]
    for bad in ([1], np.array([None]), np.array([3], object)):
        with pytest.raises(ValueError, match="takes BYTES"):
            to_array(bad, row)


@given(st.floats(width=32, allow_nan=False))
def test_bfloat16_is_the_nearest(value: float) -> None:
    """No other of its numbers lies nearer; what has a short mantissa is exact."""
    row = datatypes.by_wire("BF16")
    bits = to_array([value], row)
    (read,) = from_raw(row, (1,), bits.tobytes()).astype(np.float64)
    if np.isinf(read):
        assert abs(value) >= 3.3895313892515355e38  # the largest bfloat16
        return
    magnitude = int(bits[0] & 0x7FFF)
    beside = [int(bits[0]) + 1, int(bits[0]) - (magnitude > 0)]
    around = from_raw(row, (2,), np.array(beside, "<u2").tobytes()).astype(np.float64)
    assert all(abs(read - value) <= abs(other - value) for other in around)


def test_bfloat16_keeps_nan() -> None:
    """Rounding its bits would make it another number."""
    row = datatypes.by_wire("BF16")
    nan = np.array([0x7FFFFFFF], np.uint32).view(np.float32)

    assert np.isnan(from_raw(row, (1,), to_array(nan, row).tobytes())).all()
