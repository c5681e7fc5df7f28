"""Removes nodes and initializers that are not used. Right for every graph: ONNX operators have no side effects."""

from __future__ import annotations

from onnx import GraphProto, ModelProto

from zoo.convert.passes.view import nested_graphs


def drop_dead(model: ModelProto) -> None:
    """Remove nodes of the outer graph none of whose outputs is read, until none is left."""
    graph = model.graph
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if not needed.intersection(node.output):
            continue
        kept.append(node)
        needed.update(node.input)
        for nested in nested_graphs(node):
            needed.update(_all_reads(nested))
    # Copies: deleting the field frees what it holds.
    nodes = [type(node).FromString(node.SerializeToString()) for node in reversed(kept)]
    del graph.node[:]
    graph.node.extend(nodes)


def _all_reads(graph: GraphProto) -> set[str]:
    names: set[str] = {value.name for value in graph.output}
    for node in graph.node:
        names.update(node.input)
        for nested in nested_graphs(node):
            names |= _all_reads(nested)
    return names
