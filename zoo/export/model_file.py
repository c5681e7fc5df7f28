"""Writes an ONNX model to disk, as one file or with its larger weights in a file beside it.

    write_model(model, path)                   NAME.onnx
    write_model(model, path, external=True)    NAME.onnx, and NAME.onnx.data

Large weights (zoo/convert/passes/large_weights.py) are read one by one, so memory holds one of them at a
time. The same model makes the same bytes, and one file has those that protobuf would give it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import onnx
from onnx import ModelProto, TensorProto, numpy_helper

from zoo.convert.conversion import MAX_BYTES, serialized
from zoo.convert.passes.large_weights import LargeWeights, bytes_of, is_large, without
from zoo.errors import CheckFailed
from zoo.files import sha256
from zoo.parity.variants import Written
from zoo_server.repository.layout import DATA_SUFFIX
from zoo_server.varint import delimited

#: Tensors below stay in the model's file, as onnx has it: runtimes read shapes and the like from there.
EXTERNAL_BYTES = 1024

#: Tensors of a page or more begin on one, so that a runtime can map them into memory.
PAGE = 4096

#: The numbers of protobuf's fields in onnx.proto.
MODEL_GRAPH, GRAPH_INITIALIZER, TENSOR_RAW_DATA = 7, 5, 9

#: What is above any field's number.
MOST_FIELDS = 1 << 29


def write_model(
    model: ModelProto, path: Path, large: LargeWeights | None = None, *, external: bool = False
) -> Written:
    """Write a model; external data too if it is asked for, or if one file cannot hold the weights.

    Raises CheckFailed if what has to be in one file is too large for it, OSError as the disk refuses.
    """
    large = large or LargeWeights()
    if external or size(model) > MAX_BYTES:
        data = path.with_name(path.name + DATA_SUFFIX)
        graph = _external(model, data, large)
        if graph.ByteSize() > MAX_BYTES:
            raise CheckFailed(f"the graph of {path.name} without weights is too large for one file")
        path.write_bytes(serialized(graph))
        whole = path.stat().st_size + data.stat().st_size
        return Written(bytes=whole, sha256=sha256(path), data=data.name)
    if any(map(is_large, model.graph.initializer)):
        with path.open("wb") as stream:
            _write_whole(model, stream, large)
    else:
        path.write_bytes(serialized(model))
    return Written(bytes=path.stat().st_size, sha256=sha256(path))


def size(model: ModelProto) -> int:
    """Return about how many bytes a model takes in one file."""
    large = sum(bytes_of(tensor) for tensor in model.graph.initializer if is_large(tensor))
    return int(model.ByteSize()) + large


def complete(model: ModelProto, large: LargeWeights) -> ModelProto:
    """Return a model with its large weights in it. Raises CheckFailed if one file cannot hold them."""
    if not any(map(is_large, model.graph.initializer)):
        return model
    if size(model) > MAX_BYTES:
        raise CheckFailed(
            f"{size(model) / 1e9:.1f} GB of weights are too many to quantise: leave --quantize out"
        )
    whole = ModelProto()
    whole.CopyFrom(model)
    for tensor in whole.graph.initializer:
        if is_large(tensor):
            tensor.CopyFrom(numpy_helper.from_array(large.read(tensor), tensor.name))
    return whole


def _external(model: ModelProto, data: Path, large: LargeWeights) -> ModelProto:
    """Write the larger weights to `data`, and return the model that reads them from there."""
    copy: ModelProto = without(model, frozenset(["graph"]))
    copy.graph.CopyFrom(without(model.graph, frozenset(["initializer"])))
    with data.open("wb") as stream:
        for tensor in model.graph.initializer:
            values = _values(tensor, large)
            if values is None or len(values) < EXTERNAL_BYTES:
                copy.graph.initializer.append(tensor)
                continue
            if len(values) >= PAGE:
                stream.write(bytes(-stream.tell() % PAGE))
            place = {"location": data.name, "offset": stream.tell(), "length": len(values)}
            stream.write(values)
            outside = copy.graph.initializer.add(
                name=tensor.name,
                dims=tensor.dims,
                data_type=tensor.data_type,
                data_location=TensorProto.EXTERNAL,
            )
            for key, value in place.items():
                outside.external_data.add(key=key, value=str(value))
    return copy


def _values(tensor: TensorProto, large: LargeWeights) -> bytes | memoryview | None:
    """Return a tensor's raw bytes, None for words."""
    if is_large(tensor):
        return large.read(tensor).data.cast("B")
    if tensor.HasField("raw_data"):
        raw: bytes = tensor.raw_data
        return raw
    if tensor.data_type == TensorProto.STRING:
        return None
    packed: bytes = numpy_helper.from_array(numpy_helper.to_array(tensor)).raw_data
    return packed


def _write_whole(model: ModelProto, stream: IO[bytes], large: LargeWeights) -> None:
    """Write the bytes that protobuf would make of the model with all of its weights in it."""
    chunks = list(_graph_chunks(model.graph))
    length = sum(bytes_of(c) if isinstance(c, TensorProto) else len(c) for c in chunks)
    stream.write(_serialized_fields(model, range(MODEL_GRAPH)))
    stream.write(delimited(MODEL_GRAPH, length))
    for chunk in chunks:
        stream.write(large.read(chunk).data.cast("B") if isinstance(chunk, TensorProto) else chunk)
    stream.write(_serialized_fields(model, range(MODEL_GRAPH + 1, MOST_FIELDS)))


def _graph_chunks(graph: onnx.GraphProto) -> Iterator[bytes | TensorProto]:
    """Yield a graph's bytes, and in the place of a large weight's values its tensor."""
    yield _serialized_fields(graph, range(GRAPH_INITIALIZER))
    for tensor in graph.initializer:
        if is_large(tensor):
            plain = without(tensor, frozenset(["data_location", "external_data"]))
            values = bytes_of(tensor)
            head = _serialized_fields(plain, range(TENSOR_RAW_DATA))
            head += delimited(TENSOR_RAW_DATA, values)
            tail = _serialized_fields(plain, range(TENSOR_RAW_DATA + 1, MOST_FIELDS))
            yield delimited(GRAPH_INITIALIZER, len(head) + values + len(tail)) + head
            yield tensor
            yield tail
        else:
            body = tensor.SerializeToString(deterministic=True)
            yield delimited(GRAPH_INITIALIZER, len(body)) + body
    yield _serialized_fields(graph, range(GRAPH_INITIALIZER + 1, MOST_FIELDS))


def _serialized_fields(message: Any, numbers: range) -> bytes:
    others = [field.name for field, _ in message.ListFields() if field.number not in numbers]
    data: bytes = without(message, frozenset(others)).SerializeToString(deterministic=True)
    return data
