"""Digits that nobody wrote: a hundred printed glyphs, in ten faces of ten families."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

import zoo

#: Import packages that carry fonts, and the faces taken from them.
FACES = {
    "matplotlib": ("DejaVuSans", "DejaVuSerif", "cmr10", "STIXGeneral"),
    "font_roboto": ("Roboto-Regular",),
    "font_source_sans_pro": ("SourceSansPro-Regular",),
    "font_source_serif_pro": ("SourceSerifPro-Regular",),
    "font_caladea": ("Caladea-Regular",),
    "font_lato": ("Lato-Regular",),
    "font_manrope": ("Manrope-Regular",),
}


def _fonts() -> list[Path]:
    fonts = []
    for package, names in FACES.items():
        spec = find_spec(package)
        assert spec is not None, package
        assert spec.origin is not None
        folder = Path(spec.origin).parent
        fonts += [next(folder.rglob(f"{name}.ttf")) for name in names]
    return fonts


def _glyph(font: Path, digit: int, *, paper: str, ink: str) -> Image.Image:
    """A digit as a user draws one: somewhere in a larger picture."""
    picture = Image.new("RGB", (160, 120), paper)
    face = ImageFont.truetype(str(font), 72)
    ImageDraw.Draw(picture).text((70, 55), str(digit), font=face, fill=ink, anchor="mm")
    return picture


@pytest.mark.parametrize(("paper", "ink"), [("white", "black"), ("#102040", "#f0e0a0")])
def test_ninety_of_a_hundred_printed_digits_are_read(trained, paper: str, ink: str) -> None:  # type: ignore[no-untyped-def]
    """Though the model was trained on handwriting alone; dark on bright, and bright on dark."""
    model = zoo.load("cnn_digits10", repository=trained.repository)
    fonts, digits = _fonts(), range(10)
    answers = model.predict([_glyph(f, d, paper=paper, ink=ink) for f in fonts for d in digits])
    right = [answer.label == str(i % 10) for i, answer in enumerate(answers)]

    assert len(right) == 100
    assert sum(right) >= 90, [
        (fonts[i // 10].stem, i % 10, str(answers[i])) for i, ok in enumerate(right) if not ok
    ]
