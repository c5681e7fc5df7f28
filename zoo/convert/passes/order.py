"""One order of nodes for one graph: branches as the outputs need them, depth first.

tf2onnx walks over sets of names, so that the order of independent branches depends on Python's hash
seed: the same model would make other bytes in another process. Right for every graph: what a node
reads, in graphs nested in it too, comes before it.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx import GraphProto, NodeProto

from zoo.convert.passes.view import nested_graphs, reads_of


def order_nodes(graph: GraphProto) -> None:
    """Sort a graph's own nodes; those that no output needs come last, as they were."""
    makers = {name: at for at, node in enumerate(graph.node) for name in node.output if name}
    order: dict[int, None] = {}
    for name in (value.name for value in graph.output):
        if name in makers:
            _visit(graph, makers, makers[name], order)
    copies = GraphProto()
    copies.node.extend(graph.node[at] for at in order)
    copies.node.extend(node for at, node in enumerate(graph.node) if at not in order)
    del graph.node[:]
    graph.node.extend(copies.node)


def _visit(graph: GraphProto, makers: dict[str, int], start: int, order: dict[int, None]) -> None:
    """Append a node after all that it needs; without recursion, since networks are deep."""
    if start in order:
        return
    waiting = [(start, _reads(graph.node[start]))]
    entered = {start}
    while waiting:
        at, names = waiting[-1]
        for name in names:
            needed = makers.get(name)
            if needed is not None and needed not in order and needed not in entered:
                entered.add(needed)
                waiting.append((needed, _reads(graph.node[needed])))
                break
        else:
            order[at] = None
            waiting.pop()


def _reads(node: NodeProto) -> Iterator[str]:
    """Yield what a node reads: its inputs, then what nested graphs take from around them."""
    yield from node.input
    for nested in nested_graphs(node):
        yield from reads_of(nested)
