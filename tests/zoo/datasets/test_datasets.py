"""Datasets: three disjoint splits in natural units, read without their packages."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zoo.datasets import mnist, photographs, sunspots
from zoo.datasets.dataset import Dataset, Rows, Splits, package_folder
from zoo.datasets.digits import (
    COPIES,
    DIGITS,
    DIGITS_012,
    DIGITS_28,
    DIGITS_DISTORTED,
    enlarge,
)
from zoo.datasets.mnist import MNIST
from zoo.datasets.photographs import PHOTOGRAPHS
from zoo.datasets.splitting import split_rows
from zoo.datasets.sunspots import SUNSPOTS, SUNSPOTS_SEQUENCE
from zoo.datasets.tables import CANCER, DIABETES, IRIS
from zoo.errors import MissingPackage, UsageError, ZooError

ALL = (
    IRIS,
    CANCER,
    DIABETES,
    DIGITS,
    DIGITS_012,
    DIGITS_28,
    PHOTOGRAPHS,
    SUNSPOTS,
    SUNSPOTS_SEQUENCE,
)


def _parts(splits: Splits) -> tuple[Rows, Rows, Rows]:
    return splits.train, splits.validation, splits.test


@pytest.mark.parametrize("dataset", ALL, ids=lambda dataset: dataset.name)
def test_every_dataset_reads_the_same_twice(dataset: Dataset) -> None:
    """Splits are made by a fixed seed, in the arrays' promised types."""
    first, second = dataset.load(), dataset.load()

    for one, other in zip(_parts(first), _parts(second), strict=True):
        assert np.array_equal(one.x, other.x)
        assert np.array_equal(one.y, other.y)
        assert one.x.dtype == np.float32
        assert one.y.dtype == (np.int32 if dataset.classes else np.float32)
    assert len(first.train) > len(first.validation) >= 30
    assert len(first.test) >= 30


@pytest.mark.parametrize("dataset", ALL, ids=lambda dataset: dataset.name)
def test_every_class_is_in_every_split(dataset: Dataset) -> None:
    """Labels count from 0 to the number of classes, in each split in like proportions."""
    splits = dataset.load()
    if not dataset.classes:
        assert dataset.units
        return
    whole = np.concatenate([part.y for part in _parts(splits)])
    for part in _parts(splits):
        share = np.bincount(part.y, minlength=len(dataset.classes)) / len(part)
        assert len(share) == len(dataset.classes)
        assert np.allclose(share, np.bincount(whole) / len(whole), atol=0.02)


@pytest.mark.parametrize("dataset", ALL, ids=lambda dataset: dataset.name)
def test_images_keep_to_their_range(dataset: Dataset) -> None:
    """What the dataset says of black and white is what the pixels use."""
    if dataset.image is None:
        assert len(dataset.features) == dataset.load().train.x.shape[-1]
        return
    x = dataset.load().train.x
    assert x.shape[-1] == {"L": 1, "RGB": 3}[dataset.image.mode]
    assert x.min() == dataset.image.low
    assert x.max() == pytest.approx(dataset.image.high, rel=0.02)


def test_natural_units() -> None:
    """Values as people measured them, not as a package scaled them."""
    assert IRIS.load().train.x.max() == pytest.approx(7.7, abs=0.3)  # cm
    diabetes = DIABETES.load().train
    assert 19 <= diabetes.x[:, 0].min() < diabetes.x[:, 0].max() <= 79  # years
    assert 25 <= diabetes.y.min() < diabetes.y.max() <= 346


@pytest.mark.parametrize("labelled", [True, False])
def test_split_rows_is_disjoint_and_loses_nothing(labelled: bool) -> None:
    """Each row is in one split; the fractions are 60, 20 and 20 per cent."""
    x = np.arange(100, dtype=np.float32)[:, None]
    y = (np.arange(100) % 4).astype(np.int32) if labelled else x
    splits = split_rows(x, y, seed=3)

    rows = np.concatenate([part.x[:, 0] for part in _parts(splits)])
    assert sorted(rows.tolist()) == list(range(100))
    assert [len(part) for part in _parts(splits)] == [60, 20, 20]
    for part in _parts(splits):
        assert np.array_equal(part.y, part.x[:, 0] % 4 if labelled else part.x)
    assert not np.array_equal(split_rows(x, y, seed=4).test.x, splits.test.x)


def test_no_year_is_in_two_splits(tmp_path: Path) -> None:
    """The series is cut before windows are made: each count is in the windows of one split."""
    path = tmp_path / "counts.csv"
    lines = [f"{year},{year}" for year in range(1700, 2009)]
    path.write_text("\n".join(["YEAR,SUNACTIVITY", *lines]), encoding="utf-8")

    for read in (sunspots.read_next, sunspots.read_sequence):
        parts = _parts(read((path,)))
        years = [set(np.unique(part.x)) | set(np.unique(part.y)) for part in parts]
        assert years[0] | years[1] | years[2] == set(range(1700, 2009))
        assert max(years[0]) < min(years[1])
        assert max(years[1]) < min(years[2])


def test_windows_forecast_the_year_after() -> None:
    """The next value after the window, or after each of its steps; both see the same windows."""
    one, every = SUNSPOTS.load().train, SUNSPOTS_SEQUENCE.load().train

    assert np.array_equal(one.x, every.x)
    assert np.array_equal(one.y, every.y[:, -1])
    assert np.array_equal(every.y[:, :-1], every.x[:, 1:])
    assert one.x[0, :, 0].tolist() == [5, 11, 16, 23, 36]
    assert one.y[0].tolist() == [58]


def test_no_pixel_is_in_two_splits() -> None:
    """Patches of different splits never overlap, in either photograph."""
    height, width = 427, 640
    for label in (0, 1):
        seen = np.zeros((3, height, width), bool)
        for split, top, left in photographs.patches(label, height, width):
            assert top + photographs.SIDE <= height
            assert left + photographs.SIDE <= width
            seen[split, top : top + photographs.SIDE, left : left + photographs.SIDE] = True
        assert seen.sum(axis=0).max() == 1


def test_enlarging_is_pillows_bilinear() -> None:
    """The same picture as Pillow's resize, computed without it."""
    from PIL import Image

    rng = np.random.default_rng(1)
    small = rng.uniform(0, 16, (2, 8, 8, 1)).astype(np.float32)
    large = enlarge(small)

    for original, enlarged in zip(small, large, strict=True):
        picture = Image.fromarray(original[..., 0]).resize((28, 28), Image.Resampling.BILINEAR)
        assert np.allclose(enlarged[..., 0], np.asarray(picture), atol=1e-4)
    assert np.all(enlarge(np.full((1, 8, 8, 1), 16, np.float32)) == 16)


def _mnist(path: Path, rows: int = 100) -> Path:
    """Write a file laid out like MNIST's."""
    rng = np.random.default_rng(1)
    arrays = {
        f"{kind}_{part}": rng.integers(0, 256 if kind == "x" else 10, size).astype(np.uint8)
        for part, count in (("train", rows), ("test", 30))
        for kind, size in (("x", (count, 28, 28)), ("y", (count,)))
    }
    np.savez(path, **arrays)
    return path


def test_distorted_copies_train_and_nothing_else_changes() -> None:
    """Of each digit as many, counted like the data's; the held-out splits are the data's own."""
    plain, splits = DIGITS.load(), DIGITS_DISTORTED.load()
    train = splits.train

    np.testing.assert_array_equal(splits.test.x, plain.test.x)
    np.testing.assert_array_equal(splits.validation.x, plain.validation.x)
    assert len(train) == (COPIES + 1) * len(plain.train)
    np.testing.assert_array_equal(train.x[: len(plain.train)], plain.train.x)
    copies = train.x[len(plain.train) :]
    assert set(np.unique(copies)) == set(range(17))
    assert (copies[: len(plain.train)] != plain.train.x).any(axis=(1, 2, 3)).mean() > 0.99
    again = DIGITS_DISTORTED.load().train.x
    np.testing.assert_array_equal(again, train.x)


def test_mnist_is_optional_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not there: named with how to get it. Something else in its place: refused."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert MNIST.is_left_out
    with pytest.raises(UsageError, match=r"there is no .*mnist\.npz: python -c .*load_data"):
        MNIST.load()
    (tmp_path / "datasets").mkdir()
    _mnist(tmp_path / "datasets/mnist.npz", 500)
    assert not MNIST.is_left_out
    with pytest.raises(UsageError, match="does not hold MNIST's digits"):
        MNIST.load()
    assert not DIGITS.is_left_out


def test_mnist_keeps_its_own_test_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published test rows are the test split; the rest trains and validates."""
    path = _mnist(tmp_path / "mnist.npz", 500)
    with np.load(path) as file:
        published = file["x_test"]
        content = b"".join(file[name].tobytes() for name in mnist.ARRAYS)
    monkeypatch.setattr(mnist, "CONTENT_SHA256", hashlib.sha256(content).hexdigest())
    splits = mnist.read_cached((path,))

    assert splits.test.x.shape == (30, 28, 28, 1)
    assert len(splits.train) + len(splits.validation) == 500
    assert splits.train.x.max() == 255
    assert np.array_equal(splits.test.x[..., 0], published)


def test_a_file_that_is_no_npz_at_all_is_refused(tmp_path: Path) -> None:
    """Reading says which file is wrong."""
    path = tmp_path / "mnist.npz"
    path.write_bytes(b"not a zip file")

    with pytest.raises(UsageError, match=r"mnist.npz is not MNIST's npz file"):
        mnist.read_cached((path,))


def test_a_missing_package_says_what_to_install() -> None:
    """The cure is one command."""
    with pytest.raises(MissingPackage, match=r"pip install 'layer-zoo\[train\]'"):
        replace(IRIS, package="no_such_package").load()
    with pytest.raises(ZooError, match="reinstall sklearn"):
        replace(IRIS, paths=("datasets/data/absent.csv",)).load()
    assert (package_folder("sklearn", "iris") / "datasets").is_dir()


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.zeros((3, 1), np.float32), np.zeros(2, np.int32), "3 inputs and 2 answers"),
        (np.zeros((0, 1), np.float32), np.zeros(0, np.int32), "0 inputs"),
        (np.zeros((2, 1)), np.zeros(2, np.int32), "float64"),
        (np.full((2, 1), np.nan, np.float32), np.zeros(2, np.int32), "not finite"),
    ],
)
def test_rows_that_cannot_be_are_refused(x: np.ndarray, y: np.ndarray, words: str) -> None:
    """A reader's mistake is found where it was made."""
    with pytest.raises(ZooError, match=words):
        Rows(x=x, y=y)
