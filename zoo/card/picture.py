"""Draws a model as SVG: one box a layer, with its input and output shape.

Drawn from described layers (zoo/recipes/architecture.py) with no system package: Keras's own model_to_dot
needs the Graphviz binary to become an SVG. Where a model branches, zoo/card/layout.py places the boxes.
Colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from zoo.card.layout import Layout, Point, arrange
from zoo.recipes.architecture import Layer, call_text, shape_text

FONT = 13
#: A generous width of one monospaced character, so that text never leaves its box in any viewer.
CHARACTER = FONT * 0.62
PADDING = 12
ROW = 24
GAP = 30
MARGIN = 12
LABEL = len("output:") * CHARACTER + 1.5 * PADDING

#: Kinds of layers that share a colour: the class of style, light and dark.
COLOURS: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "input": (("InputLayer",), "#e8eaed", "#2b2f36"),
    "scale": (("Normalization", "Rescaling", "BatchNormalization"), "#f3e8fd", "#37294a"),
    "conv": (("Conv2D",), "#d2e3fc", "#1c3557"),
    "pool": (("MaxPooling2D", "GlobalAveragePooling2D"), "#ceead6", "#1d3f2a"),
    "shape": (("Flatten", "Concatenate"), "#fef7e0", "#403817"),
    "dense": (("Dense",), "#fce8e6", "#4a2725"),
    "recurrent": (("LSTM", "GRU", "LSTMCell", "GRUCell", "Bidirectional"), "#fde7d4", "#4a2f1a"),
    "other": ((), "#f1f3f4", "#2b2f36"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """One layer's texts, and the widths of its left and right part."""

    layer: Layer
    kind: str
    shapes: tuple[str, str]
    left: float
    right: float

    @property
    def width(self) -> float:
        return self.left + self.right


def draw(name: str, layers: Sequence[Layer]) -> str:
    """Return the model as an SVG document, inputs on top."""
    boxes = _boxes(layers)
    layout = arrange(
        {key: box.width for key, box in boxes.items()},
        {layer.name: layer.sources for layer in layers},
        GAP,
    )
    width = layout.width + 2 * MARGIN
    height = _top(max(point.row for point in layout.nodes.values())) + 2 * ROW + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label={quoteattr(name)} '
        'font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" '
        f'font-size="{FONT}">',
        f"<title>{escape(name)}: {len(layers)} layers</title>",
        _style(),
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path class="head" d="M0,0 L8,4 L0,8 z"/></marker></defs>',
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
        *_arrows(layout),
    ]
    for key, box in boxes.items():
        parts += _drawn(box, layout.nodes[key])
    return "\n".join([*parts, "</svg>", ""])


def _style() -> str:
    light = "".join(f".{key}{{fill:{colour}}}" for key, (_, colour, _) in COLOURS.items())
    dark = "".join(f".{key}{{fill:{colour}}}" for key, (_, _, colour) in COLOURS.items())
    return (
        f"<style>{light}.page{{fill:#ffffff}}text{{fill:#1b1c1e}}.edge{{stroke:#5f6368;fill:none}}"
        f".head{{fill:#5f6368}}@media (prefers-color-scheme:dark){{{dark}.page{{fill:#101114}}"
        "text{fill:#eceef2}.edge{stroke:#9aa0a6}.head{fill:#9aa0a6}}</style>"
    )


def _boxes(layers: Sequence[Layer]) -> dict[str, _Box]:
    """Return the boxes; those of a plain stack are all as wide as the widest."""
    boxes = {layer.name: _box(layer) for layer in layers}
    fed = [source for layer in layers for source in layer.sources]
    if any(len(layer.sources) > 1 for layer in layers) or len(fed) != len(set(fed)):
        return boxes
    left = max(box.left for box in boxes.values())
    right = max(box.right for box in boxes.values())
    return {
        key: _Box(layer=box.layer, kind=box.kind, shapes=box.shapes, left=left, right=right)
        for key, box in boxes.items()
    }


def _box(layer: Layer) -> _Box:
    """Return what a layer is, its input shapes and its output shape, and the room they take."""
    kind = layer.type if layer.type == "InputLayer" else call_text(layer)
    shapes = ", ".join(map(shape_text, layer.input_shapes)), shape_text(layer.output_shape)
    return _Box(
        layer=layer,
        kind=kind,
        shapes=shapes,
        left=max(len(layer.name), len(kind)) * CHARACTER + 2 * PADDING,
        right=LABEL + max(map(len, shapes)) * CHARACTER + PADDING,
    )


def _top(row: int) -> float:
    return MARGIN + row * (2 * ROW + GAP)


def _arrows(layout: Layout) -> list[str]:
    """Return a curve for each edge; it passes a row that it has no box in as a straight line."""
    parts = []
    for edge in layout.edges:
        first, *others = edge
        path = f"M{MARGIN + first.x:.1f},{_top(first.row) + 2 * ROW:.0f}"
        for point in others:
            above, below = _top(point.row - 1) + 2 * ROW, _top(point.row)
            end = below - 2 if point is edge[-1] else below
            middle = (above + end) / 2
            before = MARGIN + edge[edge.index(point) - 1].x
            at = MARGIN + point.x
            path += f" C{before:.1f},{middle:.0f} {at:.1f},{middle:.0f} {at:.1f},{end:.0f}"
            if point is not edge[-1]:
                path += f" V{below + 2 * ROW:.0f}"
        parts.append(f'<path class="edge" d="{path}" stroke-width="1.3" marker-end="url(#arrow)"/>')
    return parts


def _drawn(box: _Box, at: Point) -> list[str]:
    """Return one layer's box: its name and call on the left, its shapes on the right."""
    kind = next((key for key, (types, *_) in COLOURS.items() if box.layer.type in types), "other")
    x, top = MARGIN + at.x - box.width / 2, _top(at.row)
    middle, split = top + ROW, x + box.left

    def text(across: float, row: float, content: str, style: str = "") -> str:
        baseline = row + ROW / 2 + FONT * 0.36
        return f'<text x="{across:.1f}" y="{baseline:.1f}"{style}>{escape(content)}</text>'

    return [
        f'<rect class="{kind}" x="{x:.1f}" y="{top:.0f}" width="{box.width:.1f}" '
        f'height="{2 * ROW}" rx="4"/>',
        f'<path class="edge" d="M{split:.1f},{top:.0f} v{2 * ROW} M{split:.1f},{middle:.0f} '
        f'h{box.right:.1f}" stroke-opacity="0.5"/>',
        f'<rect class="edge" x="{x:.1f}" y="{top:.0f}" width="{box.width:.1f}" '
        f'height="{2 * ROW}" rx="4"/>',
        text(x + PADDING, top, box.layer.name, ' font-weight="bold"'),
        text(x + PADDING, middle, box.kind),
        text(split + PADDING, top, "input:"),
        text(split + LABEL, top, box.shapes[0]),
        text(split + PADDING, middle, "output:"),
        text(split + LABEL, middle, box.shapes[1]),
    ]
