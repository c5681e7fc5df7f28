"""Draws the layers of a model that branches: narrow boxes, as wide as a phone where there are two or three.

An option stands in a line of its own, then the shapes that go in and the one that comes out. Inputs and
outputs of the model stand next to what they feed and what gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoo.card.layout import Layout, Place, arrange
from zoo.card.svg import CHARACTER, EDGE, MARGIN, colour, text
from zoo.recipes.architecture import Layer, option_texts, shape_text

LINE = 18
PADDING = 9
#: What the rule between a layer's options and its shapes takes.
RULE = 8
#: Between neighbours in a row, and between rows.
GAPS = (18.0, 30.0)

#: A name that no layer of Keras has: an output of the model is drawn as a box of its own.
OUTPUT = "output: {}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """A layer or an output: its name, what it is, and its shapes, a line each."""

    name: str
    kind: str
    what: Sequence[str]
    shapes: Sequence[str]
    radius: int = 4

    @property
    def size(self) -> Place:
        lines = [self.name, *self.what, *self.shapes]
        width = max(map(len, lines)) * CHARACTER + 2 * PADDING
        return width, len(lines) * LINE + RULE + 2 * PADDING


def branches(layers: Sequence[Layer]) -> tuple[Place, list[str]]:
    """Return width and height of the picture, and its elements."""
    boxes = {layer.name: _layer(layer) for layer in layers}
    edges = [(source, layer.name) for layer in layers for source in layer.sources]
    for layer in layers:
        for name, shape in layer.outputs.items():
            boxes[OUTPUT.format(name)] = _Box(
                name=name, kind="input", what=["output"], shapes=[shape_text(shape)], radius=16
            )
            edges.append((layer.name, OUTPUT.format(name)))
    layout = arrange({key: box.size for key, box in boxes.items()}, edges, GAPS)
    parts = _curves(layout)
    for key, box in boxes.items():
        parts += _box_svg(box, layout.boxes[key])
    width, height = layout.size
    return (width + 2 * MARGIN, height + 2 * MARGIN), parts


def _layer(layer: Layer) -> _Box:
    if layer.type == "InputLayer":
        shapes = [shape_text(layer.output_shape)]
        return _Box(name=layer.name, kind="input", what=["input"], shapes=shapes, radius=16)
    return _Box(
        name=layer.name,
        kind=colour(layer.type),
        what=[layer.type, *option_texts(layer.options)],
        shapes=[*map(shape_text, layer.input_shapes), f"→ {shape_text(layer.output_shape)}"],
    )


def _curves(layout: Layout) -> list[str]:
    parts = []
    for points in layout.edges:
        first, *others = (f"{MARGIN + x:.1f},{MARGIN + y:.1f}" for x, y in points)
        parts.append(EDGE.format(f"M{first} C{' '.join(others)}"))
    return parts


def _box_svg(box: _Box, middle: Place) -> list[str]:
    """Return a box with its lines, and a rule between what it is and its shapes."""
    width, height = box.size
    x, top = MARGIN + middle[0] - width / 2, MARGIN + middle[1] - height / 2
    frame = f'x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{box.radius}"'
    description, shapes = [box.name, *box.what], box.shapes
    rule = top + PADDING + len(description) * LINE + RULE / 2
    middles = [top + PADDING + (line + 0.5) * LINE for line in range(len(description))]
    middles += [rule + RULE / 2 + (line + 0.5) * LINE for line in range(len(shapes))]
    styles = [' font-weight="bold"', *[""] * (len(middles) - 1)]
    return [
        f'<rect class="{box.kind}" {frame}/>',
        f'<path class="edge" d="M{x:.1f},{rule:.1f} h{width:.1f}" stroke-opacity="0.5"/>',
        f'<rect class="edge" {frame}/>',
        *map(text, [x + PADDING] * len(middles), middles, [*description, *shapes], styles),
    ]
