"""An index of a graph for the passes: a value's producer, consumers, shape and constant.

A view is refreshed after every rewrite. Passes edit the outer graph alone, but
what nested graphs (Loop, If) read counts as read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeGuard

import numpy as np
import onnx
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TensorShapeProto,
    numpy_helper,
)

from zoo.convert.passes.large_weights import LargeWeights, is_large

#: Known size, name of an unknown one, or nothing known at all.
Dim = int | str | None
Dims = tuple[Dim, ...]

#: Constants beyond this many elements never decide a shape, and copying them would cost.
SMALL = 1024


class View:
    """An index over a model's outer graph."""

    def __init__(self, model: ModelProto, large: LargeWeights | None = None) -> None:
        """`large` has the weights without values that the graph has, if it has some."""
        self.model = model
        self.large = large or LargeWeights()
        self.shapes = _shapes(model)
        self.refresh()

    def refresh(self) -> None:
        """Index anew after a change; shapes stay, since a value never changes its shape."""
        self.graph = self.model.graph
        self.outputs = {value.name for value in self.graph.output}
        self.inputs = {value.name for value in self.graph.input}
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        self.producers: dict[str, NodeProto] = {}
        self.readers: dict[str, list[NodeProto]] = {}
        self.read_inside: set[str] = set()
        for node in self.graph.node:
            for name in node.output:
                self.producers[name] = node
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
            for nested in nested_graphs(node):
                self.read_inside.update(reads_of(nested))

    def constant(self, name: str) -> np.ndarray | None:
        """Return the value of an initializer or Constant node, None if `name` is neither.

        None also for a large weight, whose values are not there.
        """
        if name in self.initializers:
            if is_large(self.initializers[name]):
                return None
            array: np.ndarray = numpy_helper.to_array(self.initializers[name])
            return array
        node = self.producers.get(name)
        if node is not None and node.op_type == "Constant" and node.attribute[0].name == "value":
            value: np.ndarray = numpy_helper.to_array(node.attribute[0].t)
            return value
        return None

    def weight(self, name: str) -> TensorProto | None:
        """Return the tensor of an initializer or Constant node, None if `name` is neither."""
        if name in self.initializers:
            return self.initializers[name]
        node = self.producers.get(name)
        if node is not None and node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor: TensorProto = node.attribute[0].t
            return tensor
        return None

    def large_weight(self, name: str) -> TensorProto | None:
        """Return the initializer if it is a large weight, whose values are not there."""
        tensor = self.initializers.get(name)
        return tensor if tensor is not None and is_large(tensor) else None

    def add_large(
        self,
        source: TensorProto,
        dims: Sequence[int],
        stem: str,
        change: Callable[[np.ndarray], np.ndarray],
    ) -> str:
        """Add what `change` makes of a large weight, under a fresh name, and return the name."""
        name = self._fresh(stem)
        self.graph.initializer.append(self.large.derive(source, name, dims, change))
        self.initializers[name] = self.graph.initializer[-1]
        self.shapes[name] = tuple(dims)
        return name

    def rank(self, name: str) -> int | None:
        """Return the number of dimensions, None if unknown."""
        shape = self.shapes.get(name)
        return None if shape is None else len(shape)

    def only_reader(self, name: str) -> NodeProto | None:
        """Return the one node that reads a value, None if something else does too."""
        readers = self.readers.get(name, [])
        if len(readers) != 1 or name in self.outputs or name in self.read_inside:
            return None
        return readers[0] if list(readers[0].input).count(name) == 1 else None

    def add_constant(self, array: np.ndarray, stem: str) -> str:
        """Add an initializer under a fresh name and return the name."""
        name = self._fresh(stem)
        tensor = numpy_helper.from_array(np.array(array, order="C"), name)
        self.graph.initializer.append(tensor)
        self.initializers[name] = self.graph.initializer[-1]
        self.shapes[name] = array.shape
        return name

    def _fresh(self, stem: str) -> str:
        name = stem
        number = 0
        while name in self.initializers or name in self.producers or name in self.inputs:
            number += 1
            name = f"{stem}_{number}"
        return name

    def bypass(self, node: NodeProto, source: str) -> bool:
        """Let readers of a node's one output read `source`, and remove the node.

        Not possible, and False, where the output is the graph's and `source` is not the value of
        a node that no other node reads.
        """
        (output,) = node.output
        if output in self.read_inside:
            return False
        if output not in self.outputs:
            for reader in self.readers.get(output, []):
                reader.input[:] = [source if name == output else name for name in reader.input]
        else:
            producer = self.producers.get(source)
            if producer is None or self.only_reader(source) is not node:
                return False
            producer.output[:] = [output if name == source else name for name in producer.output]
        self.graph.node.remove(node)
        return True


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """Return an attribute's value."""
    for item in node.attribute:
        if item.name == name:
            return onnx.helper.get_attribute_value(item)
    return default


def nested_graphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs in a node's attributes."""
    for item in node.attribute:
        if item.type == AttributeProto.GRAPH:
            yield item.g
        yield from item.graphs


def reads_of(graph: GraphProto) -> Iterator[str]:
    """Yield every name that a nested graph reads or gives back."""
    for node in graph.node:
        yield from node.input
        for nested in nested_graphs(node):
            yield from reads_of(nested)
    for value in graph.output:
        yield value.name


def _shapes(model: ModelProto) -> dict[str, Dims]:
    """Run ONNX's shape inference on the graph without its large constants."""
    skeleton = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = model.graph
    skeleton.graph.node.extend(graph.node)
    skeleton.graph.input.extend(graph.input)
    skeleton.graph.output.extend(graph.output)
    skeleton.graph.name = "skeleton"
    shapes: dict[str, Dims] = {}
    for tensor in graph.initializer:
        shapes[tensor.name] = tuple(tensor.dims)
        if int(np.prod(tensor.dims)) <= SMALL:
            skeleton.graph.initializer.append(tensor)
        else:
            skeleton.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    inferred = onnx.shape_inference.infer_shapes(skeleton, data_prop=True).graph
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        tensor_type = value.type.tensor_type
        if tensor_type.HasField("shape") and value.name not in shapes:
            shapes[value.name] = tuple(_dim(dim) for dim in tensor_type.shape.dim)
    return shapes


def _dim(dim: TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return dim.dim_param or None


def known(shape: Sequence[Dim] | None) -> TypeGuard[Sequence[int]]:
    """Whether every dimension is a number."""
    return shape is not None and all(isinstance(dim, int) for dim in shape)
