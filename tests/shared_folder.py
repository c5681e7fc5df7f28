"""A folder that is built once, by whichever of pytest-xdist's workers comes first."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def shared_folder(
    factory: pytest.TempPathFactory, name: str, build: Callable[[Path], str]
) -> tuple[Path, str]:
    """Return the folder that `build` filled, and the text that it returned.

    The other workers wait for it. A build that raised fails in each of them, and is not repeated.
    """
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # each worker has a folder of its own in it
    folder, outcome = shared / name, shared / f"{name}.json"
    with (shared / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not outcome.exists():
            folder.mkdir()
            try:
                result = {"text": build(folder)}
            except Exception as error:
                result = {"error": f"{type(error).__name__}: {error}"}
            outcome.write_text(json.dumps(result))
        result = json.loads(outcome.read_text())
    if "error" in result:
        pytest.fail(f"{name}: {result['error']}", pytrace=False)
    return folder, result["text"]
