"""Adds nodes to tf2onnx's graph, for the handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from tf2onnx.graph import Graph, Node

#: What tf2onnx calls for an operator: its graph, the node, its name, and the handlers' context.
Handler = Callable[["Graph", "Node", str, object], None]


def replace(
    graph: Graph,
    node: Node,
    kind: str,
    inputs: Iterable[str],
    attributes: Mapping[str, object] | None = None,
    domain: str = "",
) -> None:
    """Put one node of another kind in a node's place, its outputs' names, shapes and types kept."""
    outputs, name = list(node.output), node.name
    shapes = [graph.get_shape(output) for output in outputs]
    dtypes = [graph.get_dtype(output) for output in outputs]
    graph.remove_node(name)
    graph.make_node(
        kind,
        list(inputs),
        attr=attributes or {},
        outputs=outputs,
        name=name,
        shapes=shapes,
        dtypes=dtypes,
        domain=domain,
        infer_shape_dtype=False,
    )


def constant(graph: Graph, node: Node, stem: str, array: ArrayLike) -> str:
    """Add a constant that belongs to a node, and return its name."""
    const = graph.make_const(f"{node.name}/{stem}", np.asarray(array))
    return str(const.output[0])


def make(
    graph: Graph,
    kind: str,
    inputs: list[str],
    shape: Sequence[int] | None,
    dtype: int,
    **attributes: object,
) -> str:
    """Add a node of one output and return the output's name."""
    node = graph.make_node(
        kind, inputs, attr=attributes, shapes=[shape], dtypes=[dtype], infer_shape_dtype=False
    )
    return str(node.output[0])
