"""TensorProto to tensor and back, without a server: what no served model can show, and any bytes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_server.datatypes import (
    DATA_TYPES,
    STRINGS_AT_ONCE,
    DataType,
    element_count,
    serialize_bytes,
)
from zoo_server.errors import InvalidRequest
from zoo_server.inference.request import OutputTensor
from zoo_server.protocols.tfs.tensors import decode, encode

LONG = 2 * STRINGS_AT_ONCE + 1


def take(_: int) -> None:
    """There is memory enough."""


def test_bfloat16_travels_as_bits() -> None:
    """The upper halves of float32, in half_val both ways."""
    bits = np.array([0x3F80, 0xC000, 0x7F80], "<u2")
    shape = tf.TensorShapeProto(dim=[tf.TensorShapeProto.Dim(size=3)])
    sent = tf.TensorProto(dtype=tf.DT_BFLOAT16, tensor_shape=shape, half_val=bits.tolist())
    array = decode("x", sent, take)
    assert (array.datatype, array.shape) == ("BF16", (3,))
    assert isinstance(array.data, np.ndarray)
    assert array.data.view("<u2").tolist() == bits.tolist()

    output = OutputTensor(name="x", datatype="BF16", shape=(3,), raw=bits.tobytes())
    assert tf.TensorProto.FromString(b"".join(encode(output))) == sent


def test_the_packed_lists_are_read_by_protobuf_as_ours(subtests: Any) -> None:
    """What is written as memory reads as values, at each length where the prefix grows."""
    for count in (0, 1, 31, 32, 4095, 4096, 600_000):
        with subtests.test(count=count):
            values = np.arange(count, dtype="<f4")
            output = OutputTensor(name="y", datatype="FP32", shape=(count,), raw=values.tobytes())
            answer = tf.TensorProto.FromString(b"".join(encode(output)))
            np.testing.assert_array_equal(np.array(answer.float_val, np.float32), values)


SERVED = {row.tf_enum: row for row in DATA_TYPES}
SMALL = st.lists(st.integers(-2, 3), max_size=4)
TENSORS = st.builds(
    lambda kind, dims, content, ints, strings: tf.TensorProto(
        dtype=kind,
        tensor_shape=tf.TensorShapeProto(dim=[tf.TensorShapeProto.Dim(size=d) for d in dims]),
        tensor_content=content,
        int_val=ints,
        half_val=ints,
        int64_val=ints,
        float_val=ints,
        string_val=strings,
    ),
    kind=st.sampled_from([*SERVED, 0, 8, 99]),
    dims=SMALL,
    content=st.binary(max_size=24) | st.just(b""),
    ints=SMALL,
    strings=st.lists(st.binary(max_size=3), max_size=4),
)


@given(TENSORS)
def test_any_message_is_a_tensor_or_refused(sent: tf.TensorProto) -> None:
    """InvalidRequest that names the input, or exactly the elements that the shape asks for."""
    try:
        array = decode("x", sent, take)
    except InvalidRequest as error:
        text = str(error)
    else:
        row: DataType = SERVED[sent.dtype]
        count = element_count(array.shape)
        size = (row.byte_size or 0) if isinstance(array.data, bytes) else 1
        assert len(array.data) == count * size
        text = "tensor parsing error: x: none"
    assert text.startswith("tensor parsing error: x: ")


@pytest.mark.parametrize("row", DATA_TYPES, ids=lambda row: row.wire)
def test_the_table_names_a_field_of_the_message(row: DataType) -> None:
    """And an element type of TensorFlow's enumeration."""
    assert row.tf_values in tf.TensorProto.DESCRIPTOR.fields_by_name
    assert row.tf_enum in tf.DataType.values()


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [("BYTES", "string_val", [b"ab", b""] * LONG), ("INT32", "int_val", [-1, 2**31 - 1] * LONG)],
)
def test_long_lists_are_whole(datatype: str, field: str, values: list[Any]) -> None:
    """They are written in parts, which protobuf reads as one list."""
    raw = serialize_bytes(values) if datatype == "BYTES" else np.array(values, "<i4").tobytes()
    output = OutputTensor(name="y", datatype=datatype, shape=(len(values),), raw=raw)

    answer = tf.TensorProto.FromString(b"".join(encode(output)))

    assert list(getattr(answer, field)) == values
    assert answer.tensor_shape.dim[0].size == len(values)
