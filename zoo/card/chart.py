"""A chart as SVG: its axes, and the element for a page or the file that stands for itself.

A page has a style sheet of its own. A file brings colours for a light and a dark scheme along, and names
its lines; its bytes follow from the figures alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from zoo.card import raster

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 28, 44

#: What a row with the names of the lines takes.
LEGEND = 28

#: The colours of web/assets/style.css, light and dark.
LIGHT: Mapping[str, str] = {
    "page": "#ffffff",
    "soft": "#5b5e66",
    "text": "#1b1c1e",
    "line": "#e4e4df",
    "well": "#f1f1ee",
    "blue": "#3b5bdb",
    "orange": "#c2410c",
    "green": "#1b7a3d",
    "on_blue": "#ffffff",
}
DARK: Mapping[str, str] = {
    "page": "#101114",
    "soft": "#a9afba",
    "text": "#eceef2",
    "line": "#2e323b",
    "well": "#1f2229",
    "blue": "#91a7ff",
    "orange": "#ffa94d",
    "green": "#69db7c",
    "on_blue": "#0b1026",
}

COLOURS = (
    "text{{fill:{soft}}}.page{{fill:{page}}}.count,.name{{fill:{text}}}.count.strong{{fill:{on_blue}}}"
    ".grid{{stroke:{line}}}.series{{stroke:{text}}}.mark{{stroke:{soft}}}.cell{{fill:{well}}}.series-a{{stroke:{blue}}}"
    ".series-b{{stroke:{orange}}}.series-c{{stroke:{green}}}.dot,.right{{fill:{blue}}}"
    ".wrong,.name.misread{{fill:{orange}}}"
)

#: A phone shows a wide chart at half its size, and its letters have to be read.
NARROW, ON_NARROW = 440, "@media (max-width:440px){.tick,.label{font-size:17px}}"

SHAPES = (
    "text{font-size:12px}.middle{text-anchor:middle}.end{text-anchor:end}.count{font-size:13px}"
    ".name{font-weight:600}.dot{fill-opacity:.6}.mark{fill:none;stroke-dasharray:3 4}"
    ".series,.series-a,.series-b,.series-c{fill:none;stroke-width:2}"
)


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawn chart: its elements, width and height, and the names of its lines by class of style."""

    title: str
    parts: Sequence[str]
    size: tuple[float, float] = (WIDTH, HEIGHT)
    legend: Sequence[tuple[str, str]] = ()

    def element(self) -> str:
        """Return the chart for a page, which colours the classes and names the lines."""
        return self._svg("", self.parts, self.size[1])

    def document(self) -> bytes:
        """Return the chart as a file, with its colours and the names of its lines."""
        width, height = self.size
        height += LEGEND if self.legend else 0
        style = (
            f"<style>{SHAPES}{ON_NARROW if width > NARROW else ''}{COLOURS.format(**LIGHT)}{raster.STYLE}"
            f"@media (prefers-color-scheme:dark){{{COLOURS.format(**DARK)}}}</style>"
        )
        page = f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>'
        more = 'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif" '
        return (self._svg(more, [style, page, *self.parts, *self._keys()], height) + "\n").encode()

    def _keys(self) -> list[str]:
        """Return a row below the chart: a piece of each line, and its name."""
        parts, x, y = [], float(LEFT), self.size[1] + LEGEND / 2
        for kind, name in self.legend:
            parts.append(f'<path class="{kind}" d="M{x:.0f},{y:.0f} h24"/>')
            parts.append(text(x + 32, y + 4, name, "tick"))
            x += 56 + 9 * len(name)
        return parts

    def _svg(self, more: str, parts: Sequence[str], height: float) -> str:
        width = self.size[0]
        return (
            f'<svg {more}class="chart{" wide" if width == WIDTH else ""}" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" role="img" aria-label={quoteattr(self.title)}>'
            + "".join(parts)
            + "</svg>"
        )


class Axes:
    """Maps values to pixels of a chart, or of its part from `top` to `bottom`, and draws the frame."""

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        logarithmic: bool = False,
        ticks: int = 6,
        top: float = TOP,
        bottom: float = HEIGHT - BOTTOM,
    ) -> None:
        self._x, self._log = x, logarithmic
        self._ticks, self._top, self._bottom = ticks, top, bottom
        self._y = (math.log10(y[0]), math.log10(y[1])) if logarithmic else y

    def x(self, value: float) -> float:
        """Return the pixel of a value on the horizontal axis."""
        low, high = self._x
        return LEFT + (value - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return the pixel of a value on the vertical axis."""
        low, high = self._y
        at = math.log10(value) if self._log else value
        return self._bottom - (at - low) / ((high - low) or 1) * (self._bottom - self._top)

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> str:
        """Return a line through points."""
        points = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(xs, ys, strict=True))
        return f'<polyline class="{kind}" points="{points}"/>'

    def frame(self, x_label: str, y_label: str) -> list[str]:
        """Return grid lines with their numbers, and what the axes are; without `x_label` one is bare."""
        parts = [
            text(self.x(value), self._bottom + 18, f"{value:g}", "tick middle")
            for value in (_ticks(*self._x) if x_label else ())
        ]
        for value in self._rows():
            at = self.y(value)
            parts.append(
                f'<line class="grid" x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}"/>'
            )
            parts.append(text(LEFT - 8, at + 4, f"{value:g}", "tick end"))
        if x_label:
            middle = (LEFT + WIDTH - RIGHT) / 2
            parts.append(text(middle, self._bottom + BOTTOM - 6, x_label, "label middle"))
        parts.append(text(0, self._top - 11, y_label, "label"))
        return parts

    def _rows(self) -> list[float]:
        if not self._log:
            return _ticks(*self._y, self._ticks)
        low, high = self._y
        powers = range(math.floor(low), math.ceil(high) + 1)
        values = [m * 10.0**power for power in powers for m in (1, 2, 5)]
        return [value for value in values if low <= math.log10(value) <= high]


def text(x: float, y: float, content: str, kind: str) -> str:
    """Return a line of text whose letters stand on `y`; `kind`: its classes of style."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(content)}</text>'


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers within a range, up to one more than `most`."""
    span = (high - low) or 1
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(m for m in (1, 2, 5, 10, 20) if span / (step * m) <= most)
    first = math.ceil(low / step)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]
