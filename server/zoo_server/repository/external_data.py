"""Checks the files beside an ONNX file that hold its weights, before a runtime opens them.

A model names them, and offset and length in them. Who writes a model must not choose which other files
of this machine are read, and a file that is cut off is better refused by its name.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from google.protobuf.message import DecodeError

from zoo_proto import onnx_graph_pb2 as pb
from zoo_server.errors import ModelLoadError
from zoo_server.repository.confinement import Confinement
from zoo_server.repository.graph_bytes import without_weights

#: No limit: such files are not read into memory by us.
_ANY_SIZE = 2**63 - 1

#: Of a name that is shown.
_MOST_CHARACTERS = 80

_BESIDE = "external data must lie beside the model"


def check_external_data(confinement: Confinement, path: Path) -> int:
    """Return the size of the files of weights that a model names; ModelLoadError says why one cannot be read.

    What is no ONNX model is left for the runtime to refuse. OSError if it cannot be read.
    """
    try:
        graph = pb.ModelProto.FromString(without_weights(path)).graph
    except (DecodeError, ValueError):
        return 0
    total = 0
    model = f"{path.parent.name}/{path.name}"
    for location, least in _references(graph).items():
        what = f"the external data {location[:_MOST_CHARACTERS]!r} of {model}"
        if PurePosixPath(location).is_absolute():  # a path of some machine, which no message shows
            raise ModelLoadError(f"{model} reads weights by an absolute path: {_BESIDE}")
        if ".." in PurePosixPath(location).parts:
            raise ModelLoadError(f"{what} leads out of the model's folder: {_BESIDE}")
        size = confinement.check(path.parent / location, what, _ANY_SIZE)
        if size < least:
            raise ModelLoadError(
                f"{what} has {size} bytes where the model reads {least}: copy it again, it belongs to "
                "another model or was cut off"
            )
        total += size
    return total


def _references(graph: pb.GraphProto) -> dict[str, int]:
    """Return the files that a graph reads weights from, and up to where it reads each."""
    needed: dict[str, int] = {}
    for tensor in _tensors(graph):
        place = {entry.key: entry.value for entry in tensor.external_data}
        if "location" in place:
            end = _number(place.get("offset")) + _number(place.get("length"))
            needed[place["location"]] = max(end, needed.get(place["location"], 0))
    return needed


def _tensors(graph: pb.GraphProto) -> Iterator[pb.TensorProto]:
    """Yield the weights of a graph and of the graphs nested in it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
