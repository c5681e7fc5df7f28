"""Handwritten digits: scikit-learn's 8×8 ones, enlarged ones, and MNIST from a file of the user's.

8×8 pixels are 0 (paper) to 16 (ink), as they were counted; 28×28 pixels are 0 to 255, MNIST's own
range, whether they come from MNIST or are enlarged from 8×8.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from zoo.datasets.dataset import Dataset, External, Floats, Image, Labels, Rows, Splits
from zoo.datasets.splitting import split_rows
from zoo.errors import UsageError

SIDE, LARGE_SIDE = 8, 28
INK, LARGE_INK = 16.0, 255.0

#: Pairs for each digit.
PARTNERS = 6


def read_all(files: tuple[Path, ...]) -> Splits:
    """Read the ten digits as `(rows, 8, 8, 1)`."""
    return split_rows(*_images(files[0]), seed=1)


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


def read_mnist(path: Path) -> Splits:
    """Read MNIST's `.npz`: its own test split, and a fifth of the rest to validate on."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise UsageError(f"{path} is not MNIST's npz file: {error}") from error
    x, y = arrays["x_train"], arrays["y_train"].astype(np.int32)
    own = split_rows(x[..., None].astype(np.float32), y, seed=1)
    # split_rows holds out a validation and a test fifth; MNIST has a test split, so its fifth trains.
    train = Rows(
        x=np.concatenate([own.train.x, own.test.x]), y=np.concatenate([own.train.y, own.test.y])
    )
    x, y = arrays["x_test"], arrays["y_test"].astype(np.int32)
    test = Rows(x=x[..., None].astype(np.float32), y=y)
    return Splits(train=train, validation=own.validation, test=test)


def enlarge(images: Floats) -> Floats:
    """Resize `(rows, 8, 8, 1)` to `(rows, 28, 28, 1)` bilinearly, pixel centres aligned."""
    # Position of each new pixel's centre among the old centres; the border pixels are repeated.
    position = (np.arange(LARGE_SIDE) + 0.5) * SIDE / LARGE_SIDE - 0.5
    position = position.clip(0, SIDE - 1)
    left = np.minimum(position.astype(int), SIDE - 2)
    weights = np.zeros((LARGE_SIDE, SIDE))
    weights[np.arange(LARGE_SIDE), left] = 1 - (position - left)
    weights[np.arange(LARGE_SIDE), left + 1] = position - left
    # matmul rather than einsum: one order of summation, whatever the number of rows
    enlarged = weights @ images[..., 0].astype(np.float64) @ weights.T
    return enlarged.astype(np.float32)[..., None]


def _images(path: Path) -> tuple[Floats, Labels]:
    """Read 64 pixel counts and a class a line, gzipped."""
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    return table[:, :-1].reshape(-1, SIDE, SIDE, 1), table[:, -1].astype(np.int32)


_TEN = tuple(str(digit) for digit in range(10))
_SOURCE = "E. Alpaydin and C. Kaynak, 1998, as shipped in scikit-learn"
_LICENCE = "CC BY 4.0 (UCI Machine Learning Repository)"
_PATHS = ("datasets/data/digits.csv.gz",)

DIGITS = Dataset(
    name="digits",
    title="Handwritten digits, 8×8",
    source=_SOURCE,
    licence=_LICENCE,
    package="sklearn",
    paths=_PATHS,
    read=read_all,
    classes=_TEN,
    image=Image(mode="L", low=0, high=INK),
)

DIGITS_012 = Dataset(
    name="digits_012",
    title="Handwritten digits 0, 1 and 2, 8×8",
    source=_SOURCE,
    licence=_LICENCE,
    package="sklearn",
    paths=_PATHS,
    read=read_three,
    classes=_TEN[:3],
    image=Image(mode="L", low=0, high=INK),
)

DIGIT_PAIRS = Dataset(
    name="digit_pairs",
    title="Pairs of handwritten digits, 8×8",
    source=_SOURCE,
    licence=_LICENCE,
    package="sklearn",
    paths=_PATHS,
    read=read_pairs,
    classes=("left is not smaller", "right is larger"),
    image=Image(mode="L", low=0, high=INK),
)

DIGITS_28 = Dataset(
    name="digits_28",
    title="Handwritten digits enlarged from 8×8 to 28×28",
    source=_SOURCE,
    licence=_LICENCE,
    package="sklearn",
    paths=_PATHS,
    read=read_large,
    classes=_TEN,
    image=Image(mode="L", low=0, high=LARGE_INK),
    external=External(
        name="mnist",
        title="MNIST handwritten digits",
        source="Y. LeCun, C. Cortes and C. J. C. Burges, as the npz file that Keras publishes",
        licence="CC BY-SA 3.0",
        # As in keras/src/datasets/mnist.py.
        sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
        load=read_mnist,
    ),
)
