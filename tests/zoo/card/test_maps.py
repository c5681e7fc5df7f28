"""Pictures of images, kernels and feature maps: the pixels are the numbers, on a light page and a dark one."""

from __future__ import annotations

import base64
import io
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from zoo.card.chart import Chart
from zoo.card.maps import ACROSS, MOST_KERNELS, MOST_MAPS, activations, filters, samples
from zoo.card.raster import INK, NEGATIVE, PAPER

TRUTH = np.array([0, 0, 1, 1, 2, 2])
CLASSES = ("a", "b", "c")


def _images(chart: Chart) -> list[np.ndarray]:
    """The pixels of each image in a picture, colours last."""
    root = ElementTree.fromstring(chart.document())
    found = []
    for element in root.iter("{http://www.w3.org/2000/svg}image"):
        data = element.attrib["href"].removeprefix("data:image/png;base64,")
        found.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))))
    return found


def _texts(chart: Chart) -> list[str | None]:
    root = ElementTree.fromstring(chart.document())
    return [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_same_numbers_make_the_same_bytes() -> None:
    """Other numbers make others."""
    kernels = np.random.default_rng(0).normal(size=(3, 3, 1, 4))

    assert filters("conv", kernels).document() == filters("conv", kernels).document()
    assert filters("conv", kernels).document() != filters("conv", -kernels).document()


def test_a_kernel_is_blue_where_it_adds_and_orange_where_it_takes() -> None:
    """As strong as its share of the largest; zero is paper."""
    kernels = np.zeros((2, 2, 1, 1))
    kernels[0, 0], kernels[1, 1] = 2.0, -1.0
    (pixels,) = _images(filters("conv", kernels))

    assert pixels[0, 0].tolist() == [*INK, 255]
    assert pixels[1, 1, :3].tolist() == [*NEGATIVE]
    assert pixels[1, 1, 3] == round(PAPER + (255 - PAPER) / 2)
    assert pixels[0, 1, 3] == PAPER


def test_kernels_over_colours_have_them() -> None:
    """Grey is zero, and red is what adds for red alone."""
    kernels = np.zeros((1, 2, 3, 1))
    kernels[0, 1, 0, 0] = 1.0
    (pixels,) = _images(filters("conv", kernels))

    assert pixels[0, 0].tolist() == [128, 128, 128]
    assert pixels[0, 1].tolist() == [255, 128, 128]


def test_of_many_kernels_the_strongest_are_drawn_in_their_order() -> None:
    """And the picture says how many there are."""
    kernels = np.ones((1, 1, 1, MOST_KERNELS + 2)) * 0.5
    kernels[..., 3], kernels[..., 5] = 0.0, 0.1
    kernels[..., -1] = -1.0
    chart = filters("conv", kernels)
    images = _images(chart)

    assert len(images) == MOST_KERNELS
    assert images[-1][0, 0].tolist() == [*NEGATIVE, 255]
    assert f"conv: {MOST_KERNELS} of {MOST_KERNELS + 2} kernels of 1×1" in _texts(chart)


def test_each_layer_has_its_maps_below_the_image() -> None:
    """Of a layer the share of its largest; a vector is a map of one pixel a channel."""
    maps = np.zeros((4, 6, MOST_MAPS + 1))
    maps[2, 3, 0] = 8.0
    layers = {"conv": maps, "mean": np.array([1.0, 3.0])}
    chart = activations({"image": np.ones((8, 8, 1))}, layers)
    image, first, *_, one, three = _images(chart)

    assert len(_images(chart)) == 1 + MOST_MAPS + 2
    assert image.shape[:2] == (8, 8)
    assert first.shape[:2] == (4, 6)
    assert first[2, 3].tolist() == [*INK, 255]
    assert one[0, 0, 3] == round(PAPER + (255 - PAPER) / 3)
    assert three[0, 0, 3] == 255
    assert _texts(chart) == ["image", "conv: 16 of 17 maps of 4×6", "mean: 2 maps of 1×1"]
    assert chart.size[0] <= 480
    assert MOST_MAPS > ACROSS


def test_samples_show_what_was_misread() -> None:
    """Another answer is another picture; two inputs stand side by side, and grey may be colour."""
    images = np.random.default_rng(0).random((6, 4, 4, 1)) * 16
    chart = samples([images], (0, 16), TRUTH, TRUTH, CLASSES)
    wrong = samples([images], (0, 16), TRUTH, TRUTH[::-1], CLASSES)

    assert _texts(chart) == ["a", "b", "c", "a", "b", "c"]
    assert "read as c" in _texts(wrong)
    assert len(_images(samples([images, images], (0, 16), TRUTH, TRUTH, CLASSES))) == 12
    colour = samples([np.repeat(images, 3, axis=3)], (0, 16), TRUTH, TRUTH, CLASSES)
    assert _images(colour)[0].shape == (4, 4, 3)
