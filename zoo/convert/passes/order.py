"""One order for one graph: of nodes, as the outputs need them, depth first; of repeated outputs.

tf2onnx walks over sets of names, so that the order of independent branches depends on Python's hash
seed: the same model would make other bytes in another process. So does which of two outputs that are
one value gets the value and which an Identity of it, as in a Loop's body whose state is its answer.
Right for every graph: what a node reads, in graphs nested in it too, comes before it, and an Identity
is what it is of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from onnx import GraphProto, NodeProto, ValueInfoProto

from zoo.convert.passes.view import nested_graphs, reads_of


def order_repeated_outputs(graph: GraphProto, fixed: Collection[str] = ()) -> None:
    """Let the first of the outputs that are one value be the value, the others its Identity.

    Their names change places, their types stay: a nested graph's outputs go by position. `fixed`
    are names that must not, the outer graph's inputs.
    """
    identities = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Identity"}
    firsts: dict[str, ValueInfoProto] = {}
    for value in graph.output:
        source = value.name
        while source in identities:
            source = identities[source]
        first = firsts.setdefault(source, value)
        if value.name == source != first.name and source not in fixed:
            first.name, value.name = source, first.name


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
