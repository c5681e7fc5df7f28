"""Test vectors beside a model file, in the layout of ONNX's own node tests.

    test_data_set_0/input_0.pb  output_0.pb      one TensorProto a file, in the graph's order

Outputs are Keras's answers, so that the vectors say what the model should give, not what one
runtime happened to give.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from google.protobuf.message import DecodeError

from zoo.errors import MissingPackage, UsageError
from zoo.parity.compare import Arrays, Case
from zoo_server.repository import layout

FOLDER_PREFIX = layout.VECTORS_PREFIX


def write_vectors(folder: Path, cases: Sequence[Case]) -> None:
    """Write each case as one test_data_set_N below `folder`."""
    numpy_helper = _onnx().numpy_helper
    for number, case in enumerate(cases):
        target = folder / f"{FOLDER_PREFIX}{number}"
        target.mkdir()
        for kind, arrays in (("input", case.feeds), ("output", case.expected)):
            for position, (name, array) in enumerate(arrays.items()):
                proto = numpy_helper.from_array(np.ascontiguousarray(array), name=name)
                (target / f"{kind}_{position}.pb").write_bytes(proto.SerializeToString())


def read_vectors(model: Path) -> tuple[Case, ...]:
    """Return the cases beside a model file, in order; none if there are none.

    Raises UsageError naming the file that cannot be read.
    """
    folders = [path for path in model.parent.glob(f"{FOLDER_PREFIX}*") if path.is_dir()]
    return tuple(
        Case(name=folder.name, feeds=_read(folder, "input"), expected=_read(folder, "output"))
        for folder in sorted(folders, key=layout.number_at_end)
    )


def _read(folder: Path, kind: str) -> Arrays:
    """Read the tensors of one kind from one folder."""
    onnx = _onnx()
    arrays = {}
    for path in sorted(folder.glob(f"{kind}_*.pb"), key=layout.number_at_end):
        try:
            proto = onnx.TensorProto.FromString(path.read_bytes())
            arrays[proto.name] = onnx.numpy_helper.to_array(proto)
        except (DecodeError, ValueError, TypeError) as error:
            raise UsageError(f"{path} is not a TensorProto: {error}") from error
    if not arrays:
        raise UsageError(f"{folder} holds no {kind}_0.pb")
    return arrays


def _onnx() -> ModuleType:
    """Import onnx, which a machine that only serves does not have."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingPackage("onnx", "reading and writing test vectors") from error
    return onnx
