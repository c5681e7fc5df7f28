"""What every picture of a model shares: the font, the colours of kinds of layers, and the SVG document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

FONT = 13
#: A generous width of one monospaced character, so that text never leaves its box in any viewer.
CHARACTER = FONT * 0.62
MARGIN = 12

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

EDGE = '<path class="edge" d="{}" stroke-width="1.3" marker-end="url(#arrow)"/>'


def colour(kind: str) -> str:
    """Return the class of style of a kind of layer."""
    return next((key for key, (types, *_) in COLOURS.items() if kind in types), "other")


def text(x: float, middle: float, content: str, style: str = "") -> str:
    """Return a line of text whose characters' middle is at `middle`."""
    return f'<text x="{x:.1f}" y="{middle + FONT * 0.36:.1f}"{style}>{escape(content)}</text>'


def document(name: str, layers: int, size: tuple[float, float], parts: Sequence[str]) -> str:
    """Return the picture of a model of so many layers; `size` is width and height in pixels."""
    width, height = size
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label={quoteattr(name)} '
        'font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" '
        f'font-size="{FONT}">',
        f"<title>{escape(name)}: {layers} layers</title>",
        _style(),
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path class="head" d="M0,0 L8,4 L0,8 z"/></marker></defs>',
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
        *parts,
        "</svg>",
    ]
    return "\n".join([*lines, ""])


def _style() -> str:
    light = "".join(f".{key}{{fill:{colour}}}" for key, (_, colour, _) in COLOURS.items())
    dark = "".join(f".{key}{{fill:{colour}}}" for key, (_, _, colour) in COLOURS.items())
    return (
        f"<style>{light}.page{{fill:#ffffff}}text{{fill:#1b1c1e}}.edge{{stroke:#5f6368;fill:none}}"
        f".head{{fill:#5f6368}}@media (prefers-color-scheme:dark){{{dark}.page{{fill:#101114}}"
        "text{fill:#eceef2}.edge{stroke:#9aa0a6}.head{fill:#9aa0a6}}</style>"
    )
