"""A good request of each kind, from which the cases are made."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf.message import Message

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.datatypes import DataType, serialize_bytes

#: Cases whose answers are compared with the numbers in them.
COUNTED = "statistics/"


VALUES: tuple[tuple[str, Any], ...] = (
    ("bool_param", True), ("int64_param", 3), ("string_param", "3"), ("double_param", 3.0),
    ("uint64_param", 3),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One call; `name` is unique, and its first part tells the family."""

    name: str
    method: str
    #: One message, or those of a stream.
    messages: tuple[Message, ...]
    metadata: tuple[tuple[str, str], ...] = field(default=())


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


def copied(request: Any) -> Any:
    copy = type(request)()
    copy.CopyFrom(request)
    return copy


def pair(names: tuple[str, ...] = ("INPUT0", "INPUT1"), rows: tuple[int, ...] = (1, 1)) -> Any:
    request = pb.ModelInferRequest(model_name="simple", id="pair")
    for number, name in enumerate(names):
        count = rows[number] if number < len(rows) else 1
        request.inputs.add(name=name, datatype="INT32", shape=[count, 4])
        values = np.arange(count * 4, dtype=np.int32) + 10 * number
        request.raw_input_contents.append(values.tobytes())
    return request


def classes(request: Any, count: int) -> Any:
    request.outputs.add(name="y").parameters["classification"].int64_param = count
    return request
