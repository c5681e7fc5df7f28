"""Digits that people draw become what the data's own digits are."""

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from zoo.datasets.digits import DIGITS, SMALL_IMAGE, WRITTEN
from zoo_server.images.description import Image, Ink
from zoo_server.images.ink import normalise, resize
from zoo_server.images.reading import is_blank, values_of

MASS = Ink(canvas=28, box=(20, 20), fit="keep", centre="mass", binary=False, blocks=28)


def _drawn(paper: str = "white", ink: str = "black", mode: str = "RGB") -> Pillow.Image:
    """A seven, away from the middle."""
    picture = Pillow.new(mode, (300, 200), paper)
    ImageDraw.Draw(picture).line([(20, 30), (90, 30), (40, 150)], fill=ink, width=12, joint="curve")
    return picture


def test_ink_is_found_whatever_is_dark_and_where_it_stands() -> None:
    """Black on white, white on black, on transparent paper, faint, and shifted: the same values."""
    values = values_of(_drawn(), SMALL_IMAGE)
    same = [
        _drawn("black", "white"),
        _drawn("#00000000", "black", "RGBA"),
        _drawn("#00000000", "white", "RGBA"),
        _drawn("#c0c0c0", "#606060"),
        _drawn().crop((10, 20, 110, 170)),
        Pillow.fromarray(np.asarray(_drawn().convert("L")).astype(np.uint16) * 257),
    ]

    assert values.shape == (8, 8, 1)
    assert set(np.unique(values)) <= set(range(17))
    for picture in same:
        np.testing.assert_allclose(values_of(picture, SMALL_IMAGE), values, atol=2)


def test_the_margins_are_the_datas_own() -> None:
    """All rows are used, and the columns 1 to 6, as in the data."""
    values = values_of(_drawn(), SMALL_IMAGE)[..., 0]
    data = DIGITS.load().train.x[..., 0]

    assert (values.sum(axis=1) > 0).all()
    assert list(np.flatnonzero(values.sum(axis=0))) == [1, 2, 3, 4, 5, 6]
    used = (data.sum(axis=1) > 0).mean(axis=0)
    assert (used[1:7] > 0.8).all()
    assert (used[[0, 7]] < 0.2).all()
    assert (data.sum(axis=2) > 0).mean() > 0.99


def test_a_bare_stroke_is_not_stretched_to_the_whole_width() -> None:
    """A one stays a one."""
    stroke = np.zeros((40, 40), np.float32)
    stroke[5:35, 18:21] = 1
    values = normalise(stroke, WRITTEN)

    assert values is not None
    assert np.count_nonzero(values.sum(axis=0)) == 2


@pytest.mark.parametrize("colour", ["white", "black", "#7f7f7f"])
def test_a_blank_picture_has_no_ink(colour: str) -> None:
    values = values_of(Pillow.new("RGB", (50, 40), colour), SMALL_IMAGE)

    assert is_blank(values, SMALL_IMAGE)
    assert not is_blank(values_of(_drawn(), SMALL_IMAGE), SMALL_IMAGE)


def test_mass_is_centred_and_proportions_are_kept() -> None:
    """As MNIST's digits were made."""
    ink = np.zeros((60, 60), np.float32)
    ink[0:40, 0:10] = 1
    values = normalise(ink, MASS)

    assert values is not None
    assert values.shape == (28, 28)
    rows, columns = np.nonzero(values)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (20, 5)
    assert abs(rows.mean() - 13.5) <= 0.5
    assert abs(columns.mean() - 13.5) <= 0.5


def test_resizing_keeps_the_mean_where_it_shrinks_and_flat_parts_where_it_grows() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((30, 20), np.float32)

    np.testing.assert_allclose(resize(image, (7, 5)).mean(), image.mean(), rtol=1e-5)
    np.testing.assert_array_equal(resize(image, (30, 20)), image)
    np.testing.assert_allclose(resize(np.full((3, 3), 2, np.float32), (8, 9)), 2)


def test_the_description_survives_its_text() -> None:
    for image in (SMALL_IMAGE, Image(mode="RGB", size=(32, 32), low=0, high=255)):
        assert Image.from_text(image.to_text()) == image
    with pytest.raises(ValueError, match="not the description of an image"):
        Image.from_text('{"mode": "L"}')
