"""Adds nodes to tf2onnx's graph, for the handlers."""

from __future__ import annotations

from typing import Any

import numpy as np


def replace(
    graph: Any, node: Any, kind: str, inputs: Any, attributes: Any = None, domain: str = ""
) -> Any:
    """Put one node of another kind in a node's place, its outputs' names, shapes and types kept."""
    outputs, name = list(node.output), node.name
    shapes = [graph.get_shape(output) for output in outputs]
    dtypes = [graph.get_dtype(output) for output in outputs]
    inputs = list(inputs)
    graph.remove_node(name)
    return graph.make_node(
        kind,
        inputs,
        attr=attributes or {},
        outputs=outputs,
        name=name,
        shapes=shapes,
        dtypes=dtypes,
        domain=domain,
        infer_shape_dtype=False,
    )


def constant(graph: Any, node: Any, stem: str, array: Any) -> str:
    """Add a constant that belongs to a node, and return its name."""
    const = graph.make_const(f"{node.name}/{stem}", np.asarray(array))
    return str(const.output[0])


def make(
    graph: Any, kind: str, inputs: list[str], shape: Any, dtype: int, **attributes: Any
) -> str:
    """Add a node of one output and return the output's name."""
    node = graph.make_node(
        kind, inputs, attr=attributes, shapes=[shape], dtypes=[dtype], infer_shape_dtype=False
    )
    return str(node.output[0])
