"""Writes a Keras model beside its ONNX file, the same bytes for the same model."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

KERAS_FILE = "model.keras"

#: The earliest time that a zip file can say, in place of the hour at which it was written.
EPOCH = (1980, 1, 1, 0, 0, 0)


def write_keras(folder: Path, model: keras.Model) -> None:
    """Write `model.keras`, for `keras.saving.load_model`, without what differs from process to process.

    Keras puts the hour in the archive's entries and in metadata.json, and tells objects that are
    used twice by their addresses in memory.
    """
    path = folder / KERAS_FILE
    model.save(path)
    content = io.BytesIO()
    with zipfile.ZipFile(path) as saved, zipfile.ZipFile(content, "w") as archive:
        for name in sorted(saved.namelist()):
            data = saved.read(name)
            if name == "metadata.json":
                data = _undated(data)
            elif name == "config.json":
                data = json.dumps(_numbered(json.loads(data), {})).encode()
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data)
    path.write_bytes(content.getvalue())


def _undated(metadata: bytes) -> bytes:
    values = json.loads(metadata)
    values.pop("date_saved", None)
    return json.dumps(values, sort_keys=True).encode()


def _numbered(values: Any, numbers: dict[int, int]) -> Any:
    """Return a configuration whose shared objects are numbered in order in place of addresses."""
    if isinstance(values, list):
        return [_numbered(value, numbers) for value in values]
    if not isinstance(values, dict):
        return values
    return {
        key: numbers.setdefault(value, len(numbers) + 1)
        if key == "shared_object_id" and value is not None
        else _numbered(value, numbers)
        for key, value in values.items()
    }
