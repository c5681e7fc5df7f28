"""Makes distorted copies of digits: turned, slanted, stretched, thinner and bolder.

What a copy is drawn like varies; how it is then scaled, centred and counted is what was done to the
data (server/zoo_server/images/ink.py), so that copies lie where the data and pictures of new digits do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zoo.datasets.dataset import Floats
from zoo_server.images.description import Ink
from zoo_server.images.ink import normalise, resize

#: The largest turn in radians, slant, and stretch of the width (a stroke that is narrow enough to
#: keep its proportions shows it); and the levels between which a blurred bitmap is cut: a high one
#: thins the strokes, a low one makes them bold. Chosen by the loss on the validation split.
TURN, SLANT, STRETCH = 0.15, 0.3, 0.2
CUTS = (0.2, 0.8)


def distorted(images: Floats, how: Ink, *, copies: int, seed: int) -> Floats:
    """Return `copies` of each of `(rows, side, side)` images, ink 0 to 1, first of all, then of all."""
    rng = np.random.default_rng(seed)
    # In a margin as wide as the digit, so that nothing is pushed out.
    large = [np.pad(resize(image, (how.canvas, how.canvas)), how.canvas // 2) for image in images]
    parts = []
    for _ in range(copies):
        for image, original in zip(large, images, strict=True):
            drawn = _redrawn(image, rng) >= rng.uniform(*CUTS)
            values = normalise(drawn.astype(np.float32), how)
            parts.append(original if values is None else values)
    return np.stack(parts)


def _redrawn(image: Floats, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a square image turned, slanted and stretched about its middle, read bilinearly."""
    side = len(image)
    middle = (side - 1) / 2
    x, y = (axis - middle for axis in np.meshgrid(np.arange(side), np.arange(side)))
    turn, slant = rng.uniform(-TURN, TURN), rng.uniform(-SLANT, SLANT)
    width = rng.uniform(1 - STRETCH, 1 + STRETCH)
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    return _read(image, (x + slant * y) / width + middle, y + middle)


def _read(image: Floats, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the image's values at places between its pixels; beyond its edge there is no ink."""
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right_share, lower_share = x - left, y - top
    around, last = np.pad(image, 1).astype(np.float64), len(image) + 1

    def at(row: NDArray[np.int_], column: NDArray[np.int_]) -> NDArray[np.float64]:
        return np.asarray(around[(row + 1).clip(0, last), (column + 1).clip(0, last)])

    upper = at(top, left) * (1 - right_share) + at(top, left + 1) * right_share
    lower = at(top + 1, left) * (1 - right_share) + at(top + 1, left + 1) * right_share
    return np.asarray(upper * (1 - lower_share) + lower * lower_share)
