"""Decides when memory that nothing uses is given back: some seconds after requests have ceased to come.

Once the process is larger by _WORTH_IT than after the last time, and no call has come for _QUIET looks, its free
pages are returned to the system, a few times; where calls never cease, between two of them, and seldom. A large
message that comes afterwards has its pages made while nobody else runs: 40 ms for 64 MB (bench/results/stall.md).
"""

import os
from collections.abc import Callable
from pathlib import Path

from zoo_server.malloc import heap

TRIM_SECONDS = 0.5

#: The growth, in bytes, for which it is worth a trim, which takes milliseconds.
_WORTH_IT = 1 << 25

#: How often a trim is tried after that: calls that were refused are freed after the others.
_TRIES = 8

#: Looks without a call after which none like the last is likely to come: ten seconds.
_QUIET = 20

#: Looks after which memory is given back although calls come: they will hardly need it any more.
_PATIENCE = 120


class MemoryTrimmer:
    """Gives memory back; `trim_if_idle` is to be called every TRIM_SECONDS, on a thread that nobody waits for."""

    def __init__(
        self,
        is_idle: Callable[[], bool],
        calls: Callable[[], int],
        resident: Callable[[], int] | None = None,
        trim: Callable[[], object] = heap.give_back,
    ) -> None:
        """`is_idle` tells whether no call is under way; `calls`, how many have come so far.

        `resident` returns the process's resident memory in bytes, and `trim` gives back what it can.
        """
        self._is_idle = is_idle
        self._calls = calls
        self._calls_before = calls()
        #: Looks since the last call.
        self._quiet = _QUIET
        #: Looks since there was something to give back.
        self._idle_looks = 0
        self._resident = resident or _resident
        self._trim = trim
        #: What the process needs, as far as is known: at first nothing is, for the models that were just
        #: loaded have left behind what reading them took.
        self._least = 0
        self._tries = 0

    def trim_if_idle(self) -> None:
        """Return free memory to the system if the process has grown and no call is under way."""
        calls = self._calls()
        self._quiet = self._quiet + 1 if calls == self._calls_before else 0
        self._calls_before = calls
        resident = self._resident()
        self._least = min(self._least, resident)
        if resident - self._least >= _WORTH_IT:
            self._tries = _TRIES
        if not self._tries:
            return
        self._idle_looks += 1
        if self._is_idle() and (self._quiet >= _QUIET or self._idle_looks > _PATIENCE):
            self._idle_looks = 0
            self._tries -= 1
            self._trim()
            self._least = self._resident()


def _resident() -> int:
    """Return the resident memory of this process; 0 where /proc does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
