"""Places the boxes of a directed graph in rows, and its edges between them, after Sugiyama and others.

rank       each node one row below the lowest of those that feed it; inputs next to what they feed
bends      an edge over several rows bends at a point of its own in each row between
order      nodes of a row stand near what they are joined with, so that edges seldom cross
place      middles are moved to those of their neighbours, as far as the row has room
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

#: Sweeps over the rows, down and up in turn; the last one, down, keeps towers straight.
SWEEPS = 9

#: The width that an edge takes in a row that it passes.
BEND = 8.0


@dataclass(slots=True, eq=False)
class Point:
    """A node, or a bend of an edge: its middle is `x`, its row counts from the top."""

    name: str
    width: float
    row: int
    x: float = 0.0
    above: list[Point] = field(default_factory=list)
    below: list[Point] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Layout:
    """Nodes by name; each edge as the points it passes, both ends included; the whole width."""

    nodes: Mapping[str, Point]
    edges: Sequence[Sequence[Point]]
    width: float


def arrange(
    widths: Mapping[str, float], sources: Mapping[str, Sequence[str]], gap: float
) -> Layout:
    """Lay a graph out: `widths` of the nodes, each after its `sources`; `gap` between neighbours."""
    rows = _ranks(sources)
    nodes = {name: Point(name, widths[name], rows[name]) for name in sources}
    levels: list[list[Point]] = [[] for _ in range(max(rows.values()) + 1)]
    for node in nodes.values():
        levels[node.row].append(node)
    edges = [
        _edge(nodes[source], nodes[name], levels)
        for name, feeding in sources.items()
        for source in feeding
        if source in nodes
    ]
    _order(levels)
    _place(levels, gap)
    left = min(point.x - point.width / 2 for level in levels for point in level)
    for level in levels:
        for point in level:
            point.x -= left
    width = max(point.x + point.width / 2 for level in levels for point in level)
    return Layout(nodes, edges, width)


def _ranks(sources: Mapping[str, Sequence[str]]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for name, feeding in sources.items():
        rows[name] = max((rows[source] + 1 for source in feeding if source in rows), default=0)
    for name, feeding in sources.items():
        fed = [rows[other] for other, others in sources.items() if name in others]
        if fed and not any(source in rows for source in feeding):
            rows[name] = min(fed) - 1
    return rows


def _edge(source: Point, target: Point, levels: list[list[Point]]) -> list[Point]:
    """Join two nodes by way of a bend in each row between."""
    path = [source]
    for row in range(source.row + 1, target.row):
        bend = Point("", BEND, row)
        levels[row].append(bend)
        path.append(bend)
    path.append(target)
    for upper, lower in pairwise(path):
        upper.below.append(lower)
        lower.above.append(upper)
    return path


def _order(levels: list[list[Point]]) -> None:
    """Sort each row by the mean place of its neighbours in the row before."""
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for level in levels if down else reversed(levels):
            for row in levels:
                for place, point in enumerate(row):
                    point.x = place
            level.sort(
                key=lambda point: fmean(
                    [each.x for each in (point.above if down else point.below)] or [point.x]
                )
            )


def _place(levels: list[list[Point]], gap: float) -> None:
    """Move each middle towards its neighbours', and keep the order and the gaps of a row."""
    for level in levels:
        at = 0.0
        for point in level:
            point.x = at + point.width / 2
            at += point.width + gap
    middle = max(level[-1].x for level in levels) / 2
    for level in levels:
        shift = middle - (level[0].x + level[-1].x) / 2
        for point in level:
            point.x += shift
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for level in levels if down else reversed(levels):
            wanted = [fmean([e.x for e in (p.above if down else p.below)] or [p.x]) for p in level]
            _spread(level, wanted, gap)


def _spread(level: Sequence[Point], wanted: Sequence[float], gap: float) -> None:
    """Take the wanted middles where they leave room, the mean of both one-sided solutions else."""

    def needed(left: Point, right: Point) -> float:
        return (left.width + right.width) / 2 + gap

    rightward, leftward = list(wanted), list(wanted)
    for at in range(1, len(level)):
        least = rightward[at - 1] + needed(level[at - 1], level[at])
        rightward[at] = max(rightward[at], least)
    for at in range(len(level) - 2, -1, -1):
        most = leftward[at + 1] - needed(level[at], level[at + 1])
        leftward[at] = min(leftward[at], most)
    for point, right, left in zip(level, rightward, leftward, strict=True):
        point.x = (right + left) / 2
