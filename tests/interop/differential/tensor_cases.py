"""Requests whose tensors are spoiled: datatype, shape, names, contents, strings."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.interop.differential.models import KINDS
from tests.interop.differential.requests import (
    COUNTED,
    Case,
    ask,
    classes,
    copied,
    elements,
    infer,
    pair,
    raw_of,
    typed,
)
from zoo_proto import grpc_service_pb2 as pb
from zoo_server.datatypes import serialize_bytes


def datatypes() -> Iterator[Case]:
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
            message = ask(model, (1, 4), wire)
            del message.raw_input_contents[:]
            yield one("typed as FP32", typed(message, "fp32_contents", [1, 2, 3, 4]))
            continue
        for what, count in (("typed", 4), ("typed, too few", 3), ("typed, too many", 5)):
            message = ask(model, (1, 4), wire)
            del message.raw_input_contents[:]
            values = elements(kind, count)
            values = values[:count] if wire == "BYTES" else values.tolist()
            yield one(what, typed(message, kind.contents, values))
        message = ask(model, (1, 4), wire)
        del message.raw_input_contents[:]
        wrong = "fp64_contents" if wire != "FP64" else "int_contents"
        yield one("in another typed field", typed(message, wrong, [1, 2, 3, 4]))
        message = ask(model, (1, 4), wire)
        yield one("typed beside raw", typed(message, kind.contents, elements(kind, 4)[:4]))


def counts() -> Iterator[Case]:
    """What both have counted of the same requests, while nothing else has been sent."""
    for kind in KINDS:
        model = f"identity_{kind.wire.lower()}"
        request = pb.ModelStatisticsRequest(name=model, version="1")
        yield Case(f"{COUNTED}{model}", "ModelStatistics", (request,))


def shapes() -> Iterator[Case]:
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


def inputs() -> Iterator[Case]:
    for names in (
        (), ("INPUT0",), ("INPUT1",), ("INPUT1", "INPUT0"), ("INPUT0", "INPUT0"),
        ("INPUT0", "INPUT1", "INPUT2"), ("INPUT0", "INPUT2"), ("INPUT0", ""), ("x", "y"),
        ("INPUT0", "INPUT1", "INPUT1"), ("input0", "input1"),
    ):  # fmt: skip
        yield infer(f"inputs/{names}", pair(names))
    for rows in ((1, 2), (2, 1), (0, 0), (8, 8), (9, 9), (8, 9)):
        yield infer(f"inputs/rows {rows}", pair(rows=rows))
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


def outputs() -> Iterator[Case]:
    for names in (
        ("OUTPUT0",), ("OUTPUT1", "OUTPUT0"), ("OUTPUT0", "OUTPUT0"), ("nope",), ("",),
        ("OUTPUT0", "nope"), ("INPUT0",), ("OUTPUT0", "OUTPUT1", "OUTPUT0"), ("output0",),
    ):  # fmt: skip
        request = pair()
        for name in names:
            request.outputs.add(name=name)
        yield infer(f"outputs/{names}", request)


def contents() -> Iterator[Case]:
    request = pair()
    del request.raw_input_contents[1]
    yield infer("contents/one raw of two", request)
    yield infer(
        "contents/one raw, one typed", typed(copied(request), "int_contents", [1, 2, 3, 4], 1)
    )
    request = pair()
    request.raw_input_contents.append(bytes(16))
    yield infer("contents/three raw for two", request)
    request = pair()
    del request.raw_input_contents[:]
    yield infer("contents/none", request)
    empty = copied(request)
    for tensor in empty.inputs:
        tensor.contents.SetInParent()
    yield infer("contents/empty typed", empty)
    good = typed(typed(copied(request), "int_contents", range(4), 0), "int_contents", range(4), 1)
    yield infer("contents/both typed", good)
    yield infer("contents/two typed fields", typed(copied(good), "fp32_contents", [1.0], 1))
    for kind, value in (("INT8", 128), ("INT8", -129), ("INT16", 2**15), ("UINT8", 256)):
        request = ask(f"identity_{kind.lower()}", (1, 4), kind)
        del request.raw_input_contents[:]
        field_name = "uint_contents" if kind[0] == "U" else "int_contents"
        yield infer(f"contents/{kind} {value}", typed(request, field_name, [value, 0, 0, 0]))


def strings() -> Iterator[Case]:
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


def fatal() -> Iterator[Case]:
    """What ends Triton: last, so that what it has counted until then is not lost."""
    for shape in ((1, 2**62), (2, 2**61), (8, 2**60), (0, 0)):
        yield infer(f"shape/no bytes/{list(shape)}", ask("doomed", shape, raw=b""))
    text = next(kind for kind in KINDS if kind.wire == "BYTES")
    request = ask("identity_bytes", (2, 4), "BYTES", raw_of(text, 8))
    yield infer("classification/of BYTES", classes(request, 2))
