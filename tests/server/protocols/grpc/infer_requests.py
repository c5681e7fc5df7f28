"""A strategy for Hypothesis: requests of about the right form, as both protocols can say them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_proto import tensorflow_serving_pb2 as tfs
from zoo_server.datatypes import DATA_TYPES

TYPES = {row.wire: row for row in DATA_TYPES}


@dataclass(frozen=True)
class Wanted:
    """An input as a model wants it."""

    name: str
    datatype: str
    shape: tuple[int, ...]


MODELS = {
    "simple": (Wanted("INPUT0", "INT32", (2, 16)), Wanted("INPUT1", "INT32", (2, 16))),
    "identity_fp32": (Wanted("x", "FP32", (1, 4)),),
    "identity_bytes": (Wanted("x", "BYTES", (2, 4)),),
    "identity_int8": (Wanted("x", "INT8", (1, 4)),),
    "identity_fp16": (Wanted("x", "FP16", (1, 4)),),
    "scalar": (Wanted("x", "FP32", ()),),
    "unbatched": (Wanted("x", "UINT64", (3, 2)),),
    "optional": (Wanted("x", "FP32", (1, 4)), Wanted("bias", "FP32", (1, 4))),
    "sequence": (Wanted("x", "FP32", (1, 1)),),
    "urgent": (Wanted("x", "FP32", (1, 4)),),
    "absent": (Wanted("x", "FP32", (1, 4)),),
}


@dataclass
class Sent:
    """One request, as both protocols can say it."""

    model: str
    infer: pb.ModelInferRequest
    predict: tfs.PredictRequest
    #: Whether an equal one is answered alike: it belongs to no sequence and is not timed.
    steady: bool = field(default=True)


def mostly(good: Any, *others: Any) -> st.SearchStrategy[Any]:
    """The right thing, but for one time in some."""
    return st.integers(0, 11).flatmap(lambda n: st.one_of(*others) if n == 7 else st.just(good))


words = st.sampled_from(["x", "INPUT0", "bias", "OUTPUT0", "y", "", "\0", "größe", "z" * 300])

sizes = st.sampled_from([0, 1, 2, 4, 8, 16, 17, -1, 2**31, 2**32 + 1, 2**62, 2**63 - 1, -(2**63)])

scalars = st.one_of(
    st.tuples(st.just("bool_param"), st.booleans()),
    st.tuples(st.just("int64_param"), st.sampled_from([0, 1, 2, -1, 64, 2**31, 2**63 - 1])),
    st.tuples(st.just("uint64_param"), st.sampled_from([0, 1, 3, 2**64 - 1])),
    st.tuples(st.just("double_param"), st.floats()),
    st.tuples(st.just("string_param"), st.sampled_from(["", "r", "nowhere", "s" * 129])),
    st.just((None, None)),
)

keys = st.sampled_from(
    ["sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "mine", "triton_x",
     "triton_enable_empty_final_response", "binary_data_output"]
)  # fmt: skip

tensor_keys = st.sampled_from(
    ["classification", "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset",
     "binary_data", "binary_data_size", "mine"]
)  # fmt: skip

numbers = st.sampled_from([0, 1, -1, 127, 128, 255, 2**31 - 1])

VERSIONS = st.sampled_from(["1", "01", "2", "0", "-1", "x", "１", "9" * 30])

OUTPUTS = st.sampled_from(["y", "OUTPUT0", "OUTPUT1"]) | words


def put(parameters: Any, chosen: dict[str, tuple[str | None, Any]]) -> None:
    """Write parameters; one of no kind has no value."""
    for key, (kind, value) in chosen.items():
        parameters[key].SetInParent()
        if kind is not None:
            setattr(parameters[key], kind, value)


def raw_of(datatype: str, shape: tuple[int, ...]) -> bytes:
    """Elements of a shape that is right, few enough to send."""
    count = int(np.prod([size for size in shape if 0 <= size <= 64], dtype=np.int64))
    row = TYPES.get(datatype)
    if row is None or row.byte_size is None:
        return b"\1\0\0\0a" * count
    return bytes(row.byte_size * count)


@st.composite
def inputs_of(draw: Any, model: str) -> list[Wanted]:
    """The model's inputs: all of them or not, once or twice, right or nearly so."""
    chosen = list(MODELS[model])
    if draw(mostly(False, st.just(True))):
        chosen = draw(st.lists(st.sampled_from(chosen), max_size=4))
    return [
        Wanted(
            draw(mostly(one.name, words)),
            draw(mostly(one.datatype, st.sampled_from([*TYPES, "", "fp32"]))),
            tuple(draw(mostly(one.shape, st.lists(sizes, max_size=4)))),
        )
        for one in chosen
    ]


def typed(draw: Any, contents: Any, one: Wanted) -> None:
    """Fill a typed field, mostly the datatype's, with mostly as many values as there should be."""
    row = TYPES.get(one.datatype)
    right = (row.contents if row is not None else None) or "fp32_contents"
    name = draw(mostly(right, st.sampled_from([r.contents for r in DATA_TYPES if r.contents])))
    count = int(np.prod([size for size in one.shape if 0 <= size <= 64], dtype=np.int64))
    count = draw(mostly(min(count, 64), st.integers(0, 70)))
    if name == "bytes_contents":
        values: list[Any] = [draw(st.sampled_from([b"a", b"", b"\xff", "ü".encode()]))] * count
    elif name == "bool_contents":
        values = [True] * count
    else:
        value = draw(numbers)
        values = [abs(value) if name.startswith("u") else value] * count
    contents.SetInParent()
    getattr(contents, name).extend(values)


def add_input(draw: Any, request: pb.ModelInferRequest, one: Wanted) -> None:
    tensor = request.inputs.add(name=one.name, datatype=one.datatype, shape=one.shape)
    raw = raw_of(one.datatype, one.shape)
    route = draw(st.sampled_from(["raw"] * 5 + ["typed"] * 3 + ["shared"] * 2 + ["none", "both"]))
    if route in ("raw", "both"):
        request.raw_input_contents.append(draw(mostly(raw, st.binary(max_size=40))))
    if route in ("typed", "both"):
        typed(draw, tensor.contents, one)
    if route == "shared":
        tensor.parameters["shared_memory_region"].string_param = draw(mostly("r", words))
        tensor.parameters["shared_memory_byte_size"].int64_param = draw(mostly(len(raw), sizes))
        tensor.parameters["shared_memory_offset"].int64_param = draw(mostly(0, sizes))
    if draw(mostly(False, st.just(True))):
        put(tensor.parameters, draw(st.dictionaries(tensor_keys, scalars, max_size=3)))


def as_tensor(draw: Any, one: Wanted) -> tf.TensorProto:
    """The same input in TensorFlow's form."""
    row = TYPES.get(one.datatype)
    dims = [tf.TensorShapeProto.Dim(size=size) for size in one.shape]
    tensor = tf.TensorProto(
        dtype=draw(mostly(row.tf_enum if row else 0, st.sampled_from([0, 1, 7, 8, 99]))),
        tensor_shape=tf.TensorShapeProto(dim=dims, unknown_rank=draw(mostly(False, st.booleans()))),
    )
    if draw(st.booleans()):
        content = (
            b"\1" * 8 + b"a" * 8 if one.datatype == "BYTES" else raw_of(one.datatype, one.shape)
        )
        tensor.tensor_content = draw(mostly(content, st.binary(max_size=40)))
    else:
        name = draw(mostly(row.tf_values if row else "float_val", st.just("int_val")))
        value: Any = b"a" if name == "string_val" else draw(numbers)
        value = abs(value) if name.startswith("u") else bool(value) if name == "bool_val" else value
        getattr(tensor, name).extend([value] * draw(st.integers(0, 20)))
    return tensor


@st.composite
def requests(draw: Any) -> Sent:
    """One request in both protocols: several inputs, any route, outputs, parameters, versions."""
    model = draw(st.sampled_from(list(MODELS)))
    version = draw(mostly("", VERSIONS))
    infer = pb.ModelInferRequest(
        model_name=model, model_version=version, id=draw(mostly("mine", words))
    )
    predict = tfs.PredictRequest(model_spec=tfs.ModelSpec(name=model))
    if version:
        predict.model_spec.version_label = version
    for one in draw(inputs_of(model)):
        add_input(draw, infer, one)
        predict.inputs[one.name].CopyFrom(as_tensor(draw, one))
    if draw(mostly(False, st.just(True))):
        infer.raw_input_contents.append(draw(st.binary(max_size=8)))
    for name in draw(mostly([], st.lists(OUTPUTS, max_size=3))):
        put(
            infer.outputs.add(name=name).parameters,
            draw(st.dictionaries(tensor_keys, scalars, max_size=3)),
        )
        predict.output_filter.append(name)
    chosen = draw(mostly({}, st.dictionaries(keys, scalars, max_size=4)))
    if model == "sequence" and draw(mostly(True, st.just(False))):
        chosen = {
            **chosen,
            "sequence_id": draw(
                st.sampled_from([("int64_param", 1), ("int64_param", 2), ("string_param", "a")])
            ),
            "sequence_start": ("bool_param", draw(st.booleans())),
            "sequence_end": ("bool_param", draw(st.booleans())),
        }
    put(infer.parameters, chosen)
    return Sent(model, infer, predict, steady=model not in ("sequence", "urgent"))
