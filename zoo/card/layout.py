"""Places the boxes of a directed graph in rows, and its edges between them, by Graphviz's `dot`.

Its rows are such that edges are short (an input stands just above what it feeds, an output just below
what gives it), they cross seldom, and none passes behind a box. pygraphviz's wheel brings Graphviz along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from zoo.errors import MissingPackage

#: Graphviz takes sizes in inches, and gives places in points.
POINTS = 72

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Layout:
    """The middle of each box by name; each edge as the points of a Bézier curve; width and height."""

    boxes: Mapping[str, Place]
    edges: Sequence[Sequence[Place]]
    size: Place


def arrange(
    sizes: Mapping[str, Place], edges: Iterable[tuple[str, str]], gaps: tuple[float, float]
) -> Layout:
    """Lay a graph out: width and height of its boxes by name, its edges, downwards, from box to box.

    `gaps`: the least between neighbours in a row, and between rows. Raises MissingPackage without
    pygraphviz.
    """
    try:
        from pygraphviz import AGraph
    except ModuleNotFoundError as error:
        raise MissingPackage("pygraphviz", "drawing a model whose layers branch") from error
    across, down = (gap / POINTS for gap in gaps)
    # Boxes are numbered: a name may hold what Graphviz would read as more than a name. Without
    # labels no font is read, so that the layout follows from the sizes alone.
    graph = AGraph(directed=True, nodesep=across, ranksep=down)
    graph.node_attr.update(shape="box", fixedsize="true", label="")
    graph.edge_attr.update(arrowhead="none")
    numbers = {name: str(number) for number, name in enumerate(sizes)}
    for name, (width, height) in sizes.items():
        graph.add_node(numbers[name], width=width / POINTS, height=height / POINTS)
    for source, target in edges:
        graph.add_edge(numbers[source], numbers[target])
    graph.layout("dot")
    _, _, width, height = map(float, graph.graph_attr["bb"].split(","))

    def places(text: str) -> list[Place]:
        """Read points, which count from the bottom; a long line is broken after a backslash."""
        numbers = text.replace("\\\n", "").replace(",", " ").split()
        return [
            (float(x), height - float(y)) for x, y in zip(numbers[::2], numbers[1::2], strict=True)
        ]

    return Layout(
        boxes={name: places(graph.get_node(at).attr["pos"])[0] for name, at in numbers.items()},
        edges=[places(edge.attr["pos"]) for edge in graph.edges_iter()],
        size=(width, height),
    )
