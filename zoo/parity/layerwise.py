"""Runs an ONNX file node by node on Keras's own values: each piece of it is held against Keras alone.

    Keras's inputs -> node, node -> as Keras's layer gives it? go on from Keras's -> node ... -> output

What one piece rounds is not handed on, so that a network which blows rounding up is compared as well as
any other. Every node of the file is run, by onnxruntime without optimizations. Nothing pairs nodes with
layers: a value that is Keras's within the bound, of the same order or with the channels first, is taken
for Keras's, which moves it by rounding at most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.parity.compare import Arrays
from zoo.parity.runtimes import open_session
from zoo_server.repository.graph_bytes import with_weights_in_place

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

#: |delta| <= PIECE * max|Keras| within one tensor. A few layers round by 1e-6 of the largest.
PIECE = 1e-5

#: Numbers looked at before a whole tensor is.
PROBES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Layerwise:
    """The file's outputs, as computed from Keras's values of the last layers before them.

    `matched` of the file's `tensors` were Keras's; `worst` is the largest difference among them, as a
    share of the largest number of a tensor.
    """

    outputs: Arrays
    tensors: int
    matched: int
    worst: float


class KerasValues:
    """What Keras's layers gave, found by value."""

    def __init__(self, values: Sequence[np.ndarray], bound: float = PIECE) -> None:
        self._bound = bound
        self._by_size: dict[int, list[np.ndarray]] = defaultdict(list)
        for value in values:
            self._by_size[value.size].append(value)

    def nearest(self, tensor: np.ndarray) -> tuple[np.ndarray, float] | None:
        """Return Keras's values in the tensor's layout, and how far it is from them; None if too far."""
        best: tuple[np.ndarray, float] | None = None
        if tensor.dtype.kind != "f" or not tensor.size:
            return None
        places = np.linspace(0, tensor.size - 1, PROBES).astype(np.int64)
        probes = tensor.reshape(-1)[places]
        for value in self._by_size[tensor.size]:
            largest = float(np.abs(value).max())
            for layout in _layouts(value, tensor.shape):
                near = np.abs(layout.flat[places] - probes) <= self._bound * largest
                if not near.all():
                    continue
                candidate = layout.reshape(tensor.shape)
                delta = float(np.abs(candidate - tensor).max()) / max(largest, 1e-30)
                if delta <= self._bound and (best is None or delta < best[1]):
                    best = (candidate, delta)
        return best


def _layouts(value: np.ndarray, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Yield the value as it is, and with its channels first where it has some."""
    if value.ndim < 3 or value.shape == shape:
        yield value
    if value.ndim > 2:
        moved = np.moveaxis(value, -1, 1)
        if value.shape != shape or moved.shape == shape:
            yield moved


def run_layerwise(path: Path, feeds: Arrays, layers: Sequence[np.ndarray]) -> Layerwise:
    """Run a file on these feeds, going on from Keras's values wherever it has them."""

    model = _graph(path)
    known = KerasValues(layers)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    left = _uses(model.graph)
    values: dict[str, np.ndarray] = {name: np.asarray(feed) for name, feed in feeds.items()}
    outputs = {value.name for value in model.graph.output}
    tensors, matched, worst = 0, 0, 0.0
    for node in model.graph.node:
        reads = _reads(node)
        inputs = {n: values[n] if n in values else _array(weights[n], path) for n in reads}
        for name, value in _run(node, inputs, model.opset_import, model.ir_version).items():
            values[name] = value
            if name in outputs or value.dtype.kind != "f":
                continue
            tensors += 1
            if (match := known.nearest(value)) is not None:
                values[name], matched, worst = match[0], matched + 1, max(worst, match[1])
        for name in reads:
            left[name] -= 1
            if not left[name] and name not in outputs:
                values.pop(name, None)
    return Layerwise(
        outputs={name: values[name] for name in outputs},
        tensors=tensors,
        matched=matched,
        worst=worst,
    )


def _graph(path: Path) -> ModelProto:
    """Return a file's model, its weights to be read one by one where that can be."""
    import onnx

    try:
        return onnx.ModelProto.FromString(with_weights_in_place(path))
    except ValueError:  # some are not raw bytes
        return onnx.load(path, load_external_data=False)


def _array(tensor: TensorProto, path: Path) -> np.ndarray:
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor, str(path.parent))


def _reads(node: NodeProto) -> list[str]:
    """Return the names of what a node reads, its subgraphs too."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        graphs: list[GraphProto] = [attribute.g, *attribute.graphs]
        for graph in graphs:
            own = {v.name for v in graph.input} | {v.name for v in graph.initializer}
            own |= {name for inner in graph.node for name in inner.output}
            names += [n for inner in graph.node for n in _reads(inner) if n not in own]
            names += [v.name for v in graph.output if v.name not in own]
    return list(dict.fromkeys(names))


def _uses(graph: GraphProto) -> dict[str, int]:
    """Return how many nodes read each value."""
    uses: dict[str, int] = defaultdict(int)
    for node in graph.node:
        for name in _reads(node):
            uses[name] += 1
    return uses


def _run(node: NodeProto, inputs: Arrays, opsets: Any, ir_version: int) -> Arrays:
    """Run one node in onnxruntime."""
    import onnx
    from onnx import helper, numpy_helper

    outputs = [name for name in node.output if name]
    # Whole numbers are shapes, axes and the like, some of which must be constants.
    constants = [n for n, v in inputs.items() if v.dtype.kind in "iu" and v.ndim < 2]
    graph = helper.make_graph(
        [node],
        "node",
        [
            helper.make_tensor_value_info(
                n, helper.np_dtype_to_tensor_dtype(v.dtype), list(v.shape)
            )
            for n, v in inputs.items()
            if n not in constants
        ],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.ascontiguousarray(inputs[n]), n) for n in constants],
    )
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
    session = open_session(model.SerializeToString(), threads=1, optimized=False)
    feeds = {n: np.ascontiguousarray(v) for n, v in inputs.items() if n not in constants}
    return dict(zip(outputs, session.run(outputs, feeds), strict=True))
