"""The files beside an ONNX file that hold its larger weights, which ONNX calls external data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zoo.files import sha256
from zoo_server.repository.graph_bytes import without_weights

if TYPE_CHECKING:
    from onnx import GraphProto


def read_graph(path: Path) -> GraphProto | None:
    """Return a file's graph without the values of its weights, None for a file that is no ONNX model."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.ModelProto.FromString(without_weights(path)).graph
    except (DecodeError, OSError, ValueError):
        return None  # the runtimes will say what they think of it


def external_files(path: Path, graph: GraphProto | None = None) -> list[str]:
    """Return the names of the files beside a model that hold its weights; none if it is unreadable.

    `graph` is what `read_graph` gave for it.
    """
    graph = graph or read_graph(path)
    if graph is None:
        return []
    named = {
        entry.value
        for tensor in graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sorted(n for n in named if Path(n).name == n and (path.parent / n).is_file())


def bytes_on_disk(path: Path, graph: GraphProto | None = None) -> int:
    """Return the size of a model's file and its external data, 0 for one that is not there."""
    files = [path, *(path.parent / name for name in external_files(path, graph))]
    return sum(file.stat().st_size for file in files if file.is_file())


def checksum(path: Path) -> str:
    """Return a file's SHA-256, joined with those of its external data if it has some."""
    files = [path, *(path.parent / name for name in external_files(path))]
    return "+".join(sha256(file) for file in files)
