"""What REST refuses: a status for each mistake, and words that say what it is."""

import json

import pytest

from tests.server.protocols.rest.json_requests import one, tensor

#: What is wrong, the model, the request (a dict, or the bytes of the body), the status, the stem.
BAD_REQUESTS = {
    "no JSON": ("identity_fp32", b"{", 500, "failed to parse the request JSON buffer"),
    "blank": ("identity_fp32", b" ", 500, "failed to parse the request JSON buffer"),
    "empty": ("identity_fp32", b"", 400, "[request id: <id_unknown>] input byte size mismatch"),
    "array": ("identity_fp32", b"[]", 500, "failed to parse the request JSON buffer"),
    "not UTF-8": ("identity_fp32", b'{"id":"\xff"}', 500, "failed to parse the request JSON"),
    "deep": ("identity_fp32", b"[" * 100_000, 400, "JSON nesting depth exceeds"),
    "containers": ("identity_fp32", b"[]," * (2**20 + 1), 400, "request JSON has more than 1048576 array"),
    "digits": ("identity_fp32", b'{"inputs":' + b"1" * 5000 + b"}", 500, "failed to parse"),
    "no inputs": ("identity_fp32", {}, 500, "Unable to parse 'inputs'"),
    "inputs an object": ("identity_fp32", {"inputs": {}}, 500, "Unable to parse 'inputs'"),
    "an input a number": ("identity_fp32", {"inputs": [1]}, 400, "Unable to parse 'inputs'"),
    "no data": ("identity_fp32", one(), 400, "Input must set only one of the following fields"),
    "two routes": (
        "identity_fp32", one(data=[1] * 4, parameters={"binary_data_size": 16}), 400,
        "Input must set only one of the following fields",
    ),
    "no name": (
        "identity_fp32", {"inputs": [{"datatype": "FP32", "shape": [1], "data": [1]}]}, 500,
        "Unable to parse 'name': attempt to access non-existing object member 'name'",
    ),
    "surrogate": (
        "identity_fp32", b'{"inputs":[{"name":"\\ud800","datatype":"FP32","shape":[1],"data":[1]}]}',
        500, "Unable to parse 'name': not valid Unicode",
    ),
    "no datatype": (
        "identity_fp32", {"inputs": [{"name": "x", "shape": [1], "data": [1]}]}, 500,
        "Unable to parse 'datatype'",
    ),
    "unknown datatype": ("identity_fp32", one("FP8", data=[1] * 4), 400, "invalid datatype for"),
    "wrong datatype": ("identity_fp32", one("INT32", data=[1] * 4), 400, "[request id: <id_unknown>] inference input 'x' data-type is 'INT32', but model"),
    "no shape": (
        "identity_fp32", {"inputs": [{"name": "x", "datatype": "FP32", "data": [1]}]}, 500,
        "Unable to parse 'shape'",
    ),
    "negative size": ("identity_fp32", one(shape=(-1, 4), data=[1] * 4), 500, "Unable to parse 'sh"),
    "broken size": ("identity_fp32", one(shape=(1.5, 4), data=[1] * 4), 500, "Unable to parse 'sha"),
    "bool size": ("identity_fp32", one(shape=(True, 4), data=[1] * 4), 500, "Unable to parse 'shap"),
    "huge shape": ("identity_fp32", one(shape=(2**40, 2**40), data=[1]), 400, "invalid shape for i"),
    "wrong shape": ("identity_fp32", one(shape=(1, 3), data=[1] * 3), 400, "[request id: <id_unknown>] unexpected shape for input 'x'"),
    "too few": ("identity_fp32", one(data=[1] * 3), 500, "Unable to parse 'data': Shape does not"),
    "too many": ("identity_fp32", one(data=[[1] * 5]), 500, "Unable to parse 'data': Shape does no"),
    "data a number": ("identity_fp32", one(data=1), 500, "Unable to parse 'data': attempt to acces"),
    "a string": ("identity_fp32", one(data=[1, 2, 3, "4"]), 500, "Unable to parse 'data': attempt t"),
    "null": ("identity_fp32", one(data=[1, 2, 3, None]), 500, "Unable to parse 'data': attempt to a"),
    "an object": ("identity_fp32", one(data=[1, 2, 3, {}]), 500, "Unable to parse 'data': attempt t"),
    "no number": ("identity_fp32", one(data=["4"] * 4), 500, "Unable to parse 'data': attempt to access JSON non-number as double"),
    "no string": ("identity_bytes", one("BYTES", data=[1] * 4), 500, "Unable to parse JSON bytes array: attempt to access JSON non-string as string"),
    "bool a number": ("identity_fp32", one(data=[True] * 4), 500, "Unable to parse 'data': attempt "),
    "a broken integer": ("identity_int8", one("INT8", data=[1.5] * 4), 500, "Unable to parse 'data'"),
    "out of range": ("identity_int8", one("INT8", data=[0, 0, 0, 128]), 400, "value 128 of input 'x"),
    "a negative": ("identity_uint64", one("UINT64", data=[0, 0, 0, -1]), 500, "Unable to parse 'da"),
    "beyond 64 bits": ("identity_int64", one("INT64", data=[2**70] * 4), 500, "Unable to parse 'data'"),
    "beyond a double": ("identity_fp64", one("FP64", data=[10**400] * 4), 400, "a value of input 'x"),
    "half a character": (
        "identity_bytes", b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[1,4],"data":["\\ud800'
        b'","","",""]}]}', 500, "a string element of input 'x' is not valid Unicode",
    ),
    "data too deep": (
        "identity_fp32", one(data=json.loads("[" * 110 + "]" * 110)), 400, "JSON nesting depth exceed",
    ),
    "bytes without": ("identity_fp32", one(parameters={"binary_data_size": 16}), 400, "unexpected siz"),
    "more bytes than 63 bits": (
        "identity_fp32", one(parameters={"binary_data_size": 2**63}), 400,
        "unexpected size for input 'x', expecting 9223372036854775808 additional bytes",
    ),
    "more bytes than 64 bits": (
        "identity_fp32", one(parameters={"binary_data_size": 2**64}), 500,
        "Unable to parse 'binary_data_size'",
    ),
    "negative bytes": ("identity_fp32", one(parameters={"binary_data_size": -1}), 500, "Unable to par"),
    "bytes a string": ("identity_fp32", one(parameters={"binary_data_size": "16"}), 500, "Unable to "),
    "parameters": ("identity_fp32", one(data=[1] * 4, parameters=[]), 500, "failed to get request"),
    "id a number": ("identity_fp32", {"id": 1, **one(data=[1] * 4)}, 500, "Unable to parse 'id'"),
    "twice": (
        "identity_fp32", {"inputs": [tensor(data=[1] * 4)] * 2}, 400,
        "[request id: <id_unknown>] input 'x' already exists in request",
    ),
    "unknown input": (
        "identity_fp32", {"inputs": [tensor(name="z", data=[1] * 4)]}, 400,
        "[request id: <id_unknown>] unexpected inference input 'z'",
    ),
    "unknown output": (
        "identity_fp32", {**one(data=[1] * 4), "outputs": [{"name": "z"}]}, 400,
        "[request id: <id_unknown>] unexpected inference output 'z'",
    ),
    "output twice": (
        "identity_fp32", {**one(data=[1] * 4), "outputs": [{"name": "y"}] * 2}, 400,
        "[request id: <id_unknown>] output 'y' already exists in request",
    ),
    "outputs": ("identity_fp32", {**one(data=[1] * 4), "outputs": 1}, 500, "Unable to parse 'outputs'"),
    "an output": ("identity_fp32", {**one(data=[1] * 4), "outputs": [1]}, 500, "Unable to parse 'outp"),
    "binary_data": (
        "identity_fp32",
        {**one(data=[1] * 4), "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
        500, "Unable to parse 'binary_data'",
    ),
    "binary_data_output": (
        "identity_fp32", {**one(data=[1] * 4), "parameters": {"binary_data_output": "yes"}}, 500,
        "Unable to parse 'binary_data_output'",
    ),
    "classes": (
        "identity_fp32",
        {**one(data=[1] * 4), "outputs": [{"name": "y", "parameters": {"classification": 2**40}}]},
        400, "invalid value for 'classification' parameter",
    ),
    "reserved": (
        "identity_fp32", {**one(data=[1] * 4), "parameters": {"triton_x": 1}}, 400,
        "parameter keys starting with 'triton_' are reserved",
    ),
    "parameter type": (
        "identity_fp32", {**one(data=[1] * 4), "parameters": {"mine": {}}}, 400,
        "parameter 'mine' has invalid type",
    ),
    "timeout": (
        "identity_fp32", {**one(data=[1] * 4), "parameters": {"timeout": -1}}, 500,
        "Unable to parse 'timeout'",
    ),
    "batch": (
        "simple", {"inputs": [tensor("INT32", (9, 16), name, data=[0] * 144) for name in ("INPUT0", "INPUT1")]},
        400, "[request id: <id_unknown>] inference request batch-size must be <= 8",
    ),
    **{
        f"batch of {rows}": (
            "identity_fp32", one(shape=(rows, 4), parameters={"binary_data_size": 0}), 400,
            "[request id: <id_unknown>] inference request batch-size must be <= 1024",
        )
        for rows in (2**31, 2**32 + 1, 2**61)
    },
    "unknown model": ("nobody", one(data=[1]), 404, "Request for unknown model: 'nobody' is not fou"),
    "the model fails": (
        "fails", {"inputs": [tensor("INT64", (1, 1), data=[99])]}, 500, "internal error, incident ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_a_bad_request_is_refused_in_words(rest, case):
    """The status, and the beginning of the error, that clients branch on."""
    model, request, status, stem = BAD_REQUESTS[case]
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    answer = rest.ask("POST", f"/v2/models/{model}/infer", body)

    assert answer.status == status
    assert answer.error.startswith(stem)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("length", ["-1", "x", "99999", "9" * 30, "1.5", "٣"])
def test_a_wrong_header_length(rest, length):
    """It must be a number within the body."""
    answer = rest.ask(
        "POST", "/v2/models/identity_fp32/infer", b"{}",
        Inference_Header_Content_Length=length.encode().decode("latin-1"),
    )  # fmt: skip
    assert answer.status == 400
    assert answer.error.startswith(
        ("Unable to parse Inference-Header-Content-Length", "inference header size should be in")
    )


def test_bytes_left_over(rest):
    """Data that belongs to no input is an error."""
    answer = rest.infer("identity_fp32", one(data=[1] * 4), b"more")
    assert answer.status == 400
    assert answer.error.startswith("unexpected additional input data for model 'identity_fp32'")


@pytest.mark.parametrize(
    ("model", "stem"),
    [
        ("simple", "Raw request must only have 1 input"),
        ("unbatched", "The shape of the raw input 'x' can not be deduced"),
        ("identity_bytes", "For BYTE datatype raw input 'x', the model must have input shape [1]"),
        ("fixed", "[request id: <id_unknown>] input byte size mismatch for input 'x'"),
    ],
)
def test_a_body_without_json_that_says_too_little(rest, model, stem):
    """What cannot be deduced is refused."""
    answer = rest.ask(
        "POST", f"/v2/models/{model}/infer", b"1234", Inference_Header_Content_Length="0"
    )
    assert answer.status == 400
    assert answer.error.startswith(stem)
