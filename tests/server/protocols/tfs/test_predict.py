"""TensorFlow Serving's Predict: every datatype, every form of a tensor, and every refusal."""

from typing import Any

import grpc
import numpy as np
import pytest

from tests.server.protocols.tfs.client import FLOATS, Client, request, tensor
from zoo_proto import grpc_service_pb2 as triton
from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_proto import tensorflow_serving_pb2 as pb
from zoo_server.datatypes import DATA_TYPES, DataType

SERVED = [row for row in DATA_TYPES if row.wire != "BF16"]  # tests/wire has them all


# -- tensors --------------------------------------------------------------------------------------


def values_of(row: DataType) -> list[Any]:
    if row.byte_size is None:
        return [b"a", b"", b"\0b\0", "größe".encode()]
    if row.wire == "FP16":
        return np.array([1, -2, 0.5, 65504], "<f2").view("<u2").tolist()
    return [1, 0, 1, 1] if row.wire == "BOOL" else [1, 0, 127, 3]


@pytest.mark.parametrize("row", SERVED, ids=lambda row: row.wire)
def test_every_type_in_its_list_comes_back_in_its_list(row: DataType, client: Client) -> None:
    """An identity answers the values in the type's own list, with type and shape, and nothing else."""
    sent = tensor(row.tf_enum, (1, 4), **{row.tf_values: values_of(row)})
    answer = client.predict(request(f"identity_{row.wire.lower()}", x=sent))

    assert dict(answer.outputs) == {"y": sent}


@pytest.mark.parametrize("row", SERVED, ids=lambda row: row.wire)
def test_every_type_is_taken_as_content(row: DataType, client: Client) -> None:
    """tensor_content means the same as the list: memory, or for strings lengths and bytes."""
    values = values_of(row)
    if row.byte_size is None:
        content = bytes(len(value) for value in values) + b"".join(values)
    else:
        carrier = "<u2" if row.tf_values == "half_val" else row.numpy
        content = np.array(values, carrier).tobytes()
    answer = client.predict(
        request(f"identity_{row.wire.lower()}", x=tensor(row.tf_enum, (1, 4), content))
    )

    assert list(getattr(answer.outputs["y"], row.tf_values)) == values


@pytest.mark.parametrize(
    ("sent", "filled"),
    [([7], [7, 7, 7, 7]), ([7, 8], [7, 8, 8, 8]), ([], [0, 0, 0, 0])],
)
def test_short_lists_are_filled(sent: list[int], filled: list[int], client: Client) -> None:
    """Up to the shape with the last value; an empty list stands for zeros."""
    answer = client.predict(request("identity_int32", x=tensor(tf.DT_INT32, (1, 4), int_val=sent)))
    assert list(answer.outputs["y"].int_val) == filled


def test_short_lists_of_strings_are_filled(client: Client) -> None:
    """With the last string, and with empty ones where there is none."""
    for sent, filled in (([b"a", b"z"], [b"a", b"z", b"z", b"z"]), ([], [b""] * 4)):
        answer = client.predict(
            request("identity_bytes", x=tensor(tf.DT_STRING, (1, 4), string_val=sent))
        )
        assert list(answer.outputs["y"].string_val) == filled


@pytest.mark.parametrize(
    ("kind", "field", "sent", "taken"),
    [
        ("INT8", "int_val", [255, -1, 0x7F00 + 3, 1], [-1, -1, 3, 1]),
        ("UINT8", "int_val", [-1, 256, 255, 0], [255, 0, 255, 0]),
        ("FP16", "half_val", [-17408, 0xBC00, 0x7FFF3C00, 0], [0xBC00, 0xBC00, 0x3C00, 0]),
    ],
)
def test_small_types_are_their_carriers_low_bits(
    kind: str, field: str, sent: list[int], taken: list[int], client: Client
) -> None:
    """As in TensorFlow: perf_analyzer leaves the upper bits as it finds them, Java extends signs."""
    row = next(row for row in DATA_TYPES if row.wire == kind)
    answer = client.predict(
        request(f"identity_{kind.lower()}", x=tensor(row.tf_enum, (1, 4), **{field: sent}))
    )
    assert list(getattr(answer.outputs["y"], field)) == taken


def test_scalars_and_empty_tensors(client: Client) -> None:
    """A scalar has a shape without dims; no elements need no data."""
    scalar = client.predict(request("scalar", x=tensor(tf.DT_FLOAT, (), float_val=[5])))
    empty = client.predict(request("variable", x=tensor(tf.DT_FLOAT, (2, 0))))

    assert scalar.outputs["y"].HasField("tensor_shape")
    assert list(scalar.outputs["y"].float_val) == [5]
    assert [dim.size for dim in empty.outputs["y"].tensor_shape.dim] == [2, 0]
    assert not empty.outputs["y"].float_val


def test_long_answers_are_whole(client: Client) -> None:
    """A list of many bytes, whose length takes several bytes to write, arrives as it was."""
    values = np.random.default_rng(0).normal(size=70_000).astype(np.float32)
    sent = tensor(tf.DT_FLOAT, (2, 35_000), values.tobytes())
    answer = client.predict(request("variable", x=sent)).outputs["y"]

    np.testing.assert_array_equal(np.array(answer.float_val, np.float32), values)


UNPARSED = {
    "no type": (tensor(0, (1, 4)), "data type DT_INVALID is not served"),
    "complex": (tensor(tf.DT_COMPLEX64, (1, 4)), "data type DT_COMPLEX64 is not served"),
    "a type of tomorrow": (tensor(99, (1, 4)), "data type 99 is not served"),
    "unknown rank": (
        tf.TensorProto(dtype=1, tensor_shape=tf.TensorShapeProto(unknown_rank=True)),
        "unknown rank",
    ),
    "open dimension": (tensor(1, (-1, 4), float_val=[1]), "negative dimension -1"),
    "overflow": (tensor(1, (2**40, 2**40), float_val=[1]), "shape holds more than"),
    "short content": (tensor(1, (1, 4), b"\0" * 12), "12 bytes, the shape needs 16"),
    "surplus": (tensor(1, (1, 4), float_val=[1] * 5), "5 values, the shape has room for 4"),
    "a bomb": (tensor(1, (2**30, 4), float_val=[1]), "send them all"),
    "a bomb of strings": (tensor(7, (2**24,), string_val=[b"x"]), "send them all"),
    "strings too short": (tensor(7, (1, 4), b"\1\1\1\1ab"), "2 bytes of strings, their lengths"),
    "lengths cut off": (tensor(7, (1, 4), b"\1\1"), "ends within the lengths"),
    "a length too long": (tensor(7, (1, 1), b"\xff" * 8), "more than 32 bits"),
}


@pytest.mark.parametrize("case", UNPARSED)
def test_what_is_no_tensor(case: str, client: Client) -> None:
    """INVALID_ARGUMENT with upstream's stem, the input's name and what is wrong; nothing is built."""
    sent, reason = UNPARSED[case]
    code, text = client.refused(request("identity_fp32", x=sent))

    assert code == "INVALID_ARGUMENT"
    assert text.startswith("tensor parsing error: x: ")
    assert reason in text


# -- Predict --------------------------------------------------------------------------------------


def test_the_answer_says_who_gave_it(client: Client) -> None:
    """Name, resolved version and signature."""
    spec = client.predict(request("versions", x=FLOATS)).model_spec

    assert (spec.name, spec.version.value, spec.signature_name) == (
        "versions",
        3,
        "serving_default",
    )


def test_output_filter(client: Client) -> None:
    """Only what is named is answered; without a name, everything."""
    ones = tensor(tf.DT_INT32, (1, 16), int_val=[1])
    predict_request = request("simple", INPUT0=ones, INPUT1=ones)
    assert set(client.predict(predict_request).outputs) == {"OUTPUT0", "OUTPUT1"}
    predict_request.output_filter.append("OUTPUT0")
    outputs = client.predict(predict_request).outputs

    assert {name: list(value.int_val) for name, value in outputs.items()} == {"OUTPUT0": [2] * 16}


def test_optional_inputs_may_be_left_out(client: Client) -> None:
    """As inputs with a default in a signature may."""
    answer = client.predict(request("optional", x=FLOATS))

    assert list(answer.outputs["y"].float_val) == [11, 12, 13, 14]


def _with(**spec: Any) -> pb.PredictRequest:
    """Return a good request but for its model_spec."""
    predict_request = request("versions", x=FLOATS)
    predict_request.model_spec.MergeFrom(pb.ModelSpec(**spec))
    return predict_request


def _version(number: int) -> pb.PredictRequest:
    predict_request = _with()
    predict_request.model_spec.version.value = number
    return predict_request


def _filtered(*names: str) -> pb.PredictRequest:
    predict_request = request("versions", x=FLOATS)
    predict_request.output_filter.extend(names)
    return predict_request


REFUSED: dict[str, tuple[pb.PredictRequest, str, str]] = {
    "no spec": (pb.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "no name": (
        pb.PredictRequest(model_spec=pb.ModelSpec(signature_name="x")),
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    ),
    "unknown model": (
        request("nope"),
        "NOT_FOUND",
        "Servable not found for request: Latest(nope)",
    ),
    "unknown version": (
        _version(9),
        "NOT_FOUND",
        "Servable not found for request: Specific(versions, 9)",
    ),
    "negative version": (
        _version(-1),
        "NOT_FOUND",
        "Servable not found for request: Specific(versions, -1)",
    ),
    "unknown label": (
        _with(version_label="stable"),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: stable",
    ),
    "unknown signature": (
        _with(signature_name="predict"),
        "FAILED_PRECONDITION",
        'Serving signature key "predict" not found.',
    ),
    "missing input": (
        request("simple", INPUT0=FLOATS),
        "INVALID_ARGUMENT",
        "input size does not match signature: 1!=2 len({INPUT0}) != len({INPUT0,INPUT1}). Sent "
        "extra: {}. Missing but required: {INPUT1}.",
    ),
    "extra input": (
        request("versions", x=FLOATS, z=FLOATS),
        "INVALID_ARGUMENT",
        "input size does not match signature: 2!=1 len({x,z}) != len({x}). Sent extra: {z}. "
        "Missing but required: {}.",
    ),
    "wrong name": (
        request("versions", z=FLOATS),
        "INVALID_ARGUMENT",
        "Signature input alias: x(feed name: x) not found in request and no default value provided.",
    ),
    "wrong name beside a right one": (
        request("optional", x=FLOATS, z=FLOATS),
        "INVALID_ARGUMENT",
        "Inputs contains invalid name. Used request inputs: x, request input: x,z",
    ),
    "unknown output": (
        _filtered("z"),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
    ),
    "output twice": (_filtered("y", "y"), "INVALID_ARGUMENT", "duplicate output tensor alias: y"),
    "wrong type": (
        request("versions", x=tensor(tf.DT_DOUBLE, (1, 4), double_val=[1])),
        "INVALID_ARGUMENT",
        "[request id: <id_unknown>] inference input 'x' data-type is 'FP64'",
    ),
    "wrong shape": (
        request("versions", x=tensor(tf.DT_FLOAT, (1, 5), float_val=[1])),
        "INVALID_ARGUMENT",
        "[request id: <id_unknown>] unexpected shape for input 'x'",
    ),
    "not UTF-8": (
        request("identity_bytes", x=tensor(tf.DT_STRING, (1, 4), string_val=[b"\xff"])),
        "INVALID_ARGUMENT",
        "[request id: <id_unknown>] a string element of inference input 'x'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_have_upstreams_codes_and_words(case: str, client: Client) -> None:
    """Each fault has the status that TensorFlow Serving's clients branch on (docs/protocol.md 1c)."""
    sent, code, text = REFUSED[case]
    refusal = client.refused(sent)

    assert refusal[0] == code
    assert refusal[1].startswith(text)


def test_a_failing_graph_is_internal(client: Client) -> None:
    """Its text stays in the log."""
    bad = tensor(tf.DT_INT64, (1, 1), int64_val=[99])
    code, text = client.refused(request("fails", x=bad))

    assert (code, text[:24]) == ("INTERNAL", "internal error, incident")


def test_bytes_that_are_no_message(wire: Any) -> None:
    """INVALID_ARGUMENT, like every request that cannot be read."""
    call = wire.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff\xff\xff")

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_predictions_are_counted(wire: Any, client: Client) -> None:
    """ModelStatistics counts them as it counts the other protocol's."""

    def count() -> int:
        statistics_request = triton.ModelStatisticsRequest(name="fixed")
        (stats,) = wire.stub.ModelStatistics(statistics_request).model_stats
        return stats.inference_stats.success.count

    before = count()
    client.predict(request("fixed", x=tensor(tf.DT_FLOAT, (2, 3), float_val=[1])))

    assert count() == before + 1
