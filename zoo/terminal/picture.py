"""Draws in the terminal what a model sees of an image."""

from __future__ import annotations

import numpy as np

from zoo_server.images.description import Image

#: From nothing to full.
SHADES = " ░▒▓█"


def draw(row: np.ndarray, image: Image) -> str:
    """Return `(rows, columns, channels)` values as text in a frame, two characters a pixel.

    Shades say how far a value is from `low` to `high`; of colours, their mean.
    """
    level = (row.mean(axis=-1) - image.low) / (image.high - image.low)
    shade = np.rint(level.clip(0, 1) * (len(SHADES) - 1)).astype(int)
    lines = ["".join(SHADES[i] * 2 for i in line) for line in shade]
    edge = "─" * (2 * row.shape[1])
    return "\n".join([f"┌{edge}┐", *(f"│{line}│" for line in lines), f"└{edge}┘"])
