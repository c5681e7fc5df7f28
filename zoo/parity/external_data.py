"""The files beside an ONNX file that hold its larger weights, which ONNX calls external data."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from zoo.files import sha256
from zoo_server.repository.external_data import external_references
from zoo_server.repository.graph_bytes import without_weights

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto


def read_graph(path: Path) -> GraphProto | None:
    """Return a file's graph without the values of its weights, None for a file that is no ONNX model."""
    model = _read_model(path)
    return None if model is None else model.graph


def _read_model(path: Path) -> ModelProto | None:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.ModelProto.FromString(without_weights(path))
    except (DecodeError, OSError, ValueError):
        return None  # the runtimes will say what they think of it


def external_files(path: Path) -> list[str]:
    """Return the files that hold a model's weights, relative to its folder; none if it is unreadable.

    Those that lead out of the folder, or are not there, are none of the model's.
    """
    model = _read_model(path)
    named = external_references(model) if model is not None else ()
    return sorted(name for name in named if _is_below(name) and (path.parent / name).is_file())


def _is_below(name: str) -> bool:
    place = PurePosixPath(name)
    return not place.is_absolute() and ".." not in place.parts


def bytes_on_disk(path: Path) -> int:
    """Return the size of a model's file and its external data, 0 for one that is not there."""
    files = [path, *(path.parent / name for name in external_files(path))]
    return sum(file.stat().st_size for file in files if file.is_file())


def checksum(path: Path) -> str:
    """Return a file's SHA-256, joined with those of its external data if it has some."""
    files = [path, *(path.parent / name for name in external_files(path))]
    return "+".join(sha256(file) for file in files)
