"""Converts the INPUT of `zoo predict` to the model's input tensors.

INPUT is numbers, JSON, or the path of a .npy, .json, .csv or image file; `-` reads standard input.
What the model takes (shape, type, image conventions) comes from the server, never from disk.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import UsageError
from zoo_proto import model_config_pb2
from zoo_server import datatypes

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One input of a model; dims exclude the batch if `batched`, -1 is a variable dimension."""

    name: str
    dtype: np.dtype[Any]
    dims: tuple[int, ...]
    batched: bool
    image_mode: str | None = None
    image_range: tuple[float, float] = (0.0, 255.0)


def specs(config: model_config_pb2.ModelConfig) -> tuple[InputSpec, ...]:
    """Return what a model takes, from its configuration."""
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    low, high = parameters.get("image_range", "0 255").split()
    return tuple(
        InputSpec(
            name=tensor.name,
            dtype=datatypes.by_config(model_config_pb2.DataType.Name(tensor.data_type)).numpy,
            dims=tuple(tensor.dims),
            batched=config.max_batch_size > 0,
            image_mode=parameters.get("image_mode"),
            image_range=(float(low), float(high)),
        )
        for tensor in config.input
    )


def read_input(
    text: str, inputs: Sequence[InputSpec], *, invert: bool = False
) -> dict[str, np.ndarray]:
    """Return the tensors to send, batch first.

    `invert` swaps dark and bright in an image file. Raises UsageError with the expected and the
    actual sizes if the values do not fit.
    """
    values = _read(text, inputs[0], invert)
    if isinstance(values, Mapping):
        missing = [spec.name for spec in inputs if spec.name not in values]
        unknown = [name for name in values if name not in {spec.name for spec in inputs}]
        if missing or unknown:
            wanted = ", ".join(spec.name for spec in inputs)
            raise UsageError(f"the model's inputs are {wanted}, not {', '.join(values)}")
        return {spec.name: fit(values[spec.name], spec) for spec in inputs}
    if len(inputs) > 1:
        wanted = ", ".join(f'"{spec.name}": ...' for spec in inputs)
        raise UsageError(f"the model has {len(inputs)} inputs: give a JSON object {{{wanted}}}")
    return {inputs[0].name: fit(values, inputs[0])}


def fit(values: Any, spec: InputSpec) -> np.ndarray:
    """Return values as the input's type and shape: one row, several rows, or flat numbers."""
    try:
        array = np.asarray(values, dtype=spec.dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"input {spec.name} takes {spec.dtype} values: {error}") from error
    if not spec.batched:
        if _matches(array.shape, spec.dims):
            return array
        raise UsageError(f"input {spec.name} is {list(spec.dims)}, not {list(array.shape)}")
    if _matches(array.shape, spec.dims):
        return array[None]
    if _matches(array.shape[1:], spec.dims):
        return array
    if -1 not in spec.dims:
        size = prod(spec.dims)
        rows_fit = array.ndim == 2 and array.shape[1] == size
        if rows_fit or (array.ndim <= 1 and array.size and array.size % size == 0):
            return array.reshape(-1, *spec.dims)
    elif spec.dims.count(-1) == 1 and array.ndim == 1 and array.size:
        size = -prod(spec.dims)
        if array.size % size == 0:
            return array.reshape(1, *spec.dims)  # one row, as long as it is
    wanted = " × ".join("any" if dim == -1 else str(dim) for dim in spec.dims)
    actual = " × ".join(map(str, array.shape)) or "one value"
    raise UsageError(f"input {spec.name} takes {wanted} values a row, not {actual}")


def _matches(shape: tuple[int, ...], dims: tuple[int, ...]) -> bool:
    return len(shape) == len(dims) and all(b in (-1, a) for a, b in zip(shape, dims, strict=True))


def _read(text: str, spec: InputSpec, invert: bool) -> Any:
    """Return the values as nested lists, an array, or an object of them."""
    if text == "-":
        return _parse_bytes(sys.stdin.buffer.read(), "standard input", spec, invert)
    path = Path(text)
    if re.search(r"\.[A-Za-z]+$", text) and not text.lstrip().startswith(("[", "{")):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {text}: {error.strerror}") from error
        return _parse_bytes(content, text, spec, invert)
    return _parse_text(text, "INPUT")


def _parse_bytes(content: bytes, source: str, spec: InputSpec, invert: bool) -> Any:
    """Parse a file's content, by what it is rather than by its name."""
    if content.startswith(b"\x93NUMPY"):
        try:
            return np.load(io.BytesIO(content), allow_pickle=False)
        except ValueError as error:
            raise UsageError(f"{source}: {error}") from error
    if source.lower().endswith(IMAGE_SUFFIXES) or b"\x00" in content[:1024]:
        return _image(content, source, spec, invert)
    try:
        return _parse_text(content.decode(), source)
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is neither text, a .npy array nor an image") from error


def _parse_text(text: str, source: str) -> Any:
    """Parse JSON, CSV (a header line is skipped), or plain numbers."""
    if text.lstrip().startswith(("[", "{")):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(f"{source} is not JSON: {error}") from error
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and not _numeric(lines[0]):
        lines = lines[1:]
    rows = [_numbers(line, source) for line in lines]
    if not rows:
        raise UsageError(f"{source} holds no numbers")
    if len({len(row) for row in rows}) > 1:
        raise UsageError(f"{source}: rows have {sorted({len(row) for row in rows})} values")
    return rows[0] if len(rows) == 1 else rows


def _numbers(line: str, source: str) -> list[float]:
    cells = next(csv.reader([line])) if "," in line else line.split()
    try:
        return [float(cell) for cell in cells]
    except ValueError as error:
        raise UsageError(f"{source}: {error}: give numbers, JSON or a file") from error


def _numeric(line: str) -> bool:
    return bool(re.match(r"\s*[-+.\d]", line)) or line.strip().lower().startswith(("nan", "inf"))


def _image(content: bytes, source: str, spec: InputSpec, invert: bool) -> np.ndarray:
    """Decode an image into the model's size, mode and value range."""
    if spec.image_mode is None or len(spec.dims) != 3:
        raise UsageError(f"{source} is an image, and the model does not take images")
    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError as error:
        raise UsageError("reading image files needs Pillow: pip install Pillow") from error
    rows, columns, _ = spec.dims
    try:
        picture = Image.open(io.BytesIO(content)).convert(spec.image_mode)
    except (UnidentifiedImageError, OSError) as error:
        raise UsageError(f"{source} is not an image that can be read: {error}") from error
    if (columns, rows) != picture.size:
        picture = picture.resize((columns, rows), Image.Resampling.BOX)
    pixels = np.asarray(picture, dtype=np.float32).reshape(spec.dims) / 255.0
    low, high = spec.image_range
    return low + (1.0 - pixels if invert else pixels) * (high - low)
