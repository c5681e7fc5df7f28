"""Makes files durable: what was flushed is still there after the machine has lost its power."""

import os
from pathlib import Path


def flush(path: Path) -> None:
    """Make a file or a folder's entries durable, so that a rename never outlives what it names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(folder: Path) -> None:
    """Make a folder with everything in it durable."""
    for path in [*folder.rglob("*"), folder]:
        flush(path)
