"""Finds and checks the files beside an ONNX file that hold its weights, which ONNX calls external data.

A model names them, and offset and length in them. Who writes a model must not choose which other files
of this machine are read, and a file that is cut off is better refused by its name, before a runtime opens it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from zoo_server.errors import ModelLoadError
from zoo_server.repository.confinement import Confinement
from zoo_server.repository.graph_bytes import read_model

#: No limit: such files are not read into memory by us.
_ANY_SIZE = 2**63 - 1

#: Of a name that is shown.
_MOST_CHARACTERS = 80

_BESIDE = "external data must lie beside the model"


def check_external_data(confinement: Confinement, path: Path) -> int:
    """Return the size of the files of weights that a model names; ModelLoadError says why one cannot be read.

    What is no ONNX model is left for the runtime to refuse. OSError if it cannot be read.
    """
    parsed = read_model(path)
    if parsed is None:
        return 0
    total = 0
    model = f"{path.parent.name}/{path.name}"
    for location, least in external_references(parsed).items():
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


def external_references(model: Any) -> dict[str, int]:
    """Return the files that a ModelProto reads weights from, as it names them, and up to where it reads each.

    The message is `zoo_proto.onnx_graph_pb2`'s or onnx's.
    """
    needed: dict[str, int] = {}
    for tensor in _tensors(model):
        place = {entry.key: entry.value for entry in tensor.external_data}
        if "location" in place:
            end = _number(place.get("offset")) + _number(place.get("length"))
            needed[place["location"]] = max(end, needed.get(place["location"], 0))
    return needed


def _tensors(model: Any) -> Iterator[Any]:
    """Yield the tensors of a model, wherever it may hold one: runtimes read external data of them all."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[Any]) -> Iterator[Any]:
    """Yield the tensors of nodes: their attributes' own, and those of the graphs nested in them."""
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                yield from _graph_tensors(inner)


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
