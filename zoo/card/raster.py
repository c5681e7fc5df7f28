"""Numbers as a picture of pixels, for an SVG: ink where they are large, on whatever the page's colour is."""

from __future__ import annotations

import base64
import io

import numpy as np

#: Of positive and of negative numbers; `.map` makes them brighter on a dark page.
INK, NEGATIVE = (59, 91, 219), (232, 89, 12)

#: How much of a pixel that is zero is seen, so that a picture has its borders: of 255.
PAPER = 20

STYLE = "image{image-rendering:pixelated}@media (prefers-color-scheme:dark){.map{filter:brightness(1.5)}}"


def image(x: float, y: float, size: tuple[float, float], values: np.ndarray) -> str:
    """Return an element with `(rows, columns)` from -1 to 1, or `(rows, columns, 3)` colours from 0 to 1."""
    from PIL import Image

    kind = "map"
    if values.ndim == 3:
        kind = "photo"
        picture = Image.fromarray(np.round(values.clip(0, 1) * 255).astype(np.uint8), "RGB")
    else:
        pixels = np.zeros((*values.shape, 4), np.uint8)
        pixels[..., :3] = np.where(values[..., None] < 0, NEGATIVE, INK)
        pixels[..., 3] = np.round(PAPER + np.abs(values).clip(0, 1) * (255 - PAPER))
        picture = Image.fromarray(pixels, "RGBA")
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    data = base64.b64encode(stream.getvalue()).decode()
    width, height = size
    return (
        f'<image class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'preserveAspectRatio="none" href="data:image/png;base64,{data}"/>'
    )
