"""build/compat/compat.json: what was measured in other runtimes, on disk."""

from __future__ import annotations

import json
from pathlib import Path

from zoo.errors import UsageError
from zoo.publish.repository import sha256
from zoo.runtimes.compatibility import Record

RECORD_FILE = "compat.json"


def read_record(root: Path) -> Record:
    """Return what was measured before, an empty record if there is none.

    Raises UsageError for a file that is no such record.
    """
    path = root / RECORD_FILE
    try:
        return Record.from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return Record()
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{path} is not a record of runtimes ({error}): remove it") from error


def recorded(root: Path | None, folder: Path) -> Record:
    """Return what was measured of the ONNX files in a folder, by their bytes, for a model card.

    A record that cannot be read is as good as none here; `zoo verify --runtimes` says what is
    wrong with it.
    """
    try:
        known = Record() if root is None else read_record(root)
    except UsageError:
        known = Record()
    return known.only([sha256(path) for path in folder.glob("*.onnx")])


def record_text(record: Record) -> bytes:
    """Return the record as the bytes of its file."""
    return (json.dumps(record.to_json(), indent=2, ensure_ascii=False) + "\n").encode()
