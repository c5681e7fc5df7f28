"""Draws each model's picture for the index from the model itself: weights, feature maps, or forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo.card import raster
from zoo.card.raster import image
from zoo.site.evidence import HeldOut

WIDTH, HEIGHT = 320, 160

#: Connections that a picture of a dense model draws: the strongest.
MOST_LINES = 150
MOST_NODES = 16

STYLE = """
.a{fill:none;stroke:#3b5bdb;stroke-width:2}.b{fill:none;stroke:#e8590c;stroke-width:2}
.pos{stroke:#3b5bdb}.neg{stroke:#e8590c}.node{fill:#868e96}.edge{fill:none;stroke:#868e96;stroke-opacity:.45}
.bar{fill:#3b5bdb}.rest{fill:#868e96;fill-opacity:.35}
@media (prefers-color-scheme:dark){.a,.pos{stroke:#91a7ff}.b,.neg{stroke:#ffa94d}.bar{fill:#91a7ff}}
"""


def picture(
    graph: Sequence[Mapping[str, Any]], tensors: Mapping[str, np.ndarray], evidence: HeldOut | None
) -> str:
    """Return a picture of one model; `tensors` is what its taps gave for one row."""
    if any(node["op"] == "Conv" for node in graph):
        return _svg(_maps(graph, tensors))
    if evidence is not None and evidence.recipe.task == "forecast":
        return _svg(_series(evidence.truth, evidence.decisions))
    if any(node["op"] in ("LSTM", "GRU", "Tanh") for node in graph):
        return _svg(_cell(tensors))
    return _svg(_network(graph, tensors))


def _maps(graph: Sequence[Mapping[str, Any]], tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Draw the image, the first maps of each convolution as they answer, and the output."""
    first = next(node for node in graph if node["op"] == "Conv")
    seen = tensors[first["inputs"][0]][0].clip(0, 1)
    shown = seen.transpose(1, 2, 0) if len(seen) == 3 else seen[0]
    parts = [image(12, 36, (88, 88), shown)]
    stages = [
        tensors[node["outputs"][0]][0]
        for node in graph
        if node["op"] in ("Relu", "MaxPool") and tensors[node["outputs"][0]].ndim == 4
    ][:4]
    room = WIDTH - 112 - 28
    step = room / len(stages)
    for place, maps in enumerate(stages):
        strongest = np.argsort(-maps.reshape(len(maps), -1).std(axis=1))[:3]
        size = min(44.0, step - 8)
        for row, channel in enumerate(strongest):
            values = maps[channel].clip(0) / (maps[channel].max() or 1)
            top = 80 + (row - (len(strongest) - 1) / 2) * (size + 4) - size / 2
            parts.append(image(112 + place * step, top, (size, size), values))
    last = tensors[graph[-1]["outputs"][0]][0].ravel()
    if graph[-1]["op"] == "Softmax":
        height = min(14.0, 120 / len(last))
        for row, share in enumerate(last):
            top = 80 + (row - len(last) / 2) * height
            kind = "bar" if row == last.argmax() else "rest"
            parts.append(
                f'<rect class="{kind}" x="286" y="{top + 1:.1f}" width="{2 + 24 * share:.1f}" '
                f'height="{height - 2:.1f}" rx="1"/>'
            )
    return parts


def _series(truth: np.ndarray, forecast: np.ndarray) -> list[str]:
    high = max(float(truth.max()), float(forecast.max())) or 1.0

    def line(values: np.ndarray, kind: str) -> str:
        points = " ".join(
            f"{12 + at * (WIDTH - 24) / (len(values) - 1):.1f},{146 - 130 * float(value) / high:.1f}"
            for at, value in enumerate(values)
        )
        return f'<polyline class="{kind}" points="{points}"/>'

    return [line(truth, "a"), line(forecast, "b")]


def _cell(tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Draw a cell whose state comes back to it: what a model of one step shows."""
    units = min(max((v.shape[-1] for n, v in tensors.items() if "after" in n), default=3), 6)
    parts = [
        f'<circle class="node" cx="{WIDTH / 2 + (unit - (units - 1) / 2) * 34:.0f}" cy="80" r="10"/>'
        for unit in range(units)
    ]
    return [
        '<rect class="edge" x="92" y="52" width="136" height="56" rx="14"/>',
        *parts,
        '<path class="a" d="M16 80H84"/><path class="b" d="M236 80H304"/>',
        '<path class="a" d="M228 62C290 6 30 6 92 62" stroke-dasharray="5 5"/>',
    ]


def _network(graph: Sequence[Mapping[str, Any]], tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Draw units in columns, joined by the strongest weights."""
    weights = [tensors[node["weights"][0]] for node in graph if node["op"] == "Gemm"]
    sizes = [len(weights[0]), *(w.shape[1] for w in weights)]
    columns = [min(size, MOST_NODES) for size in sizes]

    def at(column: int, row: int) -> tuple[float, float]:
        step = min(26.0, 136 / columns[column])
        return (
            36 + column * (WIDTH - 72) / (len(columns) - 1),
            80 + (row - (columns[column] - 1) / 2) * step,
        )

    parts = []
    for column, weight in enumerate(weights):
        shown = weight[: columns[column], : columns[column + 1]]
        strongest = float(np.abs(shown).max()) or 1.0
        order = np.argsort(-np.abs(shown), axis=None)[:MOST_LINES]
        for row, target in zip(*np.unravel_index(order, shown.shape), strict=True):
            share = float(shown[row, target]) / strongest
            (x1, y1), (x2, y2) = at(column, int(row)), at(column + 1, int(target))
            parts.append(
                f'<line class="{"pos" if share > 0 else "neg"}" x1="{x1:.0f}" y1="{y1:.1f}" '
                f'x2="{x2:.0f}" y2="{y2:.1f}" stroke-width="{0.4 + 2.4 * abs(share):.2f}" '
                f'stroke-opacity="{0.15 + 0.75 * abs(share):.2f}"/>'
            )
    for column, size in enumerate(columns):
        for row in range(size):
            x, y = at(column, row)
            radius = min(6.0, 52 / size)
            parts.append(f'<circle class="node" cx="{x:.0f}" cy="{y:.1f}" r="{radius:.1f}"/>')
    return parts


def _svg(parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}"><style>{STYLE}{raster.STYLE}</style>{"".join(parts)}</svg>\n'
    )
