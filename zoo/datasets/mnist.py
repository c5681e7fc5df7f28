"""MNIST, from the file that keras.datasets.mnist keeps: opt-in, since no package ships it.

Pixels are 0 (paper) to 255 (ink). Each digit was scaled into 20×20 with its proportions kept, and its
centre of mass put in the middle of 28×28.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from zoo.datasets.dataset import Dataset, Rows, Splits
from zoo.datasets.splitting import split_rows
from zoo.errors import UsageError
from zoo_server.images.description import Image, Ink

ARRAYS = ("x_train", "y_train", "x_test", "y_test")

#: Of the arrays' bytes in that order: the same however the file was packed.
CONTENT_SHA256 = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"

WRITTEN = Ink(canvas=28, box=(20, 20), fit="keep", centre="mass", binary=False, blocks=28)


def keras_home() -> Path:
    """Return the folder in which Keras keeps what it downloads."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def read_cached(files: tuple[Path, ...]) -> Splits:
    """Read Keras's own file; raises UsageError for one whose digits are not MNIST's."""
    arrays = _arrays(files[0])
    digest = hashlib.sha256()
    for name in ARRAYS:
        digest.update(np.ascontiguousarray(arrays[name], np.uint8).tobytes())
    if digest.hexdigest() != CONTENT_SHA256:
        raise UsageError(
            f"{files[0]} does not hold MNIST's digits: remove it, and let Keras download it again"
        )
    return _splits(arrays)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in ARRAYS}
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise UsageError(f"{path} is not MNIST's npz file: {error}") from error


def _splits(arrays: dict[str, np.ndarray]) -> Splits:
    """Return MNIST's own test split, and of the rest a fifth to validate on."""
    x, y = arrays["x_train"], arrays["y_train"].astype(np.int32)
    own = split_rows(x[..., None].astype(np.float32), y, seed=1)
    # split_rows holds out a validation and a test fifth; MNIST has a test split, so its fifth trains.
    train = Rows(
        x=np.concatenate([own.train.x, own.test.x]), y=np.concatenate([own.train.y, own.test.y])
    )
    x, y = arrays["x_test"], arrays["y_test"].astype(np.int32)
    test = Rows(x=x[..., None].astype(np.float32), y=y)
    return Splits(train=train, validation=own.validation, test=test)


MNIST = Dataset(
    name="mnist",
    title="MNIST handwritten digits",
    source="Y. LeCun, C. Cortes and C. J. C. Burges, 1998, through keras.datasets.mnist",
    licence="CC BY-SA 3.0",
    home=keras_home,
    obtain='python -c "import keras; keras.datasets.mnist.load_data()" downloads it, 11 MB',
    paths=("datasets/mnist.npz",),
    read=read_cached,
    classes=tuple(str(digit) for digit in range(10)),
    image=Image(mode="L", size=(28, 28), low=0, high=255, crop="ink", ink=WRITTEN),
)
