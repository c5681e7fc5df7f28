"""Gives memory back that a load or a burst of requests needed: glibc keeps what is freed, one heap a thread.

Once the process is larger by _WORTH_IT than after the last time, and no call is under way, malloc_trim returns
the pages that nothing uses, a few times. Where the C library has none (musl, macOS), nothing is done.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

LOOK_SECONDS = 0.5

#: The growth, in bytes, for which it is worth a trim, which takes milliseconds.
_WORTH_IT = 1 << 25

#: How often a trim is tried after that: calls that were refused are freed after the others.
_TRIES = 8


class MemoryTrimmer:
    """To be asked to `look` every LOOK_SECONDS, on a thread that nobody waits for."""

    def __init__(
        self,
        is_idle: Callable[[], bool],
        resident: Callable[[], int] | None = None,
        trim: Callable[[], object] | None = None,
    ) -> None:
        """`is_idle` tells whether no call is under way.

        `resident` returns the process's resident memory in bytes, and `trim` gives back what it can.
        """
        self._is_idle = is_idle
        self._resident = resident or _resident
        self._trim = trim or _malloc_trim()
        #: What the process needs, as far as is known: at first nothing is, for the models that were just
        #: loaded have left behind what reading them took.
        self._least = 0
        self._tries = 0

    def look(self) -> None:
        """Give memory back if it is worth it."""
        resident = self._resident()
        self._least = min(self._least, resident)
        if resident - self._least >= _WORTH_IT:
            self._tries = _TRIES
        if self._trim is None or not self._tries or not self._is_idle():
            return
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


def _malloc_trim() -> Callable[[], object] | None:
    """Return glibc's function, None where there is another C library."""
    try:
        function = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    function.argtypes = [ctypes.c_size_t]
    return lambda: function(0)
