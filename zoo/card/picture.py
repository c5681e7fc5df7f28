"""Draws a model as SVG: one box a layer, with its input and output shape.

Drawn from described layers (zoo/recipes/architecture.py) with no system package: Keras's own model_to_dot
needs the Graphviz binary to become an SVG. Layers stand below those that feed them, side by side
where a model branches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from zoo.recipes.architecture import Layer, call_text, shape_text

FONT = 13
#: A generous width of one monospaced character, so that text never leaves its box in any viewer.
CHARACTER = FONT * 0.62
PADDING = 12
ROW = 24
GAP = 30
MARGIN = 12
LABEL = len("output:") * CHARACTER + 1.5 * PADDING

COLOURS = {
    "InputLayer": "#e8eaed",
    "Normalization": "#f3e8fd",
    "Rescaling": "#f3e8fd",
    "BatchNormalization": "#f3e8fd",
    "Conv2D": "#d2e3fc",
    "MaxPooling2D": "#ceead6",
    "GlobalAveragePooling2D": "#ceead6",
    "Flatten": "#fef7e0",
    "Concatenate": "#fef7e0",
    "Dense": "#fce8e6",
    "LSTM": "#fde7d4",
    "GRU": "#fde7d4",
    "Bidirectional": "#fde7d4",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """One layer's texts, and where its box stands."""

    layer: Layer
    kind: str
    shapes: tuple[str, str]
    x: float
    y: float
    left: float
    right: float

    @property
    def middle(self) -> float:
        return self.x + (self.left + self.right) / 2


def draw(name: str, layers: Sequence[Layer]) -> str:
    """Return the model as an SVG document, inputs on top."""
    boxes = _placed(layers)
    width = max(box.x + box.left + box.right for box in boxes.values()) + MARGIN
    height = max(box.y for box in boxes.values()) + 2 * ROW + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label={quoteattr(name)} '
        'font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" '
        f'font-size="{FONT}">',
        f"<title>{escape(name)}: {len(layers)} layers</title>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#5f6368"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
    ]
    for box in boxes.values():
        parts += [_arrow(boxes[source], box) for source in box.layer.sources if source in boxes]
    for box in boxes.values():
        parts += _drawn(box)
    return "\n".join([*parts, "</svg>", ""])


def _placed(layers: Sequence[Layer]) -> dict[str, _Box]:
    """Place each layer one row below the lowest of those that feed it, rows centred."""
    depth: dict[str, int] = {}
    rows: defaultdict[int, list[Layer]] = defaultdict(list)
    for layer in layers:
        depth[layer.name] = max((depth[s] + 1 for s in layer.sources if s in depth), default=0)
        rows[depth[layer.name]].append(layer)
    texts = {layer.name: _texts(layer) for layer in layers}
    left = max(len(t) for name, (kind, *_) in texts.items() for t in (name, kind))
    right = max(len(t) for _, *shapes in texts.values() for t in shapes)
    box_left, box_right = left * CHARACTER + 2 * PADDING, LABEL + right * CHARACTER + PADDING
    step = box_left + box_right + GAP
    widest = max(map(len, rows.values()))
    placed = {}
    for row, members in rows.items():
        start = MARGIN + (widest - len(members)) * step / 2
        for position, layer in enumerate(members):
            kind, *shapes = texts[layer.name]
            placed[layer.name] = _Box(
                layer=layer,
                kind=kind,
                shapes=(shapes[0], shapes[1]),
                x=start + position * step,
                y=MARGIN + row * (2 * ROW + GAP),
                left=box_left,
                right=box_right,
            )
    return placed


def _texts(layer: Layer) -> tuple[str, str, str]:
    """Return what a layer is, its input shapes and its output shape."""
    kind = layer.type if layer.type == "InputLayer" else call_text(layer)
    shapes = ", ".join(map(shape_text, layer.input_shapes))
    return kind, shapes, shape_text(layer.output_shape)


def _arrow(source: _Box, target: _Box) -> str:
    return (
        f'<line x1="{source.middle:.1f}" y1="{source.y + 2 * ROW:.0f}" x2="{target.middle:.1f}" '
        f'y2="{target.y - 2:.0f}" stroke="#5f6368" stroke-width="1.3" marker-end="url(#arrow)"/>'
    )


def _drawn(box: _Box) -> list[str]:
    """Return one layer's box: its name and call on the left, its shapes on the right."""
    fill = COLOURS.get(box.layer.type, "#f1f3f4")
    top, middle, split = box.y, box.y + ROW, box.x + box.left
    edge = 'stroke="#5f6368" stroke-width="1"'

    def text(x: float, row: float, content: str, style: str = "") -> str:
        baseline = row + ROW / 2 + FONT * 0.36
        return f'<text x="{x:.1f}" y="{baseline:.1f}"{style}>{escape(content)}</text>'

    return [
        f'<rect x="{box.x:.1f}" y="{top:.0f}" width="{box.left + box.right:.1f}" '
        f'height="{2 * ROW}" rx="4" fill="{fill}" {edge}/>',
        f'<line x1="{split:.1f}" y1="{top:.0f}" x2="{split:.1f}" y2="{top + 2 * ROW:.0f}" {edge}/>',
        f'<line x1="{split:.1f}" y1="{middle:.0f}" x2="{split + box.right:.1f}" '
        f'y2="{middle:.0f}" {edge}/>',
        text(box.x + PADDING, top, box.layer.name, ' font-weight="bold"'),
        text(box.x + PADDING, middle, box.kind),
        text(split + PADDING, top, "input:"),
        text(split + LABEL, top, box.shapes[0]),
        text(split + PADDING, middle, "output:"),
        text(split + LABEL, middle, box.shapes[1]),
    ]
