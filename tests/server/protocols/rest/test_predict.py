"""TensorFlow Serving's REST over a real port: rows, columns, numbers, and every refusal."""

import base64
import json

import numpy as np
import pytest

from tests.server.protocols.tfs.client import LABELS
from zoo_server.datatypes import DATA_TYPES

FOUR = [1.0, 2.0, 3.0, 4.0]
INTS, ONES = list(range(16)), [1] * 16


def predict(rest, model, request, version=""):
    """Return the answer to a request given as JSON or as bytes."""
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return rest.ask("POST", f"/v1/models/{model}{version}:predict", body)


# -- forms -----------------------------------------------------------------------------------------


def test_rows_of_one_input_and_one_output_have_no_names(rest):
    """`instances` are answered by `predictions`, as many and in order."""
    answer = predict(rest, "identity_fp32", {"instances": [FOUR, [5, 6, 7.5, 8]]})

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body == b'{"predictions":[[1.0,2.0,3.0,4.0],[5.0,6.0,7.5,8.0]]}'


def test_columns_of_one_input_and_one_output_have_no_names(rest):
    """`inputs` are answered by `outputs`; an only input may be named."""
    for inputs in ([FOUR], {"x": [FOUR]}):
        assert predict(rest, "identity_fp32", {"inputs": inputs}).json == {"outputs": [FOUR]}


def test_several_inputs_and_outputs_are_objects(rest):
    """Rows are objects with a member an input, columns one such object; answers likewise."""
    row = {"INPUT0": INTS, "INPUT1": ONES}
    rows = predict(rest, "simple", {"instances": [row, row]}).json
    columns = predict(rest, "simple", {"inputs": {name: [row[name]] for name in row}}).json
    added, subtracted = [i + 1 for i in INTS], [i - 1 for i in INTS]

    assert rows == {"predictions": [{"OUTPUT0": added, "OUTPUT1": subtracted}] * 2}
    assert columns == {"outputs": {"OUTPUT0": [added], "OUTPUT1": [subtracted]}}


def test_shapes_come_back_as_they_were_sent(rest):
    """Nesting is the shape, whatever the rank and however many elements there are."""
    for model, shape in (("fixed", (2, 3)), ("unbatched", (700, 5)), ("variable", (1, 9000))):
        values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape).tolist()
        answer = predict(rest, model, {"instances": values})
        assert answer.json == {"predictions": values}, model
    deep = predict(rest, "reshaped", {"instances": [[[[1, 2, 3], [4, 5, 6]]]] * 2})
    assert deep.json == {"predictions": [[[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]]] * 2}


@pytest.mark.parametrize("row", DATA_TYPES, ids=lambda row: row.wire)
def test_every_datatype(row, rest):
    """Each comes back as JSON's own type; half floats have no JSON form, upstream."""
    if row.wire == "BF16":
        return
    values = {"b": [True, False, True, True], "O": ["a", "", "ü\n", '"']}
    sent = values.get(row.numpy.kind, [0, 1, 2, 3])
    answer = predict(rest, f"identity_{row.wire.lower()}", {"instances": [sent]})

    if row.wire == "FP16":
        assert answer.status == 501
        assert answer.error.startswith("Conversion of JSON Value to type: half (input 'x')")
    else:
        assert answer.json == {"predictions": [sent]}
        kinds = {"f": float, "b": bool, "O": str}
        assert type(answer.json["predictions"][0][0]) is kinds.get(row.numpy.kind, int)


def test_binary_strings_are_base64(rest):
    """{"b64": …} stands for bytes, alone or among strings; padding may be missing."""
    sent = [{"b64": base64.b64encode(b"foo").decode()}, "bar", {"b64": "Zm9vYg"}, {"b64": ""}]
    answer = predict(rest, "identity_bytes", {"instances": [sent]})

    assert answer.json == {"predictions": [["foo", "bar", "foob", ""]]}


def test_binary_answers_are_base64_by_the_name(repository, graphs, serve_rest):
    """Outputs named …_bytes are, others are text."""
    bytes_type = next(row.onnx_enum for row in DATA_TYPES if row.wire == "BYTES")
    repository.add("named", graphs.identity(bytes_type, output="image_bytes"))
    repository.add("plain", graphs.identity(bytes_type))
    value = {"b64": base64.b64encode(b"\x00a").decode()}
    with serve_rest(repository.path) as rest:
        named = predict(rest, "named", {"instances": [[value] * 4]})
        plain = predict(rest, "plain", {"instances": [[value] * 4]})

    assert named.json == {"predictions": [[value] * 4]}
    assert plain.json == {"predictions": [["\0a"] * 4]}


def test_numbers_have_upstreams_digits(rest):
    """Six digits where they tell the value, else nine or seventeen; NaN and Infinity are tokens."""
    body = b'{"instances": [[0.1, 1e6, 0.123456789, 16777217], [NaN, -Infinity, -0.0, 3.5e-5]]}'
    single = predict(rest, "identity_fp32", body).body
    double = predict(rest, "identity_fp64", body).body

    assert single == (
        b'{"predictions":[[0.1,1e+06,0.123456791,16777216.0],[NaN,-Infinity,-0.0,3.5e-05]]}'
    )
    assert double == (
        b'{"predictions":[[0.1,1e+06,0.123456789,16777217.0],[NaN,-Infinity,-0.0,3.5e-05]]}'
    )


def test_numbers_keep_their_value(rest):
    """Whatever is printed reads as the very same float."""
    values = np.random.default_rng(7).standard_normal(4000).astype(np.float32) ** 9
    answer = predict(rest, "identity_fp32", {"instances": values.reshape(-1, 4).tolist()}).json

    np.testing.assert_array_equal(np.array(answer["predictions"], np.float32).ravel(), values)


def test_optional_inputs_may_be_left_out(rest):
    """In rows and in columns alike, as long as the rows agree."""
    row = {"x": FOUR}
    assert predict(rest, "optional", {"instances": [row]}).status == 200
    assert predict(rest, "optional", {"inputs": {"x": [FOUR]}}).status == 200
    mixed = predict(rest, "optional", {"instances": [row, {**row, "bias": FOUR}]})
    assert (mixed.status, mixed.error[:31]) == (400, "Failed to process element: 1 of")


# -- versions, status, metadata --------------------------------------------------------------------


def test_versions_and_labels(repository, graphs, serve_rest):
    """A version or a label chooses; status tells all versions, metadata the signature."""
    for version in (1, 2, 3):
        config = f"version_policy {{ all {{}} }} {LABELS}"
        repository.add("m", graphs.identity(), config, version)
    with serve_rest(repository.path) as rest:
        for place, version in (("", "3"), ("/versions/1", "1"), ("/labels/stable", "1")):
            assert predict(rest, "m", {"instances": [FOUR]}, place).status == 200
            metadata = rest.get(f"/v1/models/m{place}/metadata").json
            assert metadata["model_spec"]["version"] == version
        states = rest.get("/v1/models/m").json["model_version_status"]
        (one,) = rest.get("/v1/models/m/versions/2").json["model_version_status"]
        models = rest.get("/v1/models").json
        unknown = rest.get("/v1/models/m/labels/nobody/metadata")

    assert [state["version"] for state in states] == ["3", "2", "1"]
    assert one == {
        "version": "2",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    assert models == {"models": ["m"]}
    assert (unknown.status, unknown.error) == (400, "Unrecognized servable version label: nobody")


def test_metadata_is_a_signature(rest):
    """Members and strings for 64-bit numbers are upstream's."""
    answer = rest.get("/v1/models/simple/metadata").json

    assert answer["model_spec"] == {"name": "simple", "signature_name": "", "version": "1"}
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert set(signature["inputs"]) == {"INPUT0", "INPUT1"}
    first = signature["inputs"]["INPUT0"]
    assert (first["dtype"], first["name"]) == ("DT_INT32", "INPUT0")
    assert [dim["size"] for dim in first["tensor_shape"]["dim"]] == ["-1", "16"]


# -- refusals --------------------------------------------------------------------------------------

REFUSED = {
    "no JSON": ("identity_fp32", b"{", "JSON Parse error: "),
    "more behind it": ("identity_fp32", b'{"instances": [[1, 2, 3, 4]]}x', "JSON Parse error: "),
    "nothing": ("identity_fp32", b"", "JSON Parse error: The document is empty"),
    "no object": ("identity_fp32", b"[]", "JSON Parse error: it is not an object"),
    "neither": ("identity_fp32", {}, "Missing 'inputs' or 'instances' key"),
    "both": (
        "identity_fp32",
        {"inputs": [FOUR], "instances": [FOUR]},
        'JSON Value: {"inputs": [[1.0, 2.0, 3.0, 4.0]], "instances": [[1.0, 2.0, 3.0, 4.0]]} Not '
        "formatted correctly expecting only one of",
    ),
    "no list": ("identity_fp32", {"instances": 1}, "JSON Value: 1 Expecting 'instances' to be an"),
    "no rows": ("identity_fp32", {"instances": []}, "JSON Value: [] No values in 'instances'"),
    "signature": (
        "identity_fp32",
        {"signature_name": "other", "instances": [FOUR]},
        'Serving signature name: "other" not found in signature def',
    ),
    "no name": (
        "identity_fp32",
        {"signature_name": 1, "instances": [FOUR]},
        'JSON Value: {"signature_name": 1, "instances": [[1.0, 2.0, 3.0, 4.0]]} not formatted',
    ),
    "plain rows": ("simple", {"instances": [INTS]}, "instances is a plain list, but expecting"),
    "plain column": ("simple", {"inputs": [INTS]}, "inputs is a plain value/list, but expecting"),
    "missing": (
        "simple",
        {"instances": [{"INPUT0": INTS}]},
        "Failed to process element: 0 of 'instances' list. JSON object: ",
    ),
    "unknown": (
        "simple",
        {"instances": [{"INPUT0": INTS, "z": 1}]},
        "Failed to process element: 0 key: z of 'instances' list. Error: JSON object: does not have "
        "named input: z",
    ),
    "missing column": (
        "simple",
        {"inputs": {"INPUT0": [INTS]}},
        "Missing named input: INPUT1 in 'inputs' object.",
    ),
    "object in rows": (
        "identity_fp32",
        {"instances": [FOUR, {"x": FOUR}]},
        "Expecting value/list but got object at item 1 of input list",
    ),
    "list in objects": (
        "identity_fp32",
        {"instances": [{"x": FOUR}, FOUR]},
        "Expecting object but got list at item 1 of input list",
    ),
    "string": (
        "identity_fp32",
        {"instances": [FOUR, [1, 2, "three", 4]]},
        "Failed to process element: 1 of 'instances' list. Error: JSON Value: \"three\" Type: "
        "String is not of expected type: float",
    ),
    "fraction": (
        "simple",
        {"inputs": {"INPUT0": [[1.5, *ONES[1:]]], "INPUT1": [ONES]}},
        "JSON Value: 1.5 Type: Number is not of expected type: int32",
    ),
    "range": (
        "identity_uint8",
        {"instances": [[1, 2, 3, 256]]},
        "value 256 of input 'x' is out of range for datatype 'UINT8'",
    ),
    "ragged": (
        "identity_fp32",
        {"instances": [FOUR, FOUR[1:]]},
        "Failed to process element: 1 of 'instances' list. Error: Encountered list at unexpected "
        "size: 3 at level: 1 expected size: 4",
    ),
    "mixed levels": (
        "identity_fp32",
        {"inputs": [FOUR, 5]},
        "JSON Value: 5 found at incorrect level: 1 in the JSON DOM. Expected at level: 2",
    ),
    "base64": (
        "identity_bytes",
        {"instances": [["a", "b", "c", {"b64": "§"}]]},
        "Failed to process element: 0 of 'instances' list. Error: Unable to base64 decode",
    ),
    "no base64": (
        "identity_bytes",
        {"inputs": [["a", "b", "c", {"b63": ""}]]},
        'JSON Value: {"b63": ""} not formatted correctly for base64 data',
    ),
    "shape": ("identity_fp32", {"instances": [[1, 2, 3]]}, "[request id: <id_unknown>] unexpected"),
    "deep": ("identity_fp32", b'{"inputs": ' + b"[" * 200 + b"]" * 200 + b"}", "JSON nesting"),
}


@pytest.mark.parametrize(("model", "request_", "error"), REFUSED.values(), ids=REFUSED)
def test_refusals_have_upstreams_words(model, request_, error, rest):
    """Whatever a request has wrong is 400, and said in one line."""
    answer = predict(rest, model, request_)

    assert answer.status == 400
    assert answer.error.startswith(error)
    assert "\n" not in answer.error


def test_what_is_not_served(rest):
    """Unknown models are 404, other paths below /v1/ 400, classify and regress 501."""
    unknown = predict(rest, "nobody", {"instances": [1]})
    assert (unknown.status, unknown.error[:41]) == (
        404,
        "Servable not found for request: Latest(no",
    )
    assert rest.get("/v1/models/nobody").status == 404
    version = predict(rest, "simple", {"instances": [1]}, "/versions/7")
    assert (version.status, version.error[:46]) == (
        404,
        "Servable not found for request: Specific(simpl",
    )
    for method, path in (
        ("POST", "/v1/models/simple:explain"),
        ("POST", "/v1/models/simple/versions/one:predict"),
        ("GET", "/v1/models/simple:predict"),
        ("DELETE", "/v1/models/simple"),
    ):
        answer = rest.ask(method, path, b"{}" if method == "POST" else None)
        assert (answer.status, answer.error) == (400, f"Malformed request: {method} {path}")
    huge = rest.get(f"/v1/models/simple/versions/{10**30}")
    assert (huge.status, huge.error[:27]) == (400, "Failed to convert version: ")
    for verb, name in (("classify", "Classify"), ("regress", "Regress")):
        answer = rest.ask("POST", f"/v1/models/simple:{verb}", b'{"examples": [{}]}')
        assert (answer.status, answer.error[: len(name)]) == (501, name)


def test_compression_and_a_header_of_the_other_form(rest):
    """Bodies may be compressed both ways; the length header of v2 means nothing here."""
    body = json.dumps({"instances": [FOUR]}).encode()
    answer = rest.ask(
        "POST",
        "/v1/models/identity_fp32:predict",
        body,
        Inference_Header_Content_Length="3",
        Accept_Encoding="gzip",
    )

    assert answer.headers["content-encoding"] == "gzip"
