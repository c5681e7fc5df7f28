"""Patches of scikit-learn's two sample photographs, labelled with the photograph.

Each photograph is cut into a grid of regions, and each region belongs to one split whole. Patches
overlap within a region only, so that no pixel is in two splits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zoo.datasets.dataset import Dataset, Rows, Splits
from zoo.errors import MissingPackage
from zoo_server.images.description import Image

SIDE, STRIDE = 32, 16
GRID_ROWS, GRID_COLUMNS = 4, 5

#: Of the grid's 20 regions: 12 train, 4 validate, 4 test.
REGIONS = (12, 4, 4)


def read(files: tuple[Path, ...]) -> Splits:
    """Cut `(rows, 32, 32, 3)` RGB patches, 0 to 255, out of the photographs; y is the file's number."""
    photographs = [_pixels(path) for path in files]
    parts = []
    for split in range(len(REGIONS)):
        x, y = [], []
        for label, pixels in enumerate(photographs):
            for chosen, top, left in patches(label, *pixels.shape[:2]):
                if chosen == split:
                    x.append(pixels[top : top + SIDE, left : left + SIDE])
                    y.append(label)
        parts.append(Rows(x=np.stack(x).astype(np.float32), y=np.array(y, np.int32)))
    return Splits(train=parts[0], validation=parts[1], test=parts[2])


def patches(label: int, height: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Yield (split, top, left) of every patch of photograph `label`; 0 train, 1 validate, 2 test."""
    owners = np.repeat(np.arange(len(REGIONS)), REGIONS)
    grid = np.random.default_rng([1, label]).permutation(owners).reshape(GRID_ROWS, GRID_COLUMNS)
    tall, wide = height // GRID_ROWS, width // GRID_COLUMNS
    for (row, column), split in np.ndenumerate(grid):
        for top in range(row * tall, (row + 1) * tall - SIDE + 1, STRIDE):
            for left in range(column * wide, (column + 1) * wide - SIDE + 1, STRIDE):
                yield int(split), top, left


def _pixels(path: Path) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """Return a JPEG's pixels `(height, width, 3)`."""
    try:
        from PIL import Image as Picture
    except ModuleNotFoundError as error:
        raise MissingPackage("Pillow", "reading photographs") from error
    with Picture.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


PHOTOGRAPHS = Dataset(
    name="photographs",
    title="Patches of two photographs: a temple in China, a flower",
    source="photographs by danielbuechele and vultilion (Flickr), as shipped in scikit-learn",
    licence="CC BY 2.0",
    package="sklearn",
    paths=("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    read=read,
    classes=("china", "flower"),
    image=Image(mode="RGB", size=(SIDE, SIDE), low=0, high=255),
)
