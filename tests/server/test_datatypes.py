"""The dtype table and the BYTES codec."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.byte_strings import parse_bytes
from zoo_proto import grpc_service_pb2, model_config_pb2
from zoo_server import datatypes

ELEMENTS = st.lists(st.binary(max_size=20), max_size=8)


@pytest.mark.parametrize("row", datatypes.DATA_TYPES, ids=lambda row: row.wire)
def test_row_agrees_with_its_sources(row):
    """Each row's names are those of config.pbtxt, ONNX, numpy and the wire's typed contents."""
    assert row.config in model_config_pb2.DataType.keys()  # noqa: SIM118
    if row.wire != "BF16":
        numpy = onnx.helper.tensor_dtype_to_np_dtype(row.onnx_enum)
        assert row.numpy == numpy
    fields = grpc_service_pb2.InferTensorContents.DESCRIPTOR.fields_by_name
    assert row.contents is None or row.contents in fields
    assert datatypes.by_wire(row.wire) is row
    assert datatypes.by_config(row.config) is row
    assert datatypes.by_onnx(row.onnx) is row


def test_table_covers_every_config_type():
    """No data type of config.pbtxt is without a row."""
    known = {row.config for row in datatypes.DATA_TYPES} | {"TYPE_INVALID"}

    assert set(model_config_pb2.DataType.keys()) == known


@pytest.mark.parametrize("look_up", [datatypes.by_wire, datatypes.by_config, datatypes.by_onnx])
def test_unknown_name_lists_the_known(look_up):
    """An unknown name is refused with what would do."""
    with pytest.raises(ValueError, match=r"unknown .* 'FP31'; known are .*(BOOL|bool)"):
        look_up("FP31")


@given(ELEMENTS)
def test_bytes_round_trip(elements):
    """What is serialised is parsed back, NUL and empty elements included."""
    assert parse_bytes(datatypes.serialize_bytes(elements), len(elements)) == elements


@given(ELEMENTS, st.integers(min_value=0, max_value=10))
def test_bytes_count_must_be_exact(elements, count):
    """A buffer with another number of elements than the shape's is refused."""
    raw = datatypes.serialize_bytes(elements)
    if count == len(elements):
        return
    with pytest.raises(ValueError, match=r"string elements|string data"):
        parse_bytes(raw, count)


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=5), st.data())
def test_truncated_bytes_are_refused(elements, data):
    """Cut anywhere, a buffer never parses as the same number of elements."""
    raw = datatypes.serialize_bytes(elements)
    cut = data.draw(st.integers(min_value=0, max_value=len(raw) - 1))
    with pytest.raises(ValueError):
        parse_bytes(raw[:cut], len(elements))


@given(st.binary(max_size=64), st.integers(min_value=0, max_value=8))
def test_any_buffer_parses_or_is_refused(raw, count):
    """No buffer makes the parser do anything but return `count` elements or raise ValueError."""
    try:
        elements = parse_bytes(raw, count)
    except ValueError:
        return
    assert len(elements) == count
    assert datatypes.serialize_bytes(elements) == raw


@pytest.mark.parametrize(
    ("shape", "count"), [((), 1), ((3,), 3), ((2, 0, 5), 0), ((2**30, 2**30 - 1), 2**60 - 2**30)]
)
def test_element_count(shape, count):
    """Counts are exact, also where 32 bits would overflow; an empty dimension makes nothing."""
    assert datatypes.element_count(shape) == count


@pytest.mark.parametrize("shape", [(-1,), (0, -1), (2**32, 2**32), (2**62,), (0, 2**62)])
def test_impossible_shape_is_refused(shape):
    """A negative dimension, or more elements than int64 can count, is an error."""
    with pytest.raises(ValueError):
        datatypes.element_count(shape)


def test_from_raw_is_a_view_of_exact_size():
    """Numeric data is not copied, and one byte more or less is refused."""
    raw = np.arange(6, dtype=np.float32).tobytes()
    array = datatypes.from_raw(datatypes.by_wire("FP32"), (2, 3), raw)

    assert not array.flags.owndata
    assert datatypes.to_raw(datatypes.by_wire("FP32"), array) == raw
    with pytest.raises(ValueError, match="needs 24 bytes, got 23"):
        datatypes.from_raw(datatypes.by_wire("FP32"), (2, 3), raw[:-1])


def test_by_numpy_knows_strings_and_byte_order():
    """Strings of any numpy kind are BYTES; big-endian numbers are found by their type."""
    assert datatypes.by_numpy(np.array(["a"]).dtype).wire == "BYTES"
    assert datatypes.by_numpy(np.dtype(">i2")).wire == "INT16"
    assert datatypes.to_raw(datatypes.by_wire("INT16"), np.array([1], ">i2")) == b"\x01\x00"


@pytest.mark.parametrize(
    "count",
    [datatypes.STRINGS_AT_ONCE - 1, datatypes.STRINGS_AT_ONCE, 2 * datatypes.STRINGS_AT_ONCE + 1],
)
def test_long_lists_are_read_and_written_in_parts(count):
    """What comes in parts is what comes at once, and a wrong count is seen at any length."""
    elements = [b"%d" % number for number in range(count)]
    raw = datatypes.serialize_bytes(elements)
    strings = datatypes.by_wire("BYTES")

    array = datatypes.from_raw(strings, (count, 1), raw)

    assert array.shape == (count, 1)
    assert array.ravel().tolist() == elements
    assert datatypes.to_raw(strings, array) == raw
    assert max(map(len, datatypes.pieces_of(elements))) <= datatypes.STRINGS_AT_ONCE
    for other in (count - 1, count + 1):
        with pytest.raises(ValueError, match="string elements"):
            parse_bytes(raw, other)


def test_a_long_array_keeps_what_others_hold():
    """It lets go of its elements in parts; a view of it, and what was taken out, stay whole."""
    array = datatypes.object_array(
        [f"word {number}" for number in range(datatypes.STRINGS_AT_ONCE + 1)],
        (datatypes.STRINGS_AT_ONCE + 1,),
    )
    view, word = array[5:8], array[0]
    del array

    assert view.tolist() == ["word 5", "word 6", "word 7"]
    assert word == "word 0"
