"""What is sent to both servers over gRPC, generated: a good request, and each way of spoiling it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from google.protobuf.message import Message

from tests.interop.differential.models import KINDS
from tests.interop.differential.requests import (
    VALUES,
    Case,
    ask,
    classes,
    infer,
    pair,
    raw_of,
)
from tests.interop.differential.scheduling_cases import scheduled
from tests.interop.differential.tensor_cases import (
    contents,
    counts,
    datatypes,
    fatal,
    inputs,
    outputs,
    shapes,
    strings,
)
from zoo_proto import grpc_service_pb2 as pb
from zoo_server.datatypes import serialize_bytes

#: Versions as a caller may write them; 1 is there, 3 only of the model `versions`.
VERSIONS = ("1", "3", "2", "01", "0", "-1", "+1", "1.0", " 1", "1 ", "x", "9" * 19, "9" * 25)


NAMES = ("", " ", "nope", "IDENTITY_FP32", "identity_fp32 ", "../identity_fp32", "n" * 300, "日本")


def all_cases() -> list[Case]:
    """Return every case, in the order in which they are to be sent."""
    cases = [
        *datatypes(), *counts(), *shapes(), *_names(), *inputs(), *outputs(), *contents(),
        *_parameters(), *_classification(), *strings(), *_regions(), *_sequences(), *_streams(),
        *_management(), *scheduled(), *fatal(),
    ]  # fmt: skip
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)
    return cases


def _names() -> Iterator[Case]:
    for name in NAMES:
        label = name if len(name) < 40 else f"{name[0]} x {len(name)}"
        yield infer(f"name/{label!r}/infer", ask(name))
        yield from _lookups(f"name/{label!r}", name, "")
    for version in VERSIONS:
        for model in ("identity_fp32", "versions"):
            yield infer(f"version/{version!r}/{model}/infer", ask(model, version=version))
            yield from _lookups(f"version/{version!r}/{model}", model, version)
    for model in ("versions", "simple", "classes", "unbatched", "optional", "sequence", "strings"):
        yield from _lookups(f"lookup/{model}", model, "")


def _lookups(name: str, model: str, version: str) -> Iterator[Case]:
    yield Case(
        f"{name}/metadata", "ModelMetadata", (pb.ModelMetadataRequest(name=model, version=version),)
    )
    yield Case(
        f"{name}/config", "ModelConfig", (pb.ModelConfigRequest(name=model, version=version),)
    )
    yield Case(f"{name}/ready", "ModelReady", (pb.ModelReadyRequest(name=model, version=version),))
    yield Case(
        f"{name}/statistics",
        "ModelStatistics",
        (pb.ModelStatisticsRequest(name=model, version=version),),
    )


def _parameters() -> Iterator[Case]:
    keys = (
        "sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "mine", "",
        "triton_enable_empty_final_response", "triton_mine", "binary_data_output", "headers",
        "classification",
    )  # fmt: skip
    for key in keys:
        for field_name, value in VALUES:
            request = ask()
            setattr(request.parameters[key], field_name, value)
            yield infer(f"parameter/{key}/{field_name}", request)
        request = ask()
        request.parameters[key].SetInParent()
        yield infer(f"parameter/{key}/no value", request)
    for key, value in (("priority", -1), ("timeout", -1), ("timeout", 0), ("priority", 2**62)):
        request = ask()
        request.parameters[key].int64_param = value
        yield infer(f"parameter/{key}/{value}", request)


def _classification() -> Iterator[Case]:
    for count in (1, 2, 4, 5, 1000, 0, -1, 2**31 - 1, 2**31, 2**32 + 1, -(2**63)):
        yield infer(f"classification/{count}", classes(ask("classes"), count))
    yield infer("classification/no labels", classes(ask(), 2))
    yield infer("classification/equal scores", classes(ask("classes", raw=bytes(32)), 4))
    strange = np.array([[np.nan, 1, -np.inf, np.inf]] * 2, np.float32)
    yield infer("classification/infinities", classes(ask("classes", raw=strange.tobytes()), 4))
    yield infer("classification/unbatched", classes(ask("unbatched", (2, 3)), 3))
    yield infer("classification/zero size", classes(ask("variable", (2, 0), raw=b""), 1))
    for kind in KINDS:
        if kind.wire == "BYTES":
            continue
        request = ask(f"identity_{kind.wire.lower()}", (2, 4), kind.wire, raw_of(kind, 8))
        yield infer(f"classification/of {kind.wire}", classes(request, 2))
    for field_name, value in VALUES:
        request = ask("classes")
        setattr(request.outputs.add(name="y").parameters["classification"], field_name, value)
        yield infer(f"classification/as {field_name}", request)


def _regions() -> Iterator[Case]:
    region, offset = "shared_memory_region", "shared_memory_offset"
    size = "shared_memory_byte_size"
    rows: dict[str, dict[str, Any]] = {
        "unknown": {region: "nope", size: 32},
        "no size": {region: "nope"},
        "offset alone": {offset: 0},
        "size alone": {size: 32},
        "region as a number": {region: 3, size: 32},
        "size as text": {region: "nope", size: "32"},
        "offset as text": {region: "nope", size: 32, offset: "0"},
        "negative size": {region: "nope", size: -1},
        "empty name": {region: "", size: 32},
    }
    for what, parameters in rows.items():
        for side in ("input", "output"):
            request = ask()
            tensor = request.inputs[0]
            if side == "input":
                del request.raw_input_contents[:]
            else:
                tensor = request.outputs.add(name="y")
            for key, value in parameters.items():
                field_name = "string_param" if isinstance(value, str) else "int64_param"
                setattr(tensor.parameters[key], field_name, value)
            yield infer(f"region/{side}/{what}", request)
    both = classes(ask(), 1)
    both.outputs[0].parameters[region].string_param = "nope"
    both.outputs[0].parameters[size].int64_param = 32
    yield infer("region/output/with classification", both)


def step(value: int, sequence: Any, flags: str = "", rows: int = 1) -> Any:
    raw = np.full(rows, value, np.int32).tobytes()
    request = ask("sequence", (rows, 1), "INT32", raw)
    if isinstance(sequence, str):
        request.parameters["sequence_id"].string_param = sequence
    elif sequence is not None:
        request.parameters["sequence_id"].int64_param = sequence
    if "s" in flags:
        request.parameters["sequence_start"].bool_param = True
    if "e" in flags:
        request.parameters["sequence_end"].bool_param = True
    return request


def _sequences() -> Iterator[Case]:
    steps: tuple[tuple[str, Any], ...] = (
        ("no id", step(1, None, "s")),
        ("id 0", step(1, 0, "s")),
        ("an empty name", step(1, "", "s")),
        ("no start", step(1, 5)),
        ("only end", step(1, 5, "e")),
        ("start", step(1, 5, "s")),
        ("next", step(2, 5)),
        ("start again", step(3, 5, "s")),
        ("end", step(4, 5, "e")),
        ("after the end", step(5, 5)),
        ("start and end at once", step(6, 6, "se")),
        ("after that", step(7, 6)),
        ("a name", step(8, "six", "s")),
        ("the name's next", step(9, "six", "e")),
        ("negative id", step(10, -3, "se")),
        ("two rows", step(11, 7, "s", rows=2)),
        ("a long name", step(12, "n" * 128, "se")),
        ("a longer name", step(13, "n" * 129, "se")),
    )
    for what, request in steps:
        yield infer(f"sequence/{what}", request)


def _streams() -> Iterator[Case]:
    def named(request: Any, number: int) -> Any:
        request.id = f"n{number}"
        return request

    def case(what: str, *requests: Any, **metadata: str) -> Case:
        messages = tuple(named(request, number) for number, request in enumerate(requests))
        headers = tuple(metadata.items())
        return Case(f"stream/{what}", "ModelStreamInfer", messages, headers)

    wanted = ask()
    wanted.parameters["triton_enable_empty_final_response"].bool_param = True
    unwanted = ask()
    unwanted.parameters["triton_enable_empty_final_response"].bool_param = False
    yield case("nothing")
    yield case("one", ask())
    yield case("three", ask(), ask("variable"), pair())
    yield case("bad between good", ask(), ask(shape=(2, 5)), ask(raw=b""), ask())
    yield case("unknown model", ask("nope"), ask())
    yield case("unknown version", ask(version="9"), ask())
    yield case("version in words", ask(version="x"), ask())
    yield case("empty final answer wanted", wanted)
    yield case("empty final answer not wanted", unwanted)
    yield case("reserved key", flagged(ask(), "triton_mine"), ask())
    yield case("an empty message", pb.ModelInferRequest())
    yield case("statuses, good", ask(), ask(), triton_grpc_error="true")
    yield case("statuses, bad", ask(raw=b""), triton_grpc_error="true")
    yield case("statuses, unknown model", ask("nope"), triton_grpc_error="true")
    yield case("statuses off", ask("nope"), triton_grpc_error="false")
    yield case("classification", classes(ask("classes"), 2))
    steps = [step(n, 21, "s" if n == 0 else "e" if n == 3 else "") for n in range(4)]
    yield case("a sequence", *steps)
    yield case("a sequence without start", step(1, 22), step(2, 22, "se"))
    yield case("strings", ask("strings", (1, 2), "BYTES", serialize_bytes([b"\0", b""])))


def flagged(request: Any, key: str) -> Any:
    request.parameters[key].bool_param = True
    return request


def _management() -> Iterator[Case]:
    def one(name: str, method: str, request: Message) -> Case:
        return Case(f"management/{name}", method, (request,))

    yield one("live", "ServerLive", pb.ServerLiveRequest())
    yield one("ready", "ServerReady", pb.ServerReadyRequest())
    yield one("server", "ServerMetadata", pb.ServerMetadataRequest())
    yield one("index", "RepositoryIndex", pb.RepositoryIndexRequest())
    yield one("index, ready", "RepositoryIndex", pb.RepositoryIndexRequest(ready=True))
    yield one("index, named", "RepositoryIndex", pb.RepositoryIndexRequest(repository_name="x"))
    for method in ("RepositoryModelLoad", "RepositoryModelUnload"):
        for name in ("simple", "nope", ""):
            request = getattr(pb, f"{method}Request")(model_name=name)
            yield one(f"{method} {name!r}", method, request)
    for kind in ("System", "Cuda"):
        for what in ("", "nope"):
            status = getattr(pb, f"{kind}SharedMemoryStatusRequest")(name=what)
            yield one(f"{kind} status {what!r}", f"{kind}SharedMemoryStatus", status)
            gone = getattr(pb, f"{kind}SharedMemoryUnregisterRequest")(name=what)
            yield one(f"{kind} unregister {what!r}", f"{kind}SharedMemoryUnregister", gone)
    yield one("statistics of all", "ModelStatistics", pb.ModelStatisticsRequest())
    yield one("log settings", "LogSettings", pb.LogSettingsRequest())
    yield one("trace settings", "TraceSetting", pb.TraceSettingRequest())
    yield one("trace of nope", "TraceSetting", pb.TraceSettingRequest(model_name="nope"))
