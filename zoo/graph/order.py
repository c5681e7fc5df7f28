"""Nodes in an order in which each stands behind what it reads, as ONNX demands of a file.

Right for every graph without a cycle: among nodes that are ready, the order stays as it was.
"""

from __future__ import annotations

import heapq

from onnx import ModelProto

from zoo.errors import CheckFailed
from zoo.graph.view import all_reads


def sort_nodes(model: ModelProto) -> None:
    """Sort the nodes of the outer graph; what nested graphs read counts as read by their node.

    Raises CheckFailed for a graph with a cycle.
    """
    nodes = [type(node).FromString(node.SerializeToString()) for node in model.graph.node]
    makers = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    needs = [{makers[name] for name in all_reads(node) if name in makers} for node in nodes]
    readers: list[list[int]] = [[] for _ in nodes]
    for i, need in enumerate(needs):
        for maker in need:
            readers[maker].append(i)
    ready = [i for i, need in enumerate(needs) if not need]
    order = []
    while ready:
        first = heapq.heappop(ready)
        order.append(first)
        for reader in readers[first]:
            needs[reader].discard(first)
            if not needs[reader]:
                heapq.heappush(ready, reader)
    if len(order) != len(nodes):
        raise CheckFailed("the graph's nodes read each other in a circle")
    del model.graph.node[:]
    model.graph.node.extend(nodes[i] for i in order)
