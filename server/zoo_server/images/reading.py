"""Turns pictures (files, Pillow's images, arrays of pixels) into the values that a model takes."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from zoo_server.images.description import Image
from zoo_server.images.ink import Floats, ink_of, normalise, resize

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

#: Names that are taken for pictures even where the content is not one.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


#: What Pillow raises for files that are broken: SyntaxError for a PNG, the last ones for what a camera noted.
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error, TypeError, LookupError)


class UnreadablePicture(ValueError):
    """What is no picture, or none that can be read; the text says which and why."""


def is_picture(value: object) -> bool:
    """Tell whether this is an image of Pillow's, without importing it."""
    return hasattr(value, "convert") and hasattr(value, "getbands")


def open_picture(
    content: bytes,
    source: str,
    *,
    formats: tuple[str, ...] | None = None,
    admit: Callable[[int], None] = lambda pixels: None,
) -> Picture:
    """Decode a file's content; raises UnreadablePicture naming its `source`.

    `formats` are Pillow's names of those that are tried, None for all. `admit` is told how many pixels
    there are before they are decoded, and may raise.
    """
    from PIL import Image as pillow
    from PIL import UnidentifiedImageError

    unreadable = (*_BROKEN, pillow.DecompressionBombError, pillow.DecompressionBombWarning)
    try:
        picture: Picture = pillow.open(io.BytesIO(content), formats=formats)
    except UnidentifiedImageError as error:
        reason = "unknown format"
        raise UnreadablePicture(f"{source} is not an image that can be read: {reason}") from error
    except unreadable as error:
        raise UnreadablePicture(f"{source} is not an image that can be read: {error}") from error
    admit(picture.width * picture.height)
    try:
        picture.load()
    except unreadable as error:
        raise UnreadablePicture(f"{source} is not an image that can be read: {error}") from error
    return picture


def picture_of_pixels(pixels: np.ndarray) -> Picture:
    """Return pixels, uint8 `(rows, columns)` or `(rows, columns, 1 to 4)`, as an image of Pillow's."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] > 4) or not pixels.size:
        shape = " × ".join(map(str, pixels.shape))
        raise UnreadablePicture(
            f"an array of {shape} is no image: give rows × columns, or × 3 for RGB"
        )
    from PIL import Image as pillow

    picture: Picture = pillow.fromarray(np.ascontiguousarray(pixels))
    return picture


def values_of(picture: Picture, image: Image) -> Floats:
    """Return a picture as `(rows, columns, channels)` in the model's values.

    Where the ink counts and there is none, every value is the background's.
    """
    flat = _opaque(picture, drawn=image.ink is not None).convert(image.mode)
    if image.ink is None:
        pixels = np.asarray(_square(flat, image.size), dtype=np.float32) / 255.0
        levels: Floats = pixels.reshape(*image.size, -1)
    else:
        ink = ink_of(np.asarray(flat))
        drawn = None if ink is None else normalise(ink, image.ink)
        if drawn is None:
            drawn = np.zeros((image.ink.blocks, image.ink.blocks), np.float32)
        levels = resize(drawn, image.size)[..., None]
    return (image.low + levels * (image.high - image.low)).astype(np.float32)


def is_blank(row: np.ndarray, image: Image) -> bool:
    """Tell whether a row of a model that reads ink has none."""
    return image.ink is not None and bool((row == image.low).all())


def _square(picture: Picture, size: tuple[int, int]) -> Picture:
    """Return the largest part in the middle of the size's proportions, scaled to it."""
    from PIL import Image as pillow
    from PIL import ImageOps

    rows, columns = size
    if picture.size == (columns, rows):
        return picture
    method = pillow.Resampling.BOX
    return ImageOps.fit(picture, (columns, rows), method=method)


def _opaque(picture: Picture, *, drawn: bool) -> Picture:
    """Return a picture turned as its camera says, with paper where it is transparent.

    The paper is white, but black under something `drawn` in bright ink.
    """
    from PIL import Image as pillow

    picture = _turned(picture)
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture.convert("RGB") if picture.mode in ("P", "CMYK") else _eight_bits(picture)
    rgba = picture.convert("RGBA")
    paper = "black" if drawn and _is_bright(np.asarray(rgba)) else "white"
    whole = pillow.new("RGBA", rgba.size, paper)
    whole.alpha_composite(rgba)
    flat: Picture = whole.convert("RGB")
    return flat


def _turned(picture: Picture) -> Picture:
    """Return a picture turned as its camera says; as it is, where what the camera noted is broken.

    Pillow's `exif_transpose` also writes the notes anew, which fails for many that can be read.
    """
    from PIL import ExifTags
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        turn = turns.get(picture.getexif().get(ExifTags.Base.Orientation))
    except _BROKEN:
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _is_bright(rgba: np.ndarray) -> bool:
    """Tell whether what is opaque is bright on the whole; a picture without transparency is not."""
    opaque = rgba[..., 3] >= 128
    return bool(not opaque.all() and opaque.any() and rgba[opaque][:, :3].mean() >= 128)


def _eight_bits(picture: Picture) -> Picture:
    """Scale 16-bit grey to 8 bits: Pillow's own conversion clips it."""
    if picture.mode not in ("I", "I;16", "I;16L", "I;16B"):
        return picture
    from PIL import Image as pillow

    pixels = np.asarray(picture).astype(np.float32) / 257.0
    scaled: Picture = pillow.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return scaled
