"""Long lists are taken out of a message's bytes: what is read is what protobuf reads."""

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_proto import tensorflow_serving_pb2 as tfs
from zoo_server.errors import InvalidRequest
from zoo_server.protocols.bulk import (
    INFER,
    LARGE,
    PREDICT,
    Bulk,
    take_out,
)
from zoo_server.protocols.packed import array_of, elements_of, numbers
from zoo_server.protocols.tfs import tensors
from zoo_server.varint import delimited

CONTENTS = pb.InferTensorContents.DESCRIPTOR.fields_by_name
TENSOR = tf.TensorProto.DESCRIPTOR.fields_by_name


def values(name: str, count: int, seed: int):
    """Return values of a field of any size that its type has, small and negative ones among them."""
    random = np.random.default_rng(seed)
    if name.startswith(("bytes", "string")):
        return [random.bytes(int(size)) for size in random.integers(0, 200, count)]
    if name.startswith("bool"):
        return random.integers(0, 2, count).astype(bool).tolist()
    if name.startswith(("fp", "float", "double")):
        return random.normal(size=count).astype(np.float32).tolist()
    bits = 63 if "64" in name else 31
    magnitudes = 2.0 ** random.uniform(0, bits, count)
    signs = 1 if name.startswith("uint") else random.choice([-1, 1], count)
    return (magnitudes * signs).astype(np.int64).tolist()


def read(bulk: Bulk, name: str, field, message) -> list:
    """Return a list, whether it was taken out or not."""
    taken = bulk.lists.get(name.encode(), {}).get(field.number)
    if taken is None:
        return list(getattr(message, field.name))
    return taken if isinstance(taken, list) else numbers(field, taken).tolist()


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(CONTENTS)), st.integers(0, 3000), st.integers(0, 99), st.booleans())
def test_typed_contents_are_what_protobuf_reads(field, count, seed, other):
    """Every field, short and long, beside another input; the rest of the message stays."""
    message = pb.ModelInferRequest(model_name="m", id="7")
    for name in ["x", "y"][: 1 + other]:
        tensor = message.inputs.add(name=name, datatype="FP32", shape=[count])
        getattr(tensor.contents, field).extend(values(field, count, seed))
    message.outputs.add(name="z")
    bulk = take_out(message.SerializeToString(), INFER)
    rest = pb.ModelInferRequest.FromString(bulk.rest)

    assert len(bulk.rest) <= 3 * LARGE
    for sent, left in zip(message.inputs, rest.inputs, strict=True):
        assert left.HasField("contents") == sent.HasField("contents")
        assert read(bulk, left.name, CONTENTS[field], left.contents) == list(
            getattr(sent.contents, field)
        )
        sent.ClearField("contents")
        left.ClearField("contents")
    assert rest == message


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([name for name in sorted(TENSOR) if name.endswith("_val")]),
    st.integers(0, 3000),
    st.integers(0, 99),
)
def test_tensors_of_predict_are_what_protobuf_reads(field, count, seed):
    """The same of TensorFlow's tensors, in a map."""
    message = tfs.PredictRequest(model_spec=tfs.ModelSpec(name="m"))
    for name in ("x", "y"):
        getattr(message.inputs[name], field).extend(values(field, count, seed))
    bulk = take_out(message.SerializeToString(), PREDICT)
    rest = tfs.PredictRequest.FromString(bulk.rest)

    assert set(rest.inputs) == {"x", "y"}
    for name, sent in message.inputs.items():
        assert read(bulk, name, TENSOR[field], rest.inputs[name]) == list(getattr(sent, field))


LONG = b"\1" * LARGE


def infer(*inputs: bytes) -> bytes:
    return b"\x0a\1m" + b"".join(delimited(5, len(one)) + one for one in inputs)


def typed(*contents: bytes) -> bytes:
    return b"\x0a\1x" + b"".join(delimited(5, len(one)) + one for one in contents)


def packed(number: int, raw: bytes) -> bytes:
    return delimited(number, len(raw)) + raw


@pytest.mark.parametrize(
    "raw",
    [
        infer(typed(packed(3, LONG), packed(3, LONG))),
        infer(typed(packed(3, LONG) + packed(3, b"\1"))),
        infer(typed(packed(3, b"\1") + packed(3, LONG))),
        infer(typed(packed(3, LONG)), typed(packed(3, LONG))),
        infer(typed(packed(8, b"a") + packed(3, LONG) + packed(8, b"b"))),
        infer(typed(packed(6, LONG + b"\1"))),
        infer(typed(packed(3, LONG)))[:-1],
        infer(typed(packed(3, LONG) + b"\x1b")),
        b"\x2a\0" * LARGE,
    ],
    ids=[
        "contents twice", "a list in two parts", "a short part first", "a name twice",
        "strings in two places", "half a float", "cut off", "a group", "too many fields",
    ],
)  # fmt: skip
def test_what_is_strange_is_left_to_protobuf(raw):
    """It merges, refuses or ignores as it does."""
    bulk = take_out(raw, INFER)

    assert (bulk.rest, bulk.lists) == (raw, {})


@pytest.mark.parametrize("tail", [b"\x80", b"\xff" * 10 + b"\1"], ids=["cut", "long"])
def test_what_are_no_varints_is_refused(tail):
    """As protobuf refuses it."""
    raw = infer(typed(packed(3, LONG + tail)))
    bulk = take_out(raw, INFER)
    taken = bulk.lists[b"x"][3]
    assert isinstance(taken, memoryview)
    with pytest.raises(DecodeError):
        pb.ModelInferRequest.FromString(raw)

    with pytest.raises(InvalidRequest, match="cannot be parsed"):
        numbers(CONTENTS["int64_contents"], taken)


@pytest.mark.parametrize("tail", [b"\x80", b"\xff" * 10 + b"\1"], ids=["cut", "long"])
@pytest.mark.parametrize(
    ("datatype", "elements"),
    [(tf.DT_FLOAT, 1), (tf.DT_FLOAT, 0), (tf.DT_INT64, 0)],
    ids=["of another type", "of another type, no elements", "no elements"],
)
def test_a_list_that_nobody_reads_is_refused_as_well(tail, datatype, elements):
    """A tensor of TensorFlow's may have lists of other types than its own, or too long ones."""
    shape = tf.TensorShapeProto(dim=[tf.TensorShapeProto.Dim(size=elements)])
    tensor = tf.TensorProto(dtype=datatype, tensor_shape=shape).SerializeToString()
    tensor += packed(10, LONG + tail)
    raw = packed(2, packed(1, b"x") + packed(2, tensor))
    bulk = take_out(raw, PREDICT)
    rest = tfs.PredictRequest.FromString(bulk.rest)
    with pytest.raises(DecodeError):
        tfs.PredictRequest.FromString(raw)

    with pytest.raises(InvalidRequest, match="cannot be parsed"):
        tensors.decode("x", rest.inputs["x"], lambda _: None, bulk.lists[b"x"])


def test_a_varint_of_more_than_64_bits_is_cut_as_protobuf_cuts_it():
    """The tenth byte holds one bit."""
    raw = infer(typed(packed(3, LONG + b"\xff" * 9 + b"\3")))
    taken = take_out(raw, INFER).lists[b"x"][3]
    theirs = pb.ModelInferRequest.FromString(raw).inputs[0].contents.int64_contents

    assert isinstance(taken, memoryview)
    assert numbers(CONTENTS["int64_contents"], taken).tolist() == list(theirs)


class Repeated:
    """A field of protobuf's that notes how much of it is taken at once."""

    def __init__(self, values: list) -> None:
        self.values = values
        self.most = 0

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, part: slice) -> list:
        taken = self.values[part]
        self.most = max(self.most, len(taken))
        return taken


@pytest.mark.parametrize("count", [1, 1 << 15, 100_001])
def test_what_protobuf_read_is_converted_in_parts(count):
    """A list in two places is protobuf's to read, and as long as any."""
    numbers_, strings = Repeated(list(range(count))), Repeated([b"%d" % n for n in range(count)])
    array = array_of(numbers_ if count > 1 << 15 else numbers_.values, np.dtype(np.float32))

    assert array.tolist() == numbers_.values
    assert elements_of(strings) == strings.values
    assert max(numbers_.most, strings.most) <= 1 << 15
