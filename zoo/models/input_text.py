"""Reads INPUT of the command line: numbers, JSON, or the path of a .npy, .json, .csv or image file."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import UsageError
from zoo.models.interface import InputSpec
from zoo_server.images import reading

#: What INPUT may be, for those who gave something else.
KINDS = "numbers, JSON, or a file (.npy, .json, .csv, text with numbers, an image)"

#: So much of an INPUT is repeated in an error.
SHOWN_CHARACTERS = 40


def read_text(text: str, spec: InputSpec) -> Any:
    """Return numbers, JSON or a file's values; `-` reads standard input.

    Raises UsageError for what is none of these, and for a file that cannot be read.
    """
    if text == "-":
        return read_bytes(sys.stdin.buffer.read(), "standard input", spec)
    if re.search(r"\.[A-Za-z]+$", text) and not text.lstrip().startswith(("[", "{")):
        return read_file(Path(text), spec)
    shown = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
    return _parse(text, f"INPUT {shown!r}")


def read_file(path: Path, spec: InputSpec) -> Any:
    """Return a file's values; an image becomes the input's own."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    return read_bytes(content, str(path), spec)


def read_bytes(content: bytes, source: str, spec: InputSpec) -> Any:
    """Return the values of a file's content, by what it is rather than by its name."""
    if content.startswith(b"\x93NUMPY"):
        try:
            return np.load(io.BytesIO(content), allow_pickle=False)
        except ValueError as error:
            raise UsageError(f"{source}: {error}") from error
    if source.lower().endswith(reading.SUFFIXES) or _is_image(content):
        if spec.image is None:
            raise UsageError(
                f"{source} is an image, and the input {spec.name} of this model does not take images"
            )
        try:
            return reading.values_of(reading.open_picture(content, source), spec.image)
        except reading.UnreadablePicture as error:
            raise UsageError(str(error)) from error
    try:
        return _parse(content.decode(), source)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{source} is neither text, a .npy array nor an image: give {KINDS}"
        ) from error


#: How the files begin whose formats browsers and cameras write.
_SIGNATURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")


def _is_image(content: bytes) -> bool:
    webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    return webp or content.startswith(_SIGNATURES)


def _parse(text: str, source: str) -> Any:
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
        raise UsageError(f"{source} was read as text, and holds no numbers: give {KINDS}")
    if len({len(row) for row in rows}) > 1:
        raise UsageError(f"{source}: rows have {sorted({len(row) for row in rows})} values")
    return rows[0] if len(rows) == 1 else rows


def _numbers(line: str, source: str) -> list[float]:
    cells = next(csv.reader([line])) if "," in line else line.split()
    try:
        return [float(cell) for cell in cells]
    except ValueError as error:
        raise UsageError(f"{source}: {error}: give {KINDS}") from error


def _numeric(line: str) -> bool:
    return bool(re.match(r"\s*[-+.\d]", line)) or line.strip().lower().startswith(("nan", "inf"))
