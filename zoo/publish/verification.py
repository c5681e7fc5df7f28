"""The files that `zoo verify` holds against Keras: published ones, and any with test vectors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError
from zoo.parity.compare import Case, Policy, Tolerance
from zoo.parity.external_data import checksum
from zoo.parity.variants import variants_of
from zoo.parity.vectors import read_vectors
from zoo.publish.versions import intact_version
from zoo_server.repository import layout

if TYPE_CHECKING:
    from zoo.recipes.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedFile:
    """One ONNX file, the cases to run it on, and how its answers are judged.

    `title` tells it from the model's other files. One that is not published stands for a model that
    is called by its folder's path. `conditioning` says of an ill-conditioned model's file how it was
    proven, and so why its bound is wide.
    """

    model: str
    title: str
    path: Path
    cases: tuple[Case, ...]
    policy: Policy
    is_published: bool = False
    conditioning: str = ""

    @property
    def sha256(self) -> str:
        """Return the file's checksum, and that of its external data."""
        return checksum(self.path)


def published_files(repository: Path, name: str, known: Registry) -> list[VerifiedFile]:
    """Return the files of a model's latest version that are meant to be equal to Keras.

    Each is held to the bound that it was published under; where the model's rows decide for a
    class, the class counts too. A variant that is not meant to be equal is left to its checksum.
    Raises UsageError for a model that is not published, CheckFailed for one that is not whole.
    """
    manifest = intact_version(repository, name, known)
    argmax = manifest.values.get("task") == "multiclass"
    return [
        _file(
            manifest.folder / variant["file"],
            model=name,
            title=name if variant["file"] == layout.MODEL_FILE else f"{name}/{variant['file']}",
            policy=Policy(tolerance=Tolerance(**variant["tolerance"]), argmax=argmax),
            is_published=True,
            conditioning=variant.get("conditioning", {}).get("text", ""),
        )
        for variant in variants_of(manifest.values)
        if variant.get("exact")
    ]


def file_with_vectors(path: Path) -> VerifiedFile:
    """Return any ONNX file that has test vectors beside it; raises UsageError for another."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    return _file(path, model=os.fspath(path.parent), title=str(path), policy=Policy())


def _file(path: Path, **facts: Any) -> VerifiedFile:
    cases = read_vectors(path)
    if not cases:
        raise UsageError(f"{path} has no test vectors beside it (test_data_set_0/input_0.pb ...)")
    return VerifiedFile(path=path, cases=cases, **facts)
