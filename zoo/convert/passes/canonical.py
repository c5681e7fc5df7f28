"""Makes the bytes of a model reproducible: one order, names by position, nothing volatile or unused.

tf2onnx's names carry process-wide counters (sequential_3/dense_7/..., unk__42 for a size in a loop),
and doc strings the name of the traced function. Right for every graph: renaming is consistent over nested graphs, and only the
names of inputs and outputs, the model's signature, are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from onnx import GraphProto, ModelProto, NodeProto

from zoo.convert.passes.order import order_nodes, order_repeated_outputs
from zoo.convert.passes.view import nested_graphs

Names = dict[str, str]


class _Counter(Counter[str]):
    """Numbers names, and never gives one that an input or output has."""

    def __init__(self, taken: frozenset[str]) -> None:
        super().__init__()
        self.taken = taken


def canonicalize(model: ModelProto, renamed: Mapping[str, str] | None = None) -> None:
    """Order nodes, rename values and nodes by position; drop doc strings, unused operator sets.

    Inputs and outputs keep their names, or get those that `renamed` has for them.
    """
    graph = model.graph
    renamed = renamed or {}
    titles = [renamed.get(value.name, value.name) for value in (*graph.input, *graph.output)]
    counter = _Counter(frozenset(titles))
    _order(graph, fixed={value.name for value in graph.input})
    names = dict(zip((v.name for v in (*graph.input, *graph.output)), titles, strict=True))
    _rename(graph, names, counter)
    graph.name = "model"
    graph.doc_string = ""
    model.doc_string = ""
    domains = {node.domain for node in _nodes(graph)} | {""}
    kept = sorted((o for o in model.opset_import if o.domain in domains), key=lambda o: o.domain)
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _order(graph: GraphProto, fixed: Collection[str] = ()) -> None:
    order_repeated_outputs(graph, fixed)
    order_nodes(graph)
    for node in graph.node:
        for nested in nested_graphs(node):
            _order(nested)
    _drop_unused_initializers(graph)


def _rename(graph: GraphProto, outer: Names, counter: _Counter) -> None:
    """Rename within one graph; `outer` holds what is visible from enclosing graphs."""
    names = dict(outer)
    for tensor in graph.initializer:
        names.setdefault(tensor.name, _fresh("weight", counter))
        tensor.name = names[tensor.name]
        tensor.doc_string = ""
    for value in graph.input:
        names.setdefault(value.name, _fresh("inner", counter))
    for node in graph.node:
        title = _fresh(node.op_type, counter)
        for position, output in enumerate(node.output):
            if output and output not in names:
                names[output] = title if position == 0 else f"{title}_{position}"
        node.name = title
        node.ClearField("doc_string")
        if not node.domain:
            node.ClearField("domain")  # set to nothing and unset are other bytes
        node.input[:] = [names[name] if name else "" for name in node.input]
        node.output[:] = [names[name] if name else "" for name in node.output]
        _sort_attributes(node)
        for nested in nested_graphs(node):
            _rename(nested, names, counter)
            _drop_symbols(nested)
            nested.name = title
            nested.doc_string = ""
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
        value.doc_string = ""
    initializers = sorted(graph.initializer, key=lambda tensor: _position(tensor.name))
    del graph.initializer[:]
    graph.initializer.extend(initializers)


def _drop_symbols(graph: GraphProto) -> None:
    """Leave the open sizes of a nested graph without names: tf2onnx's carry counters too."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            dim.ClearField("dim_param")


def _fresh(stem: str, counter: _Counter) -> str:
    name = f"{stem}_{counter[stem]}"
    counter[stem] += 1
    return _fresh(stem, counter) if name in counter.taken else name


def _position(name: str) -> int:
    tail = name.rpartition("_")[2]
    return int(tail) if tail.isdigit() else -1


def _drop_unused_initializers(graph: GraphProto) -> None:
    """Keep the initializers that some node or output reads, in order of first use.

    tf2onnx writes them in an order that depends on its names, and names are not stable.
    """
    order: dict[str, int] = {}
    for node in _nodes(graph):
        for name in node.input:
            order.setdefault(name, len(order))
    for value in graph.output:
        order.setdefault(value.name, len(order))
    used = sorted((t for t in graph.initializer if t.name in order), key=lambda t: order[t.name])
    del graph.initializer[:]
    graph.initializer.extend(used)


def _sort_attributes(node: NodeProto) -> None:
    attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
    del node.attribute[:]
    node.attribute.extend(attributes)


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes of a graph and of the graphs nested in it."""
    for node in graph.node:
        yield node
        for nested in nested_graphs(node):
            yield from _nodes(nested)
