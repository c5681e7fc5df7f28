"""Datasets: their files, source, licence, and three disjoint splits.

Packaged files are found through importlib and read directly: importing scikit-learn or statsmodels
for one CSV would cost seconds and many more imports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.errors import MissingPackage, UsageError, ZooError
from zoo_server.images.description import Image

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """One split: x float32 `(rows, …)`; y int32 `(rows,)` for classes, else float32 `(rows, …)`.

    `more_x` and `more_y` are what a model of several inputs or outputs takes and gives besides, by
    name, in the recipe's order.
    """

    x: Floats
    y: Floats | Labels
    more_x: Mapping[str, Floats] = field(default_factory=dict)
    more_y: Mapping[str, Floats | Labels] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for x, y in ((x, y) for x in self.inputs for y in self.answers):
            if len(x) != len(y) or not len(x):
                raise ZooError(f"a split holds {len(x)} inputs and {len(y)} answers")
            if x.dtype != np.float32 or y.dtype not in (np.float32, np.int32):
                raise ZooError(f"a split holds {x.dtype} and {y.dtype}: want float32, int32")
            if not (np.isfinite(x).all() and np.isfinite(y).all()):
                raise ZooError("a split holds values that are not finite")

    @property
    def inputs(self) -> tuple[Floats, ...]:
        """Return x and what else goes in, in the recipe's order."""
        return (self.x, *self.more_x.values())

    @property
    def answers(self) -> tuple[Floats | Labels, ...]:
        """Return y and what else should come out, in the recipe's order."""
        return (self.y, *self.more_y.values())

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Splits:
    """Train to fit, validation to choose by, test to report from: no row in two of them."""

    train: Rows
    validation: Rows
    test: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset's facts and the function that reads its files.

    `paths` are relative to the folder of `package` (an import name), to the folder that `home`
    returns, or to that of the file that defines `read`. Data in a `home` is optional: where it is
    not there, `obtain` says how to get it.
    """

    name: str
    title: str
    source: str
    licence: str
    paths: tuple[str, ...]
    read: Callable[[tuple[Path, ...]], Splits]
    package: str | None = None
    home: Callable[[], Path] | None = None
    obtain: str = ""
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    units: str = ""
    image: Image | None = None

    @property
    def code(self) -> Path:
        """Return the source file of the reader: the split is made there, so keys hash it."""
        return Path(self.read.__code__.co_filename)

    def files(self) -> tuple[Path, ...]:
        """Return the files that `load` reads; raises MissingPackage, UsageError."""
        files = self._own_files()
        for path in files:
            if not path.is_file() and self.home is not None:
                raise UsageError(f"{self.title}: there is no {path}: {self.obtain}")
            if not path.is_file():
                raise ZooError(
                    f"dataset {self.name}: {path} is missing: "
                    + (f"reinstall {self.package}" if self.package else "put it there")
                )
        return files

    @property
    def is_left_out(self) -> bool:
        """Tell whether this is optional data that is not on this machine."""
        return self.home is not None and not all(path.is_file() for path in self._own_files())

    def _own_files(self) -> tuple[Path, ...]:
        if self.home is not None:
            folder = self.home()
        elif self.package:
            folder = package_folder(self.package, self.title)
        else:
            folder = self.code.parent
        return tuple(folder / path for path in self.paths)

    def load(self) -> Splits:
        """Read the three splits; raises as `files` does, and what reading them raises."""
        return self.read(self.files())


@cache
def package_folder(package: str, purpose: str) -> Path:
    """Return the folder of a top-level package without importing it; raises MissingPackage."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackage(package, f"the data {purpose!r}")
    return Path(spec.submodule_search_locations[0])
