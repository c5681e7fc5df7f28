"""Draws a model as SVG: one box a layer, with its input and output shape.

Drawn from described layers (zoo/recipes/architecture.py): a stack as the tutorial draws it, boxes of one
width below each other; where a model branches, as zoo/card/branches.py has it. Colours follow the
reader's light or dark scheme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from zoo.card.branches import branches
from zoo.card.svg import CHARACTER, EDGE, MARGIN, colour, document, text
from zoo.recipes.architecture import Layer, call_text, shape_text

PADDING = 12
ROW = 24
GAP = 30
LABEL = len("output:") * CHARACTER + 1.5 * PADDING


def draw(name: str, layers: Sequence[Layer]) -> str:
    """Return the model as an SVG document, inputs on top.

    Raises MissingPackage for a model whose layers branch where pygraphviz is not installed.
    """
    size, parts = _stack(layers) if is_stack(layers) else branches(layers)
    return document(name, len(layers), size, parts)


def is_stack(layers: Sequence[Layer]) -> bool:
    """Whether each layer feeds the next, and the last alone gives the model's one output."""
    return (
        not layers[0].sources
        and all(layer.sources == (above.name,) for above, layer in pairwise(layers))
        and not any(layer.outputs for layer in layers[:-1])
        and len(layers[-1].outputs) < 2
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """One layer's texts: its name, what it is, the shapes that go in and the one that comes out."""

    name: str
    type: str
    kind: str
    shapes: tuple[str, str]

    @property
    def left(self) -> float:
        """The width of the part that says what the layer is."""
        return max(len(self.name), len(self.kind)) * CHARACTER + 2 * PADDING

    @property
    def right(self) -> float:
        """The width of the part with the shapes."""
        return LABEL + max(map(len, self.shapes)) * CHARACTER + PADDING


def _stack(layers: Sequence[Layer]) -> tuple[tuple[float, float], list[str]]:
    """Return width and height of a stack's picture, and its elements: arrows, then boxes."""
    boxes = [_box(layer) for layer in layers]
    left, right = max(box.left for box in boxes), max(box.right for box in boxes)
    width, height = left + right, _top(len(boxes) - 1) + 2 * ROW + MARGIN
    middle = MARGIN + width / 2
    parts = [_arrow(middle, row) for row in range(len(boxes) - 1)]
    for row, box in enumerate(boxes):
        parts += _box_svg(box, _top(row), left, right)
    return (width + 2 * MARGIN, height), parts


def _box(layer: Layer) -> _Box:
    return _Box(
        name=layer.name,
        type=layer.type,
        kind=layer.type if layer.type == "InputLayer" else call_text(layer),
        shapes=(
            ", ".join(map(shape_text, layer.input_shapes)),
            shape_text(layer.output_shape),
        ),
    )


def _top(row: int) -> float:
    return MARGIN + row * (2 * ROW + GAP)


def _arrow(x: float, row: int) -> str:
    """Return the arrow from a row's box to the next one's."""
    start, end = _top(row) + 2 * ROW, _top(row + 1) - 2
    middle = (start + end) / 2
    return EDGE.format(
        f"M{x:.1f},{start:.0f} C{x:.1f},{middle:.0f} {x:.1f},{middle:.0f} {x:.1f},{end:.0f}"
    )


def _box_svg(box: _Box, top: float, left: float, right: float) -> list[str]:
    """Return one layer's box: its name and call on the left, its shapes on the right."""
    x, middle, split = MARGIN, top + ROW, MARGIN + left
    frame = f'x="{x:.1f}" y="{top:.0f}" width="{left + right:.1f}" height="{2 * ROW}" rx="4"'
    upper, lower = top + ROW / 2, middle + ROW / 2
    return [
        f'<rect class="{colour(box.type)}" {frame}/>',
        f'<path class="edge" d="M{split:.1f},{top:.0f} v{2 * ROW} M{split:.1f},{middle:.0f} '
        f'h{right:.1f}" stroke-opacity="0.5"/>',
        f'<rect class="edge" {frame}/>',
        text(x + PADDING, upper, box.name, ' font-weight="bold"'),
        text(x + PADDING, lower, box.kind),
        text(split + PADDING, upper, "input:"),
        text(split + LABEL, upper, box.shapes[0]),
        text(split + PADDING, lower, "output:"),
        text(split + LABEL, lower, box.shapes[1]),
    ]
