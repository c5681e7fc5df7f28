"""What is sent to both servers over gRPC, generated: a good request, and each way of spoiling it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf.message import Message
from zoo_proto import grpc_service_pb2 as pb

from server.tensors import DataType, serialize_bytes
from tests.interop.differential.models import KINDS

#: Versions as a caller may write them; 1 is there, 3 only of the model `versions`.
VERSIONS = ("1", "3", "2", "01", "0", "-1", "+1", "1.0", " 1", "1 ", "x", "9" * 19, "9" * 25)
#: Cases whose answers are compared with the numbers in them.
COUNTED = "statistics/"
NAMES = ("", " ", "nope", "IDENTITY_FP32", "identity_fp32 ", "../identity_fp32", "n" * 300, "日本")


@dataclass(frozen=True, slots=True)
class Case:
    """One call; `name` is unique, and its first part tells the family."""

    name: str
    method: str
    #: One message, or those of a stream.
    messages: tuple[Message, ...]
    metadata: tuple[tuple[str, str], ...] = field(default=())


def all_cases() -> list[Case]:
    """Return every case, in the order in which they are to be sent."""
    made = [
        *_datatypes(), *_counts(), *_shapes(), *_names(), *_inputs(), *_outputs(), *_contents(),
        *_parameters(), *_classification(), *_strings(), *_regions(), *_sequences(), *_streams(),
        *_management(), *_fatal(),
    ]  # fmt: skip
    names = [case.name for case in made]
    assert len(set(names)) == len(names), sorted(n for n in names if names.count(n) > 1)
    return made


# -- requests --------------------------------------------------------------------------------------


def elements(kind: DataType, count: int) -> Any:
    """Return some values of a datatype, the ends of its range among them."""
    if kind.wire == "BYTES":
        return [b"", b"a\0b", "übung".encode(), b"0123456789"][:count] * (1 + count // 4)
    if kind.wire == "BOOL":
        return np.arange(count) % 2 == 0
    values = np.arange(count).astype(kind.numpy)
    limits = np.finfo if kind.numpy.kind == "f" else np.iinfo
    values[-1], values[-2] = limits(kind.numpy).max, limits(kind.numpy).min
    return values


def raw_of(kind: DataType, count: int) -> bytes:
    """Return the same as raw contents."""
    values = elements(kind, count)
    if kind.wire == "BYTES":
        return serialize_bytes(values[:count])
    data: bytes = values.tobytes()
    return data


def ask(
    model: str = "identity_fp32",
    shape: tuple[int, ...] = (2, 4),
    kind: str = "FP32",
    raw: bytes | None = None,
    name: str = "x",
    version: str = "",
) -> Any:
    """Return a request with one raw input; by default a good one."""
    request = pb.ModelInferRequest(model_name=model, model_version=version, id="7")
    request.inputs.add(name=name, datatype=kind, shape=shape)
    if raw is None:
        raw = np.arange(int(np.prod(shape)), dtype=np.float32).tobytes()
    request.raw_input_contents.append(raw)
    return request


def infer(name: str, request: Any) -> Case:
    """Return the case of one ModelInfer."""
    return Case(name, "ModelInfer", (request,))


def typed(request: Any, field_name: str, values: Any, index: int = 0) -> Any:
    """Give an input typed contents; the raw ones stay as they are."""
    getattr(request.inputs[index].contents, field_name).extend(values)
    return request


# -- families --------------------------------------------------------------------------------------


def _datatypes() -> Iterator[Case]:
    for kind in KINDS:
        model, wire = f"identity_{kind.wire.lower()}", kind.wire
        raw = raw_of(kind, 8)

        def one(what: str, request: Any, wire: str = wire) -> Case:
            return infer(f"datatype/{wire}/{what}", request)

        yield one("raw", ask(model, (2, 4), wire, raw))
        yield one("one row", ask(model, (1, 4), wire, raw_of(kind, 4)))
        yield one("one byte short", ask(model, (2, 4), wire, raw[:-1]))
        yield one("one byte more", ask(model, (2, 4), wire, raw + b"\0"))
        yield one("no bytes", ask(model, (2, 4), wire, b""))
        other = "INT32" if wire != "INT32" else "FP32"
        yield one("as another datatype", ask(model, (2, 4), other, bytes(32)))
        yield one("batch of 9", ask(model, (9, 4), wire, raw_of(kind, 36)))
        yield one("no batch dimension", ask(model, (4,), wire, raw_of(kind, 4)))
        yield one("5 columns", ask(model, (2, 5), wire, raw_of(kind, 10)))
        if kind.contents is None:
            made = ask(model, (1, 4), wire)
            del made.raw_input_contents[:]
            yield one("typed as FP32", typed(made, "fp32_contents", [1, 2, 3, 4]))
            continue
        for what, count in (("typed", 4), ("typed, too few", 3), ("typed, too many", 5)):
            made = ask(model, (1, 4), wire)
            del made.raw_input_contents[:]
            values = elements(kind, count)
            values = values[:count] if wire == "BYTES" else values.tolist()
            yield one(what, typed(made, kind.contents, values))
        made = ask(model, (1, 4), wire)
        del made.raw_input_contents[:]
        wrong = "fp64_contents" if wire != "FP64" else "int_contents"
        yield one("in another typed field", typed(made, wrong, [1, 2, 3, 4]))
        made = ask(model, (1, 4), wire)
        yield one("typed beside raw", typed(made, kind.contents, elements(kind, 4)[:4]))


def _counts() -> Iterator[Case]:
    """What both have counted of the same requests, while nothing else has been sent."""
    for kind in KINDS:
        model = f"identity_{kind.wire.lower()}"
        request = pb.ModelStatisticsRequest(name=model, version="1")
        yield Case(f"{COUNTED}{model}", "ModelStatistics", (request,))


def _fatal() -> Iterator[Case]:
    """What ends Triton: last, so that what it has counted until then is not lost."""
    for shape in ((1, 2**62), (2, 2**61), (8, 2**60), (0, 0)):
        yield infer(f"shape/no bytes/{list(shape)}", ask("doomed", shape, raw=b""))
    text = next(kind for kind in KINDS if kind.wire == "BYTES")
    request = ask("identity_bytes", (2, 4), "BYTES", raw_of(text, 8))
    yield infer("classification/of BYTES", _classes(request, 2))


def _shapes() -> Iterator[Case]:
    some = bytes(32)
    for shape in (
        (), (0,), (8,), (2, 2, 2), (2, -4), (-2, 4), (-1, 4), (0, 4), (2, 0), (9, 4), (2**31, 4),
        (2**62, 4), (2**63 - 1, 4), (-(2**63), 4), (2, 4, 1), (1, 2, 4), (4, 2),
    ):  # fmt: skip
        yield infer(f"shape/fixed/{list(shape)}", ask(shape=shape, raw=some))
    for shape in (
        (2, 0), (1, 2**31), (1, 2**62), (2, 2**61), (4, 2**62), (8, 2**60), (1, 2**63 - 1),
        (2, -1), (2, -8), (1, 8), (8, 1), (0, 0), (1, 0),
    ):  # fmt: skip
        # Some of them end the process of Triton's model, which then answers nothing any more.
        yield infer(f"shape/variable/{list(shape)}", ask("doomed", shape, raw=some))
    for shape in ((2, 0), (1, 2**31), (1, 2**63 - 1), (2, -1), (2, -8), (1, 8), (1, 0)):
        yield infer(f"shape/no bytes/{list(shape)}", ask("doomed", shape, raw=b""))
    for shape in ((2, 3), (3, 2), (1, 2, 3), (6,), (), (0, 3)):
        yield infer(f"shape/unbatched/{list(shape)}", ask("unbatched", shape, raw=bytes(24)))


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


def _pair(names: tuple[str, ...] = ("INPUT0", "INPUT1"), rows: tuple[int, ...] = (1, 1)) -> Any:
    request = pb.ModelInferRequest(model_name="simple", id="pair")
    for number, name in enumerate(names):
        count = rows[number] if number < len(rows) else 1
        request.inputs.add(name=name, datatype="INT32", shape=[count, 4])
        values = np.arange(count * 4, dtype=np.int32) + 10 * number
        request.raw_input_contents.append(values.tobytes())
    return request


def _inputs() -> Iterator[Case]:
    for names in (
        (), ("INPUT0",), ("INPUT1",), ("INPUT1", "INPUT0"), ("INPUT0", "INPUT0"),
        ("INPUT0", "INPUT1", "INPUT2"), ("INPUT0", "INPUT2"), ("INPUT0", ""), ("x", "y"),
        ("INPUT0", "INPUT1", "INPUT1"), ("input0", "input1"),
    ):  # fmt: skip
        yield infer(f"inputs/{names}", _pair(names))
    for rows in ((1, 2), (2, 1), (0, 0), (8, 8), (9, 9), (8, 9)):
        yield infer(f"inputs/rows {rows}", _pair(rows=rows))
    for kind in ("", "fp32", "FLOAT", "TYPE_FP32", "BF16", "FP8", "FP32 "):
        yield infer(f"inputs/datatype {kind!r}", ask(kind=kind))
    yield infer("inputs/optional left out", ask("optional"))
    both = ask("optional", (1, 4))
    both.inputs.add(name="bias", datatype="FP32", shape=[1, 4])
    both.raw_input_contents.append(np.ones(4, np.float32).tobytes())
    yield infer("inputs/optional given", both)
    yield infer("inputs/optional alone", ask("optional", name="bias"))
    extra = ask("optional", (1, 4))
    extra.inputs.add(name="z", datatype="FP32", shape=[1, 4])
    extra.raw_input_contents.append(bytes(16))
    yield infer("inputs/unknown beside optional", extra)
    yield infer("inputs/an empty message", pb.ModelInferRequest())
    for label, text in (("none", ""), ("long", "i" * 5000), ("unicode", "ключ")):
        request = ask()
        request.id = text
        yield infer(f"inputs/id {label}", request)


def _outputs() -> Iterator[Case]:
    for names in (
        ("OUTPUT0",), ("OUTPUT1", "OUTPUT0"), ("OUTPUT0", "OUTPUT0"), ("nope",), ("",),
        ("OUTPUT0", "nope"), ("INPUT0",), ("OUTPUT0", "OUTPUT1", "OUTPUT0"), ("output0",),
    ):  # fmt: skip
        request = _pair()
        for name in names:
            request.outputs.add(name=name)
        yield infer(f"outputs/{names}", request)


def _contents() -> Iterator[Case]:
    request = _pair()
    del request.raw_input_contents[1]
    yield infer("contents/one raw of two", request)
    yield infer(
        "contents/one raw, one typed", typed(_copy(request), "int_contents", [1, 2, 3, 4], 1)
    )
    request = _pair()
    request.raw_input_contents.append(bytes(16))
    yield infer("contents/three raw for two", request)
    request = _pair()
    del request.raw_input_contents[:]
    yield infer("contents/none", request)
    empty = _copy(request)
    for tensor in empty.inputs:
        tensor.contents.SetInParent()
    yield infer("contents/empty typed", empty)
    good = typed(typed(_copy(request), "int_contents", range(4), 0), "int_contents", range(4), 1)
    yield infer("contents/both typed", good)
    yield infer("contents/two typed fields", typed(_copy(good), "fp32_contents", [1.0], 1))
    for kind, value in (("INT8", 128), ("INT8", -129), ("INT16", 2**15), ("UINT8", 256)):
        request = ask(f"identity_{kind.lower()}", (1, 4), kind)
        del request.raw_input_contents[:]
        field_name = "uint_contents" if kind[0] == "U" else "int_contents"
        yield infer(f"contents/{kind} {value}", typed(request, field_name, [value, 0, 0, 0]))


def _copy(request: Any) -> Any:
    made = type(request)()
    made.CopyFrom(request)
    return made


_VALUES: tuple[tuple[str, Any], ...] = (
    ("bool_param", True), ("int64_param", 3), ("string_param", "3"), ("double_param", 3.0),
    ("uint64_param", 3),
)  # fmt: skip


def _parameters() -> Iterator[Case]:
    keys = (
        "sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "mine", "",
        "triton_enable_empty_final_response", "triton_mine", "binary_data_output", "headers",
        "classification",
    )  # fmt: skip
    for key in keys:
        for field_name, value in _VALUES:
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
        yield infer(f"classification/{count}", _classes(ask("classes"), count))
    yield infer("classification/no labels", _classes(ask(), 2))
    yield infer("classification/equal scores", _classes(ask("classes", raw=bytes(32)), 4))
    strange = np.array([[np.nan, 1, -np.inf, np.inf]] * 2, np.float32)
    yield infer("classification/infinities", _classes(ask("classes", raw=strange.tobytes()), 4))
    yield infer("classification/unbatched", _classes(ask("unbatched", (2, 3)), 3))
    yield infer("classification/zero size", _classes(ask("variable", (2, 0), raw=b""), 1))
    for kind in KINDS:
        if kind.wire == "BYTES":
            continue
        request = ask(f"identity_{kind.wire.lower()}", (2, 4), kind.wire, raw_of(kind, 8))
        yield infer(f"classification/of {kind.wire}", _classes(request, 2))
    for field_name, value in _VALUES:
        request = ask("classes")
        setattr(request.outputs.add(name="y").parameters["classification"], field_name, value)
        yield infer(f"classification/as {field_name}", request)


def _classes(request: Any, count: int) -> Any:
    request.outputs.add(name="y").parameters["classification"].int64_param = count
    return request


def _strings() -> Iterator[Case]:
    four = serialize_bytes([b"a", b"bc", b"", b"d"])
    rows = {
        "good": (four, (1, 4)),
        "three for four": (serialize_bytes([b"a", b"bc", b""]), (1, 4)),
        "five for four": (four + serialize_bytes([b"e"]), (1, 4)),
        "leftover byte": (four + b"\0", (1, 4)),
        "leftover length": (four + b"\5\0\0\0", (1, 4)),
        "length past the end": (four[:-5] + b"\x09\0\0\0d", (1, 4)),
        "length of 4 GiB": (b"\xff\xff\xff\xff", (1, 1)),
        "length of 2 GiB": (b"\0\0\0\x80abc", (1, 1)),
        "cut length": (b"\1\0", (1, 1)),
        "no bytes": (b"", (1, 1)),
        "no elements": (b"", (1, 0)),
        "no elements, some bytes": (four, (1, 0)),
        "not UTF-8": (serialize_bytes([b"\xff\xfe"]), (1, 1)),
        "NUL and unicode": (serialize_bytes([b"\0", "𝄞".encode()]), (1, 2)),
        "100 kB": (serialize_bytes([b"z" * 100_000]), (1, 1)),
        "huge dimension": (four, (1, 2**60)),
    }
    for what, (raw, shape) in rows.items():
        yield infer(f"strings/{what}", ask("strings", shape, "BYTES", raw))


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
    both = _classes(ask(), 1)
    both.outputs[0].parameters[region].string_param = "nope"
    both.outputs[0].parameters[size].int64_param = 32
    yield infer("region/output/with classification", both)


def _step(value: int, sequence: Any, flags: str = "", rows: int = 1) -> Any:
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
        ("no id", _step(1, None, "s")),
        ("id 0", _step(1, 0, "s")),
        ("an empty name", _step(1, "", "s")),
        ("no start", _step(1, 5)),
        ("only end", _step(1, 5, "e")),
        ("start", _step(1, 5, "s")),
        ("next", _step(2, 5)),
        ("start again", _step(3, 5, "s")),
        ("end", _step(4, 5, "e")),
        ("after the end", _step(5, 5)),
        ("start and end at once", _step(6, 6, "se")),
        ("after that", _step(7, 6)),
        ("a name", _step(8, "six", "s")),
        ("the name's next", _step(9, "six", "e")),
        ("negative id", _step(10, -3, "se")),
        ("two rows", _step(11, 7, "s", rows=2)),
        ("a long name", _step(12, "n" * 128, "se")),
        ("a longer name", _step(13, "n" * 129, "se")),
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
    yield case("three", ask(), ask("variable"), _pair())
    yield case("bad between good", ask(), ask(shape=(2, 5)), ask(raw=b""), ask())
    yield case("unknown model", ask("nope"), ask())
    yield case("unknown version", ask(version="9"), ask())
    yield case("version in words", ask(version="x"), ask())
    yield case("empty final answer wanted", wanted)
    yield case("empty final answer not wanted", unwanted)
    yield case("reserved key", _with(ask(), "triton_mine"), ask())
    yield case("an empty message", pb.ModelInferRequest())
    yield case("statuses, good", ask(), ask(), triton_grpc_error="true")
    yield case("statuses, bad", ask(raw=b""), triton_grpc_error="true")
    yield case("statuses, unknown model", ask("nope"), triton_grpc_error="true")
    yield case("statuses off", ask("nope"), triton_grpc_error="false")
    yield case("classification", _classes(ask("classes"), 2))
    steps = [_step(n, 21, "s" if n == 0 else "e" if n == 3 else "") for n in range(4)]
    yield case("a sequence", *steps)
    yield case("a sequence without start", _step(1, 22), _step(2, 22, "se"))
    yield case("strings", ask("strings", (1, 2), "BYTES", serialize_bytes([b"\0", b""])))


def _with(request: Any, key: str) -> Any:
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
