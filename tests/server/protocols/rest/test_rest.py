"""Inference by REST v2 over a real port: every form, and each datatype."""

import gzip
import json
import zlib

import numpy as np
import pytest

from tests.server.protocols.rest.json_requests import one, tensor
from zoo_server.datatypes import DATA_TYPES, from_raw, serialize_bytes, to_raw
from zoo_server.protocols.rest import infer_response
from zoo_server.protocols.rest.bodies import wanted_encoding

SIMPLE = {
    "inputs": [
        {"name": "INPUT0", "datatype": "INT32", "shape": [1, 16], "data": list(range(16))},
        {"name": "INPUT1", "datatype": "INT32", "shape": [1, 16], "data": [[1] * 16]},
    ]
}


def test_json_in_and_out(rest):
    """Flat and nested data are the same; the answer names itself and is flat."""
    answer = rest.infer("simple", {"id": "seven", **SIMPLE})

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["id"] == "seven"
    assert answer.json["model_name"] == "simple"
    assert answer.json["model_version"] == "1"
    added, subtracted = answer.json["outputs"]
    assert added == {
        "name": "OUTPUT0",
        "datatype": "INT32",
        "shape": [1, 16],
        "data": list(range(1, 17)),
    }
    assert subtracted["data"] == list(range(-1, 15))


def test_binary_in_and_out(rest):
    """Bytes follow the JSON, in the order of the tensors, and headers say where they begin."""
    first, second = np.arange(16, dtype="<i4"), np.ones(16, "<i4")
    request = {
        "inputs": [
            tensor("INT32", (1, 16), name, parameters={"binary_data_size": 64})
            for name in ("INPUT0", "INPUT1")
        ],
        "parameters": {"binary_data_output": True},
    }
    answer = rest.infer("simple", request, first.tobytes() + second.tobytes())
    length = int(answer.headers["inference-header-content-length"])
    header = json.loads(answer.body[:length])

    assert answer.headers["content-type"] == "application/octet-stream"
    assert [output["parameters"] for output in header["outputs"]] == [{"binary_data_size": 64}] * 2
    values = np.frombuffer(answer.body[length:], "<i4")
    np.testing.assert_array_equal(values, np.concatenate([first + second, first - second]))


def test_each_output_has_its_own_form(rest):
    """One as bytes, one as JSON, in the order asked; unlisted ones are left out."""
    outputs = [{"name": "OUTPUT1", "parameters": {"binary_data": True}}, {"name": "OUTPUT0"}]
    answer = rest.infer("simple", {**SIMPLE, "outputs": outputs})
    length = int(answer.headers["inference-header-content-length"])
    binary, plain = json.loads(answer.body[:length])["outputs"]

    assert (binary["name"], plain["name"]) == ("OUTPUT1", "OUTPUT0")
    assert "data" not in binary
    assert plain["data"] == list(range(1, 17))
    assert len(answer.body) == length + 64


VALUES = {
    "BOOL": [True, False, True, True],
    "UINT8": [0, 1, 254, 255],
    "UINT16": [0, 1, 2, 2**16 - 1],
    "UINT32": [0, 1, 2, 2**32 - 1],
    "UINT64": [0, 1, 2**63, 2**64 - 1],
    "INT8": [-128, -1, 0, 127],
    "INT16": [-(2**15), -1, 0, 2**15 - 1],
    "INT32": [-(2**31), -1, 0, 2**31 - 1],
    "INT64": [-(2**63), -1, 0, 2**63 - 1],
    "FP32": [0.1, -1.5, 3, 1e38],
    "FP64": [0.1, -1.5, 3, 1e300],
    "BYTES": ["", "plain", "größer 数", "a\u0000b\u0000"],
}


@pytest.mark.parametrize("datatype", VALUES)
def test_each_datatype_as_json(rest, datatype):
    """What goes in comes out, extremes included."""
    values = VALUES[datatype]
    (output,) = rest.infer(f"identity_{datatype.lower()}", one(datatype, data=[values])).json[
        "outputs"
    ]

    expected = np.float32(values).tolist() if datatype == "FP32" else values
    assert output == {"name": "y", "datatype": datatype, "shape": [1, 4], "data": expected}


@pytest.mark.parametrize("step", [1, 3, 4])
def test_json_is_written_in_steps(rest, monkeypatch, step):
    """However many elements are made text at a time, the text is the same."""
    monkeypatch.setattr(infer_response, "ELEMENTS_AT_ONCE", step)
    for datatype in ("FP32", "BYTES"):
        values = VALUES[datatype]
        answer = rest.infer(f"identity_{datatype.lower()}", one(datatype, data=values))
        (output,) = answer.json["outputs"]

        assert output["data"] == (np.float32(values).tolist() if datatype == "FP32" else values)


@pytest.mark.parametrize(
    "row", [row for row in DATA_TYPES if row.wire != "BF16"], ids=lambda row: row.wire
)
def test_each_datatype_as_bytes(rest, row):
    """What goes in comes out; FP16 too, which JSON cannot carry."""
    values = VALUES.get(row.wire, [0.5, -2.0, 65504.0, 0.0])
    if row.byte_size is None:
        raw = serialize_bytes(values)
    else:
        raw = to_raw(row, np.array(values, row.numpy))
    request = one(row.wire, parameters={"binary_data_size": len(raw)})
    request["parameters"] = {"binary_data_output": True}
    answer = rest.infer(f"identity_{row.wire.lower()}", request, raw)

    length = int(answer.headers["inference-header-content-length"])
    assert answer.body[length:] == raw
    assert from_raw(row, (4,), answer.body[length:]).shape == (4,)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_has_no_json_form(rest, datatype):
    """Neither going in nor coming out: the error says what to use."""
    answer = rest.infer("identity_fp16", one(datatype, data=[1, 2, 3, 4]))
    assert answer.status == 400
    assert answer.error.startswith(f"receiving {datatype} data via JSON is not supported")


def test_half_precision_does_not_leave_as_json(rest):
    """It is said before anything runs."""
    request = one("FP16", parameters={"binary_data_size": 8})
    answer = rest.infer("identity_fp16", request, bytes(8))
    assert answer.status == 400
    assert answer.error.startswith("sending FP16 data via JSON is not supported")


def test_not_a_number_and_infinity(rest):
    """They are written as Triton writes them, which Python's json reads."""
    body = json.dumps(one(data=[float("nan"), float("inf"), -float("inf"), 1.0]))
    assert "NaN" in body
    (output,) = rest.infer("identity_fp32", json.loads(body)).json["outputs"]

    assert np.isnan(output["data"][0])
    assert output["data"][1:] == [float("inf"), -float("inf"), 1.0]


@pytest.mark.parametrize("as_bytes", [True, False])
def test_tensors_without_elements_and_scalars(rest, as_bytes):
    """A size of 0 is legal, and so is no dimension at all."""
    form = {"parameters": {"binary_data_size": 0}} if as_bytes else {"data": []}
    (empty,) = rest.infer("variable", one(shape=(2, 0), **form)).json["outputs"]
    (scalar,) = rest.infer("scalar", one(shape=(), data=[2.5])).json["outputs"]

    assert (empty["shape"], empty["data"]) == ([2, 0], [])
    assert (scalar["shape"], scalar["data"]) == ([], [2.5])


def test_a_body_without_json_is_the_only_inputs_data(rest):
    """A header of length 0: the shape is the configuration's, one row; the answer is binary."""
    raw = np.float32([1, 2, 3, 4]).tobytes()
    answer = rest.ask(
        "POST", "/v2/models/identity_fp32/infer", raw, Inference_Header_Content_Length="0"
    )
    length = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.body[:length])["outputs"][0]["shape"] == [1, 4]
    assert answer.body[length:] == raw

    variable = rest.ask(
        "POST", "/v2/models/variable/infer", raw, Inference_Header_Content_Length="0"
    )
    length = int(variable.headers["inference-header-content-length"])
    assert json.loads(variable.body[:length])["outputs"][0]["shape"] == [1, 4]


def test_classification(rest):
    """Classes come as strings, in either form."""
    request = one(data=[0.1, 0.9, 0.5, 0.3])
    request["outputs"] = [{"name": "y", "parameters": {"classification": 2}}]
    (output,) = rest.infer("classes", request).json["outputs"]

    assert output == {
        "name": "y",
        "datatype": "BYTES",
        "shape": [1, 2],
        "data": ["0.900000:1:dog", "0.500000:2:bird"],
    }


def test_parameters_reach_the_queue(rest):
    """Those of docs/protocol.md 2.4 are accepted by their JSON types, and unknown ones too."""
    body = {
        "priority": 0, "timeout": 1_000_000, "sequence_id": "a", "sequence_start": True,
        "sequence_end": False, "mine": 1.5,
    }  # fmt: skip
    assert rest.infer("identity_fp32", {**one(data=[1] * 4), "parameters": body}).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compression_both_ways(rest, encoding):
    """A compressed body is read, and the answer is compressed as asked."""
    body = json.dumps(one(data=[1, 2, 3, 4])).encode()
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    answer = rest.ask(
        "POST", "/v2/models/identity_fp32/infer", packed,
        Content_Encoding=encoding, Accept_Encoding=f"identity;q=0.1, {encoding}",
    )  # fmt: skip

    assert answer.headers["content-encoding"] == encoding
    plain = zlib.decompress(answer.body, 47)
    assert json.loads(plain)["outputs"][0]["data"] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", None), ("identity", None), ("br", None), ("gzip", "gzip"), ("gzip, deflate", "gzip"),
        ("gzip;q=0.5,deflate;q=0.8", "deflate"), ("gzip;q=0", None), ("gzip;q=x", None),
        ("GZIP ; q=1", "gzip"), (",;,", None),
    ],
)  # fmt: skip
def test_accept_encoding(accept, wanted):
    """The heaviest that we know, the first of equals."""
    assert wanted_encoding(accept) == wanted
