"""Property tests of the REST body: whatever comes, an answer with a mapped status, and soon."""

import http.client
import json
import resource

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

STATUSES = {200, 400, 404, 500, 501, 503}

#: None of the models fails when it runs: 500 is JSON that cannot be read (server.errors), or a bug.
MODELS = ("simple", "identity_fp32", "identity_bytes", "identity_int8", "variable", "scalar", "?")

words = st.sampled_from(
    ["x", "y", "INPUT0", "INPUT1", "OUTPUT0", "FP32", "INT32", "INT8", "BYTES", "BOOL", "FP16", ""]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 4, 16, -1, 2**31, 2**63, 2**64])
    | st.floats()
    | words
    | st.text(max_size=5)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=3),
    max_leaves=10,
)


def nearly(good):
    """Mostly what is right, now and then anything."""
    return st.one_of(good, good, good, anything)


parameters = st.dictionaries(
    st.sampled_from(
        ["binary_data_size", "binary_data", "binary_data_output", "classification", "priority",
         "timeout", "sequence_id", "sequence_start", "shared_memory_region", "triton_x", "mine"]
    ),
    scalars,
    max_size=3,
)  # fmt: skip
shapes = st.lists(st.sampled_from([1, 4, 16, 0, 2]), max_size=3)
data = st.lists(scalars, max_size=16) | st.just([1.5] * 4) | st.just([list(range(16))])
tensors = st.fixed_dictionaries(
    {"name": nearly(words), "datatype": nearly(words), "shape": nearly(shapes)},
    optional={"data": nearly(data), "parameters": nearly(parameters), "more": anything},
)
outputs = st.fixed_dictionaries({"name": nearly(words)}, optional={"parameters": parameters})
requests = st.fixed_dictionaries(
    {"inputs": nearly(st.lists(tensors, max_size=3))},
    optional={
        "id": nearly(words),
        "outputs": nearly(st.lists(outputs, max_size=2)),
        "parameters": nearly(parameters),
    },
)
headers = st.dictionaries(
    st.sampled_from(["Inference-Header-Content-Length", "Content-Encoding", "Accept-Encoding"]),
    st.sampled_from(["0", "1", "64", "-1", "x", "gzip", "deflate", "br", "identity", ""]),
    max_size=2,
)


@pytest.fixture(scope="module")
def connection(rest):
    """Return one connection for all examples; it reconnects by itself."""
    connection = http.client.HTTPConnection(rest.server.http_address, timeout=10)
    yield connection
    connection.close()


def check(connection, model, body, sent):
    connection.request("POST", f"/v2/models/{model}/infer", body, sent)
    answer = connection.getresponse()
    shown = answer.read()

    assert answer.status in STATUSES, shown
    if answer.status != 200:
        assert set(json.loads(shown)) == {"error"}
        assert json.loads(shown)["error"]
        assert "internal error, incident" not in json.loads(shown)["error"]


SETTINGS = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(model=st.sampled_from(MODELS), request=requests, tail=st.binary(max_size=80), sent=headers)
@SETTINGS
def test_nearly_right_requests(connection, model, request, tail, sent):
    """JSON of about the right form, with bytes behind it and headers that may lie."""
    body = json.dumps(request).encode()
    if tail and "Inference-Header-Content-Length" not in sent:
        sent = {**sent, "Inference-Header-Content-Length": str(len(body))}
    check(connection, model, body + tail, sent)


@given(model=st.sampled_from(MODELS), body=st.binary(max_size=200), sent=headers)
@SETTINGS
def test_bytes_of_any_kind(connection, model, body, sent):
    """Bodies that are no JSON at all."""
    check(connection, model, body, sent)


@pytest.mark.parametrize("piece", [b"[", b'{"a":', b"[],", b"{},", b"1e5,", b'"\\u0000",', b"0,"])
def test_large_repetitive_bodies_take_bounded_memory(connection, piece):
    """A megabyte of what JSON makes most of: refused, and far from a hundred times as much held."""
    body = b'{"inputs":[' + piece * (2**20 // len(piece)) + b"0]}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check(connection, "identity_fp32", body, {})
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert after - before < 100 * 1024  # in kB
