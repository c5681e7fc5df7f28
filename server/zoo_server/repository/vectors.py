"""Reads the test vectors in a version's folder: inputs and expected outputs.

VERSION/test_data_set_N/input_0.pb … output_0.pb …    ONNX's own layout, one TensorProto a file
VERSION/manifest.json                                 how near the answers must be, if the zoo made it
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo_server.errors import ModelLoadError
from zoo_server.repository import layout
from zoo_server.repository.confinement import Confinement
from zoo_server.repository.tensor_file import parse_tensor

#: Of one file each; a protobuf message cannot be larger.
MAX_TENSOR_BYTES = 2**31 - 1
MAX_MANIFEST_BYTES = 16 << 20

#: (name, which may be empty, elements), in the graph's order.
NamedTensors = tuple[tuple[str, np.ndarray], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """|delta| <= scaled * max|expected| + relative * |expected|, element by element.

    The default is for a file whose maker gave no tolerance: twice what zoo/parity/compare.py allows, where
    the reason stands.
    """

    scaled: float = 1e-4
    relative: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """One test_data_set_N."""

    name: str
    inputs: NamedTensors
    outputs: NamedTensors


def read_vectors(confinement: Confinement, version: Path) -> tuple[Vectors, ...]:
    """Return a version's test vectors by number; none if it has none.

    ModelLoadError names the file that cannot be read.
    """
    folders = [path for path in version.glob(f"{layout.VECTORS_PREFIX}*") if path.is_dir()]
    return tuple(
        Vectors(
            name=folder.name,
            inputs=_read(confinement, folder, "input"),
            outputs=_read(confinement, folder, "output"),
        )
        for folder in sorted(folders, key=layout.number_at_end)
    )


def _read(confinement: Confinement, folder: Path, kind: str) -> NamedTensors:
    tensors = []
    for path in sorted(folder.glob(f"{kind}_*.pb"), key=layout.number_at_end):
        try:
            what = f"{folder.name}/{path.name}"
            tensors.append(parse_tensor(confinement.read(path, what, MAX_TENSOR_BYTES)))
        except ValueError as error:
            raise ModelLoadError(f"{folder.name}/{path.name}: {error}") from None
    if not tensors:
        raise ModelLoadError(f"{folder.name} holds no {kind}_0.pb")
    return tuple(tensors)


def read_tolerance(confinement: Confinement, model: Path) -> Tolerance | None:
    """Return how near a model file's answers must be: as its manifest says, else the default.

    None if the manifest says that this file is not meant to be equal.
    """
    try:
        file = model.parent / layout.MANIFEST_FILE
        manifest = json.loads(confinement.read(file, layout.MANIFEST_FILE, MAX_MANIFEST_BYTES))
        own = [variant for variant in manifest.get("variants", ()) if variant["file"] == model.name]
        facts = own[0] if own else manifest
        if not facts.get("exact", True):
            return None
        tolerance = facts["tolerance"]
        return Tolerance(scaled=float(tolerance["scaled"]), relative=float(tolerance["relative"]))
    except (ModelLoadError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Tolerance()  # no manifest, or somebody else's
