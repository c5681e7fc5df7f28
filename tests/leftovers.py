"""Ends what a process of the tests has started and left behind, however it ended itself: by Ctrl-C or SIGKILL too.

    pytest ── starts, with a mark in its environment ──> servers, in sessions of their own too
       └──── a pipe ──> this module, a process: at the end of the pipe it kills all that have the mark

Each worker of pytest-xdist has a mark of its own. Linux alone: others have no /proc to find them in.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

#: The variable whose value is the mark; what a marked process starts inherits it.
MARK = "ZOO_TESTS"

#: How long processes have to end by themselves, and how long new ones are looked for.
GRACE_SECONDS, LAST_SECONDS = 2.0, 10.0

#: How often it is looked whether the parent lives, in case a fork of it holds the pipe open.
LOOK_SECONDS = 1.0


def pytest_configure(config: pytest.Config) -> None:
    """Watch over a process of pytest that runs tests (tests/conftest.py, or `-p tests.leftovers`)."""
    if sys.platform == "linux" and not config.option.collectonly:
        watch_over_children()


def watch_over_children() -> None:
    """Mark all that this process starts from now on, and have it ended after this process."""
    mark = f"{os.getpid()}.{time.monotonic_ns()}"
    read_end, _ = os.pipe()  # nobody closes the other end before this process has ended
    os.posix_spawn(  # not subprocess.Popen, which warns of a process that is never waited for
        sys.executable,
        [sys.executable, "-IS", __file__, mark],
        {name: value for name, value in os.environ.items() if name != MARK},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, read_end, 0),
            *((os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)),
        ],
        setsid=True,
    )
    os.close(read_end)
    os.environ[MARK] = mark


def marked(mark: str) -> list[int]:
    """Return the processes that were started with a mark and have not ended."""
    variable = f"{MARK}={mark}".encode()
    pids = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                if variable in (place / "environ").read_bytes().split(b"\0"):
                    pids.append(int(place.name))
    return pids


def end_marked(mark: str) -> None:
    """Wait for the processes with a mark to end by themselves, and kill those that do not."""
    grace = time.monotonic() + GRACE_SECONDS
    while marked(mark) and time.monotonic() < grace:
        time.sleep(0.1)
    last = time.monotonic() + LAST_SECONDS
    while (pids := marked(mark)) and time.monotonic() < last:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def main(mark: str) -> None:
    """Wait for the end of the parent, and then end what it left."""
    parent = os.getppid()
    while os.getppid() == parent:
        if select.select([0], [], [], LOOK_SECONDS)[0]:
            break
    end_marked(mark)


if __name__ == "__main__":
    main(sys.argv[1])
