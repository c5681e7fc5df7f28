"""Finds what is drawn in a grey picture, and scales it as the digits of the data were scaled.

The 8×8 digits were made with NIST's programs (NISTIR 5469): a bitmap of the ink alone was scaled to 32
rows and 20 columns, centred in 32×32, and the ink of each 4×4 block was counted, 0 to 16.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from zoo_server.images.description import Ink

Grey: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]

#: Less between the darkest and the brightest pixel, of 255, and nothing is drawn.
CONTRAST = 40

#: Of the proportions width / height below this, a stretch keeps them: a bare stroke stays one.
NARROW = 0.5


def ink_of(grey: Grey) -> Floats | None:
    """Return how much ink each pixel has, 0 to 1, in the picture's shape; None without any.

    The background is what most of the border is, dark or bright.
    """
    darkest, brightest = int(grey.min()), int(grey.max())
    if brightest - darkest < CONTRAST:
        return None
    threshold = _threshold(grey)
    bright = np.interp(grey, [darkest, threshold, brightest], [0.0, 0.5, 1.0]).astype(np.float32)
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    return 1 - bright if np.mean(border >= 0.5) >= 0.5 else bright


def _threshold(grey: Grey) -> float:
    """Return the level, after Otsu, that best parts the pixels in dark and bright ones."""
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)
    below = counts.cumsum()
    sums = (counts * np.arange(256)).cumsum()
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * below / below[-1] - sums) ** 2 / (below * above)
    between = np.nan_to_num(between)
    # Between two levels that no pixel has, all are as good: the middle of them.
    return float(np.flatnonzero(between >= between.max() * (1 - 1e-9)).mean() + 0.5)


def normalise(ink: Floats, how: Ink) -> Floats | None:
    """Return a picture's ink `(rows, columns)`, 0 to 1, as `(blocks, blocks)`; None without any."""
    rows = np.flatnonzero((ink >= 0.5).any(axis=1))
    columns = np.flatnonzero((ink >= 0.5).any(axis=0))
    if not rows.size:
        return None
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scaled = resize(box, _scaled_size(box.shape, how))
    if how.binary:
        scaled = (scaled >= 0.5).astype(np.float32)
    canvas = _centred(scaled, how)
    step = how.canvas // how.blocks
    means = canvas.reshape(how.blocks, step, how.blocks, step).mean(axis=(1, 3))
    return np.asarray(means, np.float32)


def _scaled_size(shape: tuple[int, ...], how: Ink) -> tuple[int, int]:
    """Return the height and width that an ink's box is scaled to."""
    height, width = shape
    tall, wide = how.box
    if how.fit == "stretch":
        narrow = min(1.0, width / height / NARROW)
        return tall, max(1, round(wide * narrow))
    factor = min(tall / height, wide / width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def _centred(scaled: Floats, how: Ink) -> Floats:
    """Put scaled ink in the middle of an empty canvas; what a centre of mass pushes out is lost."""
    height, width = scaled.shape
    middle = [(height - 1) / 2, (width - 1) / 2]
    if how.centre == "mass":
        total = scaled.sum()
        middle = [
            float((scaled.sum(axis=1 - axis) * np.arange(size)).sum() / total)
            for axis, size in enumerate(scaled.shape)
        ]
    top, left = (round((how.canvas - 1) / 2 - centre) for centre in middle)
    # A margin as wide as the canvas, so that nothing is cut before the canvas is.
    margin = how.canvas
    around = np.pad(scaled, margin)
    return around[
        margin - top : margin - top + how.canvas, margin - left : margin - left + how.canvas
    ]


def resize(values: Floats, size: tuple[int, int]) -> Floats:
    """Resize `(rows, columns)`: averaged over the area where it shrinks, bilinear where it grows."""
    rows, columns = (_weights(old, new) for old, new in zip(values.shape, size, strict=True))
    # matmul rather than einsum: one order of summation, whatever the size
    return (rows @ values.astype(np.float64) @ columns.T).astype(np.float32)


def _weights(old: int, new: int) -> NDArray[np.float64]:
    """Return `(new, old)`: what each old pixel gives to each new one; a row's sum is 1."""
    weights = np.zeros((new, old))
    if new < old:
        edges = np.arange(new + 1) * old / new
        for i in range(new):
            first, last = int(edges[i]), min(int(np.ceil(edges[i + 1])), old)
            for j in range(first, last):
                weights[i, j] = min(edges[i + 1], j + 1) - max(edges[i], j)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))
    # Position of each new pixel's centre among the old centres; the border pixels are repeated.
    position = ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)
    left = np.minimum(position.astype(int), max(old - 2, 0))
    right = np.minimum(left + 1, old - 1)
    weights[np.arange(new), left] += 1 - (position - left)
    weights[np.arange(new), right] += position - left
    return weights
