"""Describes how an input encodes an image: the one description, in every file's metadata.

    {"mode": "L", "size": [8, 8], "range": [0, 16], "crop": "ink",
     "ink": {"canvas": 32, "box": [32, 20], "fit": "stretch", "centre": "box", "binary": true, "blocks": 8}}

`zoo_server.images.reading` does what it says; the card and the metadata repeat it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ink:
    """How what is drawn becomes values: its box is cropped, scaled and centred in a square canvas.

    `box` is the height and width in pixels that the ink is scaled to. `fit` "stretch" fills both,
    "keep" keeps the proportions. `centre` puts the box's middle, or the "mass" of the ink, in the
    canvas's middle. A `binary` canvas is ink or background only. The canvas is then averaged over
    `blocks` × `blocks` equal squares.
    """

    canvas: int
    box: tuple[int, int]
    fit: str
    centre: str
    binary: bool
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """Pillow's mode, rows and columns, and the values of black and white, or of background and ink.

    `crop` says which part of a picture counts: the "centre", its largest square, or the "ink",
    whichever of dark and bright the background is not.
    """

    mode: str
    size: tuple[int, int]
    low: float
    high: float
    crop: str = "centre"
    ink: Ink | None = None

    @property
    def sentence(self) -> str:
        """Say for people what becomes of a picture."""
        rows, columns = self.size
        values = f"{rows}×{columns} values from {self.low:g} to {self.high:g}"
        if self.ink is None:
            return f"the largest square in the middle, as {values} in Pillow's mode {self.mode}"
        ink = self.ink
        height, width = ink.box
        scaled = f"{height}×{width} pixels" + ("" if ink.fit == "stretch" else " at most")
        counted = (
            f", counted in {ink.blocks}×{ink.blocks} blocks" if ink.blocks < ink.canvas else ""
        )
        return (
            f"the ink, dark on bright or bright on dark, is cropped, scaled to {scaled}, centred by "
            f"its {ink.centre} in {ink.canvas}×{ink.canvas}{counted}: {values}"
        )

    def to_text(self) -> str:
        """Return the description as one line of JSON."""
        values: dict[str, object] = {
            "mode": self.mode,
            "size": self.size,
            "range": [self.low, self.high],
            "crop": self.crop,
        }
        if self.ink is not None:
            values["ink"] = asdict(self.ink)
        return json.dumps(values)

    @classmethod
    def from_text(cls, text: str) -> Image:
        """Read what `to_text` wrote; raises ValueError for anything else."""
        try:
            values = json.loads(text)
            ink = values.get("ink")
            low, high = map(float, values["range"])
            rows, columns = map(int, values["size"])
            return cls(
                mode=values["mode"],
                size=(rows, columns),
                low=low,
                high=high,
                crop=values["crop"],
                ink=Ink(**{**ink, "box": tuple(ink["box"])}) if ink else None,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the description of an image: {text}") from error
