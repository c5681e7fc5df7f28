"""The tutorial's picture of a model: each layer a box with its input and output shape, as SVG.

Drawn from described layers (zoo/architecture.py) for linear stacks, with no system package: Keras's
own model_to_dot needs the Graphviz binary to become an SVG.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from zoo.architecture import Layer, call_text, shape_text

FONT = 13
#: A generous width of one monospaced character, so that text never leaves its box in any viewer.
CHARACTER = FONT * 0.62
PADDING = 12
ROW = 24
GAP = 30
MARGIN = 12

COLOURS = {
    "InputLayer": "#e8eaed",
    "Normalization": "#f3e8fd",
    "Rescaling": "#f3e8fd",
    "Conv2D": "#d2e3fc",
    "MaxPooling2D": "#ceead6",
    "Flatten": "#fef7e0",
    "Dense": "#fce8e6",
    "LSTM": "#fde7d4",
}


def draw(name: str, layers: Sequence[Layer]) -> str:
    """Return the stack as an SVG document, first layer on top."""
    boxes = [_texts(layer) for layer in layers]
    left = max(len(text) for box in boxes for text in box[:2]) * CHARACTER + 2 * PADDING
    labels = len("output:") * CHARACTER + PADDING
    right = labels + max(len(text) for box in boxes for text in box[2:]) * CHARACTER + PADDING
    width = left + right + 2 * MARGIN
    step = 2 * ROW + GAP
    height = len(boxes) * step - GAP + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" role="img" aria-label={quoteattr(name)} '
        f'font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" '
        f'font-size="{FONT}">',
        f"<title>{escape(name)}: {len(layers)} layers</title>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#5f6368"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height}" fill="#ffffff"/>',
    ]
    for position, (layer, box) in enumerate(zip(layers, boxes, strict=True)):
        top = MARGIN + position * step
        if position:
            middle = width / 2
            parts.append(
                f'<line x1="{middle:.1f}" y1="{top - GAP}" x2="{middle:.1f}" y2="{top - 2}" '
                'stroke="#5f6368" stroke-width="1.3" marker-end="url(#arrow)"/>'
            )
        parts += _box(layer, box, top, left, right, labels)
    return "\n".join([*parts, "</svg>", ""])


def _texts(layer: Layer) -> tuple[str, str, str, str]:
    """Return the four texts of a box: name, what it is, input shape, output shape."""
    kind = layer.type if layer.type == "InputLayer" else call_text(layer)
    return layer.name, kind, shape_text(layer.input_shape), shape_text(layer.output_shape)


def _box(
    layer: Layer,
    box: tuple[str, str, str, str],
    top: float,
    left: float,
    right: float,
    labels: float,
) -> list[str]:
    """Return one layer's box: its name and call on the left, its two shapes on the right."""
    name, kind, shape_in, shape_out = box
    fill = COLOURS.get(layer.type, "#f1f3f4")
    x, middle, split = MARGIN, top + ROW, MARGIN + left
    edge = 'stroke="#5f6368" stroke-width="1"'

    def text(at: float, row: float, content: str, style: str = "") -> str:
        return f'<text x="{at:.1f}" y="{row + ROW / 2 + FONT * 0.36:.1f}"{style}>{escape(content)}</text>'

    return [
        f'<rect x="{x}" y="{top}" width="{left + right:.1f}" height="{2 * ROW}" rx="4" '
        f'fill="{fill}" {edge}/>',
        f'<line x1="{split:.1f}" y1="{top}" x2="{split:.1f}" y2="{top + 2 * ROW}" {edge}/>',
        f'<line x1="{split:.1f}" y1="{middle}" x2="{split + right:.1f}" y2="{middle}" {edge}/>',
        text(x + PADDING, top, name, ' font-weight="bold"'),
        text(x + PADDING, middle, kind),
        text(split + PADDING, top, "input:"),
        text(split + labels + PADDING / 2, top, shape_in),
        text(split + PADDING, middle, "output:"),
        text(split + labels + PADDING / 2, middle, shape_out),
    ]
