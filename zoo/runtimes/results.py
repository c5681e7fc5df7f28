"""Saves what was measured in other runtimes: one record for all models, and a part beside each model.

    build/compat/compat.json            all models
    REPOSITORY/MODEL/compat.json        one model's own part
    REPOSITORY/MODEL/RUNTIMES.md        the same for people

The last two stand beside config.pbtxt and not in a version's folder, since a published version
never changes, and what runs it does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from zoo.errors import UsageError
from zoo.files import atomic_write, json_bytes, locked
from zoo.publish import repository as publish
from zoo.runtimes.environments import LOCK_FILE
from zoo.runtimes.page import model_page
from zoo.runtimes.record import CompatibilityRecord

RECORD_FILE, PAGE_FILE = "compat.json", "RUNTIMES.md"


def save_record(
    record: CompatibilityRecord, root: Path, repository: Path, *, say: Callable[[str], None]
) -> CompatibilityRecord:
    """Merge the record into the one on disk, write each model's part; return what it says of them.

    A repository that cannot be written keeps its old pages, and `say` gets a line about it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / LOCK_FILE):
        whole = read_record(root).merged(record)
        atomic_write(root / RECORD_FILE, record_text(whole))
    current = whole.only([item.sha256 for item in record.files])
    for model in dict.fromkeys(item.model for item in record.files):
        part = current.of_model(model)
        documents = {RECORD_FILE: record_text(part), PAGE_FILE: model_page(part, model).encode()}
        try:
            publish.write_beside(repository, model, documents)
        except OSError as error:
            say(f"{repository / model}: {error.strerror or error}: {PAGE_FILE} is not written")
    return current


def read_record(root: Path) -> CompatibilityRecord:
    """Return what was measured before, an empty record if there is none.

    Raises UsageError for a file that is no such record.
    """
    path = root / RECORD_FILE
    try:
        return CompatibilityRecord.from_json(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return CompatibilityRecord()
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{path} is not a record of runtimes ({error}): remove it") from error


def record_text(record: CompatibilityRecord) -> bytes:
    """Return the record as the bytes of its file."""
    return json_bytes(record.to_json())
