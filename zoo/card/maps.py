"""Draws what a convolutional model sees and answers: held-out images, kernels, feature maps.

Positive numbers are blue and negative ones orange; how strong, is a share of the largest of the picture's
row. Colour images, and kernels over their three channels, keep their colours.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np

from zoo.card.chart import Chart, text
from zoo.card.raster import image

WIDTH, MARGIN = 480, 8

#: The side of a kernel or a map, between two, and how many stand in a row.
SIDE, GAP, ACROSS = 52.0, 6.0, 8

#: Of more kernels, and more maps of a layer, than these, the strongest are drawn.
MOST_KERNELS, MOST_MAPS = 32, 16

#: Images of a picture of samples, by rows and columns; the side of each, and the letters below it.
GRID, CELL, LETTERS = (2, 5), 72.0, 13

LINE = 16


def samples(
    images: Sequence[np.ndarray],
    span: tuple[float, float],
    truth: np.ndarray,
    chosen: np.ndarray,
    classes: Sequence[str],
) -> Chart:
    """Draw held-out images, the classes in turn, with the truth, and the answer where it is another one.

    `images` has one array `(rows, height, width, channels)` an input, with values that `span` bounds; those of a
    row stand side by side.
    """
    pictures = [shares(each, span) for each in images]
    members = [np.flatnonzero(truth == value) for value in np.unique(truth)]
    if pictures[0].shape[-1] == 3:  # of photographs first the parts with something to see
        members = [each[np.argsort(-pictures[0][each].std(axis=(1, 2, 3)))] for each in members]
    turns = [each[turn] for turn in range(len(truth)) for each in members if turn < len(each)]
    rows = turns[: GRID[0] * GRID[1]]
    side = CELL if len(pictures) == 1 else CELL / len(pictures) + 8
    names = [_labels(classes[truth[row]], classes[chosen[row]]) for row in rows]
    height = side + LINE * (max(map(len, names)) + 1)
    parts = []
    for place, (row, lines) in enumerate(zip(rows, names, strict=True)):
        x = MARGIN + (place % GRID[1] + 0.5) * (WIDTH - 2 * MARGIN) / GRID[1]
        y = MARGIN + place // GRID[1] * height
        for number, each in enumerate(pictures):
            left = x + (number - len(pictures) / 2) * (side + 2)
            parts.append(image(left, y, (side, side), _raster(each[row])))
        parts += [
            text(x, y + side + LINE * number, line, kind)
            for number, (line, kind) in enumerate(lines, start=1)
        ]
    return Chart("Held-out images", parts, (WIDTH, 2 * MARGIN + -(-len(rows) // GRID[1]) * height))


def _labels(truth: str, answer: str) -> list[tuple[str, str]]:
    """Return lines with what an image is, and the answer where it is another one, by class of style."""
    lines = [(line, "name middle") for line in textwrap.wrap(truth, LETTERS)]
    if answer != truth:
        lines += [(f, "name middle misread") for f in textwrap.wrap(f"read as {answer}", LETTERS)]
    return lines


def filters(layer: str, kernels: np.ndarray) -> Chart:
    """Draw a convolution's kernels `(rows, columns, channels, filters)`."""
    rows, columns, channels, count = kernels.shape
    chosen = _strongest(np.abs(kernels).sum(axis=(0, 1, 2)), MOST_KERNELS)
    largest = float(np.abs(kernels).max()) or 1.0
    shown = [kernels[..., at] / largest for at in chosen]
    tiles = [0.5 + each / 2 if channels == 3 else each.mean(axis=-1) for each in shown]
    title = f"{layer}: {_some(len(tiles), count)} kernels of {rows}×{columns}"
    return _tiles("Kernels of the first convolution", [(title, tiles)])


def activations(inputs: Mapping[str, np.ndarray], layers: Mapping[str, np.ndarray]) -> Chart:
    """Draw what each layer answers to one image.

    `inputs` has the images `(rows, columns, channels)` by name, from 0 to 1; `layers` has maps of that form,
    or `(channels,)`, by the layers' names.
    """
    rows = [(name, [_raster(each)]) for name, each in inputs.items()]
    for name, values in layers.items():
        maps = values if values.ndim == 3 else values[None, None]
        height, width, count = maps.shape
        chosen = _strongest(np.abs(maps).max(axis=(0, 1)), MOST_MAPS)
        largest = float(np.abs(maps).max()) or 1.0
        title = f"{name}: {_some(len(chosen), count)} maps of {height}×{width}"
        rows.append((title, [maps[..., at] / largest for at in chosen]))
    return _tiles("What each layer answers to one image", rows)


def shares(images: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """Return pixels as shares, 0 to 1, of what bounds them."""
    low, high = span
    values: np.ndarray = ((images - low) / (high - low)).clip(0, 1)
    return values


def _raster(picture: np.ndarray) -> np.ndarray:
    """Return `(rows, columns, channels)` as raster.image takes it."""
    return picture if picture.shape[-1] == 3 else picture[..., 0]


def _strongest(strengths: np.ndarray, most: int) -> np.ndarray:
    """Return the places of the largest, in their own order; of equal ones the first."""
    return np.sort(np.argsort(-strengths, kind="stable")[:most])


def _some(shown: int, count: int) -> str:
    return str(count) if shown == count else f"{shown} of {count}"


def _tiles(title: str, rows: Sequence[tuple[str, Sequence[np.ndarray]]]) -> Chart:
    """Draw rows of small pictures, each below what it is."""
    parts, y = [], float(MARGIN)
    for name, tiles in rows:
        parts.append(text(MARGIN, y + 12, name, "label"))
        y += LINE + 4
        for number, tile in enumerate(tiles):
            x = MARGIN + number % ACROSS * (SIDE + GAP)
            size = _tile_size(tile)
            parts.append(image(x, y + number // ACROSS * (SIDE + GAP), size, tile))
        y += -(-len(tiles) // ACROSS) * (SIDE + GAP) + GAP
    return Chart(title, parts, (WIDTH, y))


def _tile_size(tile: np.ndarray) -> tuple[float, float]:
    """Return a tile's width and height in pixels: its own proportions within a square."""
    height, width = tile.shape[:2]
    longest = max(height, width)
    return SIDE * width / longest, SIDE * height / longest
