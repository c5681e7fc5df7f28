"""What is sent to both servers over HTTP: JSON and binary requests, good and spoiled."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.interop.differential.cases import NAMES, VERSIONS
from tests.interop.differential.models import KINDS
from tests.interop.differential.requests import elements, raw_of
from zoo_server.datatypes import DataType

LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True, slots=True)
class HttpCase:
    """One HTTP request."""

    name: str
    verb: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def all_cases() -> list[HttpCase]:
    """Return every case, in the order in which they are to be sent."""
    cases = [*_lookups(), *_datatypes(), *_malformed(), *_spoiled(), *_binary(), *_parameters()]
    cases += _control()
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)
    return cases


def _post(name: str, body: Any, model: str = "identity_fp32", **headers: str) -> HttpCase:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return HttpCase(f"rest/{name}", "POST", f"/v2/models/{model}/infer", data, named)


def _good(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2.5, -3, 1e9]}
    return {"id": "7", "inputs": [tensor | changes]}


def _lookups() -> Iterator[HttpCase]:
    paths = (
        "", "v2", "v2/", "v2/health/live", "v2/health/ready", "v2/health", "v2/models",
        "v2/models/stats", "v2/models/identity_fp32/nope", "v3", "v2/repository/index",
        "v2/systemsharedmemory/status", "v2/systemsharedmemory/region/nope/status",
        "v2/cudasharedmemory/status", "v2/logging", "v2/trace/setting", "metrics",
    )  # fmt: skip
    for path in paths:
        for verb in ("GET", "POST"):
            yield HttpCase(f"rest/path/{verb} /{path}", verb, f"/{path}")
    yield HttpCase("rest/path/DELETE model", "DELETE", "/v2/models/identity_fp32")
    for what in ("", "/config", "/ready", "/stats"):
        for model in ("identity_fp32", "versions", "simple", "classes", "nope"):
            yield HttpCase(f"rest/model/{model}{what}", "GET", f"/v2/models/{model}{what}")
        for version in VERSIONS:
            if " " not in version:
                path = f"/v2/models/versions/versions/{version}{what}"
                yield HttpCase(f"rest/version/{version}{what}", "GET", path)
    for name in NAMES:
        if name.strip() and name.isascii() and " " not in name:
            label = name if len(name) < 40 else f"{name[0]} x {len(name)}"
            path = f"/v2/models/{name}/infer"
            yield HttpCase(f"rest/name/{label}", "POST", path, json.dumps(_good()).encode())


def _datatypes() -> Iterator[HttpCase]:
    for kind in KINDS:
        model, wire = f"identity_{kind.wire.lower()}", kind.wire
        tensor = {"name": "x", "datatype": wire, "shape": [1, 4]}
        yield _post(f"json/{wire}", {"inputs": [tensor | {"data": _json(kind)}]}, model)
        nested = {"inputs": [tensor | {"data": [_json(kind)]}]}
        yield _post(f"json/{wire} nested", nested, model)
        yield _post(f"json/{wire} of text", {"inputs": [tensor | {"data": ["a"] * 4}]}, model)
        yield _post(f"json/{wire} of booleans", {"inputs": [tensor | {"data": [True] * 4}]}, model)
        yield _post(f"json/{wire} of 1.5", {"inputs": [tensor | {"data": [1.5] * 4}]}, model)
        yield _post(f"json/{wire} of -1", {"inputs": [tensor | {"data": [-1] * 4}]}, model)
        yield _post(f"json/{wire} of null", {"inputs": [tensor | {"data": [None] * 4}]}, model)
        yield _post(f"json/{wire} of 2**70", {"inputs": [tensor | {"data": [2**70] * 4}]}, model)
        yield _with_bytes(f"{wire}", kind, model)
        yield _with_bytes(f"{wire} in and out", kind, model, {"binary_data_output": True})


def _json(kind: DataType) -> list[Any]:
    if kind.wire == "BYTES":
        return ["", "a\0b", "übung", "0123456789"]
    if kind.numpy.kind == "f":
        return [0.0, 1.5, -2.25, 1024.0]
    values: list[Any] = elements(kind, 4).tolist()
    return values


def _with_bytes(
    name: str, kind: DataType, model: str, parameters: dict[str, Any] | None = None
) -> HttpCase:
    raw = raw_of(kind, 4)
    tensor = {"name": "x", "datatype": kind.wire, "shape": [1, 4]}
    header: dict[str, Any] = {"inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}]}
    if parameters:
        header["parameters"] = parameters
    text = json.dumps(header).encode()
    return _post(f"binary/{name}", text + raw, model, **{LENGTH: str(len(text))})


def _malformed() -> Iterator[HttpCase]:
    bodies: dict[str, bytes] = {
        "no body": b"", "no JSON": b"hello", "half": b'{"inputs": [', "null": b"null",
        "array": b"[]", "number": b"3", "empty object": b"{}", "not UTF-8": b'{"id": "\xff"}',
        "two objects": b"{}{}", "deep": b'{"inputs": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        "inputs null": b'{"inputs": null}', "inputs object": b'{"inputs": {}}',
        "inputs empty": b'{"inputs": []}', "input a number": b'{"inputs": [1]}',
        "input empty": b'{"inputs": [{}]}', "NaN": b'{"inputs": [NaN]}',
    }  # fmt: skip
    for what, body in bodies.items():
        yield _post(f"malformed/{what}", body)
    good = json.dumps(_good()).encode()
    yield _post("malformed/gzip", gzip.compress(good), Content_Encoding="gzip")
    yield _post("malformed/gzip that is none", good, Content_Encoding="gzip")
    yield _post("malformed/br", good, Content_Encoding="br")
    yield _post("malformed/text/plain", good, Content_Type="text/plain")
    yield _post("malformed/identity", good, Content_Encoding="identity")


def _spoiled() -> Iterator[HttpCase]:
    changes: dict[str, dict[str, Any]] = {
        "good": {}, "name a number": {"name": 3}, "name unknown": {"name": "z"},
        "datatype unknown": {"datatype": "FP8"}, "datatype a number": {"datatype": 1},
        "datatype INT32": {"datatype": "INT32", "data": [1, 2, 3, 4]},
        "shape a number": {"shape": 4}, "shape of text": {"shape": ["1", "4"]},
        "shape negative": {"shape": [1, -4]}, "shape of floats": {"shape": [1.0, 4.0]},
        "shape [4]": {"shape": [4]}, "shape [2, 2]": {"shape": [2, 2]}, "shape []": {"shape": []},
        "shape [9, 4]": {"shape": [9, 4], "data": [0] * 36}, "shape huge": {"shape": [1, 2**62]},
        "shape [0, 4]": {"shape": [0, 4], "data": []}, "shape null": {"shape": None},
        "data too few": {"data": [1, 2, 3]}, "data too many": {"data": [1] * 5},
        "data a number": {"data": 1}, "data text": {"data": "abcd"}, "data null": {"data": None},
        "data empty": {"data": []}, "data an object": {"data": {"a": 1}},
        "data deep": {"data": [[[[1], [2]], [[3], [4]]]]}, "data uneven": {"data": [[1, 2, 3], [4]]},
        "parameters a list": {"parameters": []}, "parameters unknown": {"parameters": {"a": 1}},
        "binary beside data": {"parameters": {"binary_data_size": 16}},
        "region unknown": {"parameters": {"shared_memory_region": "r",
                                          "shared_memory_byte_size": 16}},
    }  # fmt: skip
    for what, change in changes.items():
        yield _post(f"input/{what}", _good(**change))
    for member in ("name", "datatype", "shape", "data"):
        body = _good()
        del body["inputs"][0][member]
        yield _post(f"input/no {member}", body)
    for what, body in {
        "twice": _good() | {"inputs": _good()["inputs"] * 2},
        "id a number": _good() | {"id": 7},
        "id null": _good() | {"id": None},
        "unknown member": _good() | {"more": 1},
        "outputs empty": _good() | {"outputs": []},
        "outputs null": _good() | {"outputs": None},
        "outputs a number": _good() | {"outputs": 1},
        "output without name": _good() | {"outputs": [{}]},
        "output unknown": _good() | {"outputs": [{"name": "z"}]},
        "output twice": _good() | {"outputs": [{"name": "y"}, {"name": "y"}]},
        "parameters null": _good() | {"parameters": None},
        "parameters text": _good() | {"parameters": "a"},
    }.items():
        yield _post(f"request/{what}", body)


def _output(**parameters: Any) -> dict[str, Any]:
    return _good() | {"outputs": [{"name": "y", "parameters": parameters}]}


def _binary() -> Iterator[HttpCase]:
    raw = bytes(range(16))
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4]}

    def case(what: str, size: Any, data: bytes, length: str | None = None) -> HttpCase:
        text = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": size}}]})
        if length == "":
            return _post(f"binary/{what}", text.encode() + data)
        header = str(len(text)) if length is None else length
        return _post(f"binary/{what}", text.encode() + data, **{LENGTH: header})

    yield case("good", 16, raw)
    yield case("no header length", 16, raw, "")
    for length in ("0", "-1", "x", "1", "99999", "1e2", str(2**63)):
        yield case(f"header length {length}", 16, raw, length)
    for size in (15, 17, 0, -1, "16", 2**63, 1.5, None, 4):
        yield case(f"size {size!r}", size, raw)
    yield case("bytes missing", 16, raw[:8])
    yield case("bytes left over", 16, raw + b"more")
    yield _post("binary/raw", raw, **{LENGTH: "0"})
    for value in (True, False, 1, "true", None):
        yield _post(f"binary/output {value!r}", _output(binary_data=value))
        whole = _good() | {"parameters": {"binary_data_output": value}}
        yield _post(f"binary/all outputs {value!r}", whole)
    accepts = ("gzip", "deflate", "br", "identity", "gzip, deflate")
    for accept in accepts:
        yield _post(f"binary/accept {accept}", _good(), Accept_Encoding=accept)


def _parameters() -> Iterator[HttpCase]:
    for key in ("sequence_id", "sequence_start", "priority", "timeout", "mine", "triton_mine"):
        for value in (True, 3, -3, 2.5, "3", None, [1], {"a": 1}):
            body = _good() | {"parameters": {key: value}}
            yield _post(f"parameter/{key}/{json.dumps(value)}", body)
    for value in (1, 2, 4, 100, 0, -1, 2**31, 1.5, "2", True, None):
        yield _post(f"classification/{value!r}", _output(classification=value), "classes")
    yield _post("classification/binary", _output(classification=2, binary_data=True), "classes")


def _control() -> Iterator[HttpCase]:
    """Whatever is refused, or changes nothing: the two servers go on as they were."""
    model = "/v2/repository/models/simple"
    bodies: dict[str, tuple[Any, ...]] = {
        "/v2/logging": (
            {"log_info": "yes"}, {"log_error": 1}, {"log_info": None}, {"log_verbose_level": -1},
            {"log_verbose_level": "1"}, {"log_format": 3}, {"log_file": "x"}, [],
        ),
        "/v2/trace/setting": (
            {"trace_level": [1]}, {"trace_rate": "x"}, {"trace_rate": True}, {"trace_count": "-5"},
            {"log_frequency": "x"}, {"trace_file": "x"}, [],
        ),
        "/v2/systemsharedmemory/region/r/register": (
            {}, {"key": 1}, {"key": "/x"}, {"key": "/x", "byte_size": "1"},
            {"key": "/x", "byte_size": -1}, {"key": "/x", "byte_size": 4, "offset": "0"},
            {"key": "/none", "byte_size": 4}, [],
        ),
        "/v2/systemsharedmemory/register": ({"key": "/x", "byte_size": 4},),
        "/v2/repository/index": ({"ready": "yes"}, {"ready": None}, []),
        f"{model}/load": (
            {"parameters": []}, {"parameters": {"config": 1}}, {"parameters": {"config": "{}"}},
            {"parameters": {"file:1/model.onnx": "?"}}, {"parameters": {"mine": "1"}}, [],
        ),
        f"{model}/unload": ({"parameters": {"unload_dependents": "yes"}}, {}, []),
    }  # fmt: skip
    for path, payload in bodies.items():
        for body in payload:
            text = json.dumps(body)
            yield HttpCase(f"rest/control/{path} {text}", "POST", path, text.encode())
        for text in (b"", b"hello", b"{"):
            yield HttpCase(f"rest/control/{path} {text.decode()}", "POST", path, text)
