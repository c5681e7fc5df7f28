"""Handwritten digits: scikit-learn's 8×8 ones, and the same enlarged.

8×8 pixels are 0 (paper) to 16 (ink), as they were counted; enlarged to 28×28 they are 0 to 255, MNIST's
range.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from zoo.datasets.augmentation import distorted
from zoo.datasets.dataset import Dataset, Floats, Labels, Rows, Splits
from zoo.datasets.splitting import split_rows
from zoo_server.images.description import Image, Ink
from zoo_server.images.ink import resize

SIDE, LARGE_SIDE = 8, 28
INK, LARGE_INK = 16.0, 255.0

#: How these digits were made of what people wrote, by NIST's programs (NISTIR 5469) and the data's
#: authors: each one's box scaled to 32×20, in 32×32, and the ink of 4×4 pixels counted.
WRITTEN = Ink(canvas=32, box=(32, 20), fit="stretch", centre="box", binary=True, blocks=SIDE)

SMALL_IMAGE = Image(mode="L", size=(SIDE, SIDE), low=0, high=INK, crop="ink", ink=WRITTEN)
LARGE_IMAGE = Image(
    mode="L", size=(LARGE_SIDE, LARGE_SIDE), low=0, high=LARGE_INK, crop="ink", ink=WRITTEN
)

#: Distorted copies of each digit that trains.
COPIES = 4

#: Pairs for each digit.
PARTNERS = 6


def read_all(files: tuple[Path, ...]) -> Splits:
    """Read the ten digits as `(rows, 8, 8, 1)`."""
    return split_rows(*_images(files[0]), seed=1)


def read_distorted(files: tuple[Path, ...]) -> Splits:
    """Read the ten digits, and for training COPIES distorted copies of each besides."""
    digits = read_all(files)
    train = digits.train
    copies = distorted(train.x[..., 0] / np.float32(INK), WRITTEN, copies=COPIES, seed=1)
    x = np.concatenate([train.x, copies[..., None] * np.float32(INK)])
    rows = Rows(x=x, y=np.tile(train.y, COPIES + 1).astype(np.int32))
    return Splits(train=rows, validation=digits.validation, test=digits.test)


def read_three(files: tuple[Path, ...]) -> Splits:
    """Read the digits 0, 1 and 2 alone."""
    x, y = _images(files[0])
    return split_rows(x[y < 3], y[y < 3], seed=1)


def read_large(files: tuple[Path, ...]) -> Splits:
    """Read the ten digits enlarged to `(rows, 28, 28, 1)`, 0 to 255."""
    x, y = _images(files[0])
    return split_rows(enlarge(x) * np.float32(LARGE_INK / INK), y, seed=1)


def read_pairs(files: tuple[Path, ...]) -> Splits:
    """Pair each digit with another of its split: which of the two is larger, and their sum.

    x and `right` are `(rows, 8, 8, 1)`; y is 1 where the right digit is larger, `sum` `(rows, 1)`.
    """
    digits = read_all(files)
    parts = []
    for number, rows in enumerate((digits.train, digits.validation, digits.test)):
        # Several partners a digit: what is to be learnt is in the pairs.
        rng = np.random.default_rng([1, number])
        left = np.tile(np.arange(len(rows)), PARTNERS)
        right = np.concatenate([rng.permutation(len(rows)) for _ in range(PARTNERS)])
        total = (rows.y[left] + rows.y[right]).astype(np.float32)[:, None]
        parts.append(
            Rows(
                x=rows.x[left],
                y=(rows.y[right] > rows.y[left]).astype(np.int32),
                more_x={"right": rows.x[right]},
                more_y={"sum": total},
            )
        )
    return Splits(train=parts[0], validation=parts[1], test=parts[2])


def enlarge(images: Floats) -> Floats:
    """Resize `(rows, 8, 8, 1)` to `(rows, 28, 28, 1)` bilinearly, pixel centres aligned."""
    size = (LARGE_SIDE, LARGE_SIDE)
    return np.stack([resize(image, size) for image in images[..., 0]])[..., None]


def _images(path: Path) -> tuple[Floats, Labels]:
    """Read 64 pixel counts and a class a line, gzipped."""
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    return table[:, :-1].reshape(-1, SIDE, SIDE, 1), table[:, -1].astype(np.int32)


_TEN = tuple(str(digit) for digit in range(10))

DIGITS = Dataset(
    name="digits",
    title="Handwritten digits, 8×8",
    source="E. Alpaydin and C. Kaynak, 1998, as shipped in scikit-learn",
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    package="sklearn",
    paths=("datasets/data/digits.csv.gz",),
    read=read_all,
    classes=_TEN,
    image=SMALL_IMAGE,
)

DIGITS_DISTORTED = replace(
    DIGITS,
    name="digits_distorted",
    title="Handwritten digits, 8×8; training has distorted copies too",
    read=read_distorted,
)

DIGITS_012 = replace(
    DIGITS,
    name="digits_012",
    title="Handwritten digits 0, 1 and 2, 8×8",
    read=read_three,
    classes=_TEN[:3],
)

DIGIT_PAIRS = replace(
    DIGITS,
    name="digit_pairs",
    title="Pairs of handwritten digits, 8×8",
    read=read_pairs,
    classes=("left is not smaller", "right is larger"),
)

DIGITS_28 = replace(
    DIGITS,
    name="digits_28",
    title="Handwritten digits enlarged from 8×8 to 28×28",
    read=read_large,
    image=LARGE_IMAGE,
)
