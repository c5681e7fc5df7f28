"""Property tests of REST: whatever comes, an answer with a mapped status, and soon.

The server is a process of its own: it must live on, and a request must be answered in ten seconds.
"""

import base64
import gzip
import json
import os
import re
import zlib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_server.datatypes import DATA_TYPES, serialize_bytes
from zoo_server.protocols.rest import openapi

STATUSES = {200, 400, 404, 500, 501, 503}

#: What 500 may say: JSON that cannot be read. None of the models fails when it runs.
UNREADABLE = re.compile(
    "failed to parse the request JSON buffer|Unable to (parse|set) |attempt to (access|get) "
    "|failed to get request params|a string element of input"
)

#: And on the other paths, what was asked for could not be done.
NOT_DONE = re.compile(
    f"{UNREADABLE.pattern}|failed to load|failed to poll|Unable to open shared memory region"
)

SETTINGS = settings(max_examples=300, deadline=None)


def check(process, answer, stems=UNREADABLE):
    """The status is one of the table's, an error is in words, and nothing went wrong inside."""
    assert process.process.process.poll() is None
    assert answer.status in STATUSES, answer
    if answer.status != 200:
        assert answer.error
        assert "incident" not in answer.error
        assert answer.status != 500 or stems.match(answer.error), answer.error


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


# -- inference: JSON of about the right form -------------------------------------------------------

MODELS = ("simple", "identity_fp32", "identity_bytes", "identity_int8", "variable", "scalar", "?")

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
    st.sampled_from(["Inference_Header_Content_Length", "Content_Encoding", "Accept_Encoding"]),
    st.sampled_from(["0", "1", "64", "-1", "x", "gzip", "deflate", "br", "identity", ""]),
    max_size=2,
)


@given(model=st.sampled_from(MODELS), request=requests, tail=st.binary(max_size=80), sent=headers)
@SETTINGS
def test_nearly_right_requests(rest_process, model, request, tail, sent):
    """JSON of about the right form, with bytes behind it and headers that may lie."""
    body = json.dumps(request).encode()
    if tail and "Inference_Header_Content_Length" not in sent:
        sent = {**sent, "Inference_Header_Content_Length": str(len(body))}
    path = f"/v2/models/{model}/infer"
    check(rest_process, rest_process.ask("POST", path, body + tail, **sent))


@given(model=st.sampled_from(MODELS), body=st.binary(max_size=200), sent=headers)
@SETTINGS
def test_bytes_of_any_kind(rest_process, model, body, sent):
    """Bodies that are no JSON at all."""
    path = f"/v2/models/{model}/infer"
    check(rest_process, rest_process.ask("POST", path, body, **sent))


# -- inference: sizes that match, in every dress of HTTP -------------------------------------------

#: Model -> its inputs: name, datatype, shape; None is any size.
INPUTS = {
    **{
        f"identity_{row.wire.lower()}": [("x", row, (None, 4))]
        for row in DATA_TYPES
        if row.wire != "BF16"
    },
    **{
        model: [(name, row, shape) for name in names]
        for model, names, wire, shape in (
            ("simple", ("INPUT0", "INPUT1"), "INT32", (None, 16)),
            ("fixed", ("x",), "FP32", (2, 3)),
            ("scalar", ("x",), "FP32", ()),
            ("variable", ("x",), "FP32", (None, None)),
            ("classes", ("x",), "FP32", (None, 4)),
        )
        for row in DATA_TYPES
        if row.wire == wire
    },
}


@st.composite
def filled(draw, rows, name, row, shape):
    """Return an input, and the bytes that follow the JSON for it."""
    sizes = [
        (rows if place == 0 else draw(st.integers(0, 5))) if size is None else size
        for place, size in enumerate(shape)
    ]
    count = int(np.prod(sizes))
    if row.byte_size is None:
        values = draw(st.lists(st.text(max_size=4), min_size=count, max_size=count))
        raw = serialize_bytes(values)
    elif row.wire == "BOOL":
        raw = draw(
            st.binary(min_size=count, max_size=count).map(lambda some: bytes(b & 1 for b in some))
        )
    else:
        raw = draw(st.binary(min_size=count * row.byte_size, max_size=count * row.byte_size))
    tensor = {"name": name, "datatype": row.wire, "shape": sizes}
    if row.wire == "FP16" or draw(st.booleans()):
        return {**tensor, "parameters": {"binary_data_size": len(raw)}}, raw
    flat = values if row.byte_size is None else np.frombuffer(raw, row.numpy).tolist()
    return {**tensor, "data": flat}, b""


@st.composite
def matching(draw):
    """Return a model, a request for it that it can answer, and the bytes behind the JSON."""
    model = draw(st.sampled_from(sorted(INPUTS)))
    rows = draw(st.integers(1, 4))
    pairs = [draw(filled(rows, *tensor)) for tensor in INPUTS[model]]
    request = {"inputs": [header for header, _ in pairs]}
    if model == "identity_fp16" or draw(st.booleans()):
        request["parameters"] = {"binary_data_output": True}
    return model, request, b"".join(raw for _, raw in pairs)


@st.composite
def spoilt(draw, request):
    """Replace one member of a request, at any depth, by anything."""
    copy = json.loads(json.dumps(request))
    owner = copy
    while True:
        keys = range(len(owner)) if isinstance(owner, list) else sorted(owner)
        key = draw(st.sampled_from(keys))
        if not (isinstance(owner[key], dict | list) and owner[key] and draw(st.booleans())):
            owner[key] = draw(anything)
            return copy
        owner = owner[key]


PACKERS = {"gzip": gzip.compress, "deflate": zlib.compress}


@given(
    case=matching(),
    source=st.data(),
    fault=st.sampled_from(["", "", "", "member", "length", "tail", "packed"]),
    packing=st.sampled_from(["", "gzip", "deflate"]),
    cuts=st.none() | st.lists(st.integers(0, 400), max_size=5),
    wanted=st.sampled_from(["", "gzip", "deflate;q=0.5"]),
)
@SETTINGS
def answered(process, seen, case, source, fault, packing, cuts, wanted):
    """Send one request, compressed, in chunks, and with a fault, or not."""
    model, request, tail = case
    if fault == "member":
        request = source.draw(spoilt(request))
    head = json.dumps(request).encode()
    length = source.draw(st.integers(0, len(head) + 9)) if fault == "length" else len(head)
    body = head + (tail[:-1] if fault == "tail" else tail)
    sent = {"Inference_Header_Content_Length": str(length), "Accept_Encoding": wanted}
    if packing:
        body = PACKERS[packing](body)
        sent["Content_Encoding"] = packing
    if fault == "packed" and packing:
        at = source.draw(st.integers(0, len(body) - 1))
        body = body[:at] + source.draw(st.binary(max_size=2)) + body[at + 1 :]
    ends = sorted({0, len(body), *(cut for cut in cuts or () if cut < len(body))})
    pieces = body if cuts is None else [body[begin:end] for begin, end in pairwise(ends)]
    answer = process.ask("POST", f"/v2/models/{model}/infer", pieces, **sent)
    check(process, answer)
    if not fault:
        assert answer.status == 200, answer
    seen[bool(fault), answer.status] += 1


def test_sizes_that_match_are_answered(rest_process):
    """JSON and bytes of every datatype, compressed and in chunks: 200, and with one fault an error."""
    seen = Counter()
    answered(rest_process, seen)

    assert seen[False, 200] > SETTINGS.max_examples // 4
    assert seen[True, 400] > SETTINGS.max_examples // 20
    assert seen[True, 500] > 0


# -- every other path ------------------------------------------------------------------------------

#: What stands in a path; unloading and loading leaves the models of the other tests alone.
NAMES = {
    "model": st.sampled_from(["spare", "spare", "nobody", "..", "%20", "a%00b", "%ff", "m" * 300]),
    "version": st.sampled_from(["1", "1", "7", "0", "x", "-1", "9" * 30, "%31"]),
    "label": st.sampled_from(["1", "1", "7", "stable", "a:b", "%00"]),
    "repository": st.sampled_from(["r", "models", "%00"]),
    "region": st.sampled_from(["r", "r", "q", "%00", "n" * 300]),
}
ROUTES = [
    (method.upper(), path)
    for path, item in openapi.document("1")["paths"].items()
    for method in item
    if method != "parameters"
]


def kind_of(path):
    """Return the last part of a path, or its verb: it says what the path is for."""
    return re.split("[/:]", path)[-1]


#: Those that succeed at times.
KINDS = sorted({kind_of(path) for _, path in ROUTES} - {"classify", "regress"})
REGION_KEY = f"/layer-zoo-fuzz-{os.getpid()}"

sizes = st.sampled_from([0, 1, 32, 64, 65, 2**63 - 1, -1, 2**64])
configs = st.sampled_from(
    ["{}", "{", '{"max_batch_size": 2}', '{"max_batch_size": "x"}', '{"name": "other"}', "[]",
     '{"backend": "onnxruntime"}', '{"input": [{"name": "z"}]}', '{"version_policy": {"all": {}}}']
)  # fmt: skip
files = st.sampled_from([b"", b"no graph"]).map(lambda raw: base64.b64encode(raw).decode())
FOUR = {"name": "x", "datatype": "FP32", "shape": [1, 4]}
BODIES = {
    "index": st.fixed_dictionaries({}, optional={"ready": nearly(st.booleans())}),
    "load": st.fixed_dictionaries(
        {},
        optional={
            "parameters": nearly(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "config": nearly(configs),
                        "file:1/model.onnx": nearly(files),
                        "file:../x": nearly(files),
                        "mine": scalars,
                    },
                )
            )
        },
    ),
    "unload": st.fixed_dictionaries(
        {},
        optional={
            "parameters": nearly(
                st.fixed_dictionaries({"unload_dependents": nearly(st.booleans())})
            )
        },
    ),
    "register": st.just({"key": REGION_KEY, "byte_size": 64})
    | st.fixed_dictionaries(
        {},
        optional={
            "key": nearly(
                st.sampled_from([REGION_KEY, REGION_KEY, "/nobody", "", "/../x", "/a\0"])
            ),
            "offset": nearly(sizes),
            "byte_size": nearly(sizes),
            "device_id": nearly(sizes),
            "raw_handle": nearly(st.fixed_dictionaries({"b64": nearly(files)})),
        },
    ),
    "setting": st.dictionaries(
        st.sampled_from(["trace_level", "trace_rate", "trace_count", "trace_mode", "mine"]),
        nearly(st.sampled_from(["OFF", ["OFF"], ["TIMESTAMPS"], "1", "-1", "triton", None])),
        max_size=3,
    ),
    "logging": st.dictionaries(
        st.sampled_from(["log_info", "log_error", "log_verbose_level", "log_format", "log_file"]),
        nearly(st.sampled_from([True, 0, 1, "default", "ISO8601", "", None])),
        max_size=3,
    ),
    "predict": st.just({"instances": [[1, 2, 3, 4]]})
    | st.fixed_dictionaries(
        {}, optional={"instances": nearly(st.just([[1, 2, 3, 4], [0.5, 6, 7, 8]]))}
    )
    | st.fixed_dictionaries(
        {"inputs": nearly(st.just({"x": [[1, 2, 3, 4]]}))},
        optional={"signature_name": nearly(st.just("serving_default"))},
    ),
    "infer": st.just({"inputs": [{**FOUR, "data": [1, 2, 3, 4]}]}) | requests,
}


@pytest.fixture(scope="module")
def region():
    """An object of 64 bytes that can be registered."""
    file = Path("/dev/shm" + REGION_KEY)
    file.write_bytes(bytes(64))
    yield
    file.unlink()


@given(
    source=st.data(),
    names=st.fixed_dictionaries(NAMES),
    is_json=st.sampled_from([True, True, True, False]),
)
@settings(max_examples=150, deadline=None)
def told(process, seen, kind, source, names, is_json):
    """Ask one path with JSON of about the right form, or with any bytes."""
    routes = [(method, path) for method, path in ROUTES if kind_of(path) == kind]
    method, path = source.draw(st.sampled_from(routes))
    body = None
    if method == "POST":
        good = nearly(BODIES.get(kind, st.just({})))
        shown = json.dumps(source.draw(good)).encode() if is_json else b""
        body = shown or source.draw(st.binary(max_size=40))
    answer = process.ask(method, path.format(**names), body)
    seen[answer.status] += 1
    if answer.status == 400 and path == "/v2/health/ready":
        assert answer.body == b""  # after a load that failed
    else:
        check(process, answer, NOT_DONE)


#: What answers 200 whatever it is asked.
ALWAYS = {"v2", "models", "live", "ready", "openapi.json", "unregister", "status"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_other_path(rest_process, region, kind):
    """Control, shared memory, settings, metadata: each succeeds at times, and is refused in words."""
    for path in ("/v2/repository/models/spare/load", "/v2/systemsharedmemory/unregister"):
        assert rest_process.ask("POST", path).status == 200
    seen = Counter()
    # A registration succeeds once, and of 150 draws there may be none that could.
    for _ in range(4):
        told(rest_process, seen, kind)
        if seen[200]:
            break

    assert seen[200]
    assert kind in ALWAYS or seen.total() > seen[200]
    assert rest_process.get("/v2/models/simple/ready").status == 200
