"""Waiting for what another thread or process is about to bring about, where no event tells of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Return once the condition holds; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not come about within {seconds} s"
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    """Whether a process has not ended (Linux); one that waits for its parent to collect it has."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
