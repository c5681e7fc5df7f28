"""Sets how much freed memory glibc keeps: much while requests come, little afterwards.

By itself it returns each block of more than 32 MB to the system as soon as it is freed, and has a heap for each
thread. The next message then gets new pages, and to make those takes several times as long as the copy into
them, with the interpreter's lock held (bench/results/stall.md). So there is one heap, and what is free at
its end is returned only above _KEPT.

Once the process is larger by _WORTH_IT than after the last time, and no call has come since the last look,
malloc_trim returns the pages that nothing uses, a few times; where calls never cease, between two of them, and
seldom. Where the C library has none (musl, macOS), nothing is done.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

TRIM_SECONDS = 0.5

#: The growth, in bytes, for which it is worth a trim, which takes milliseconds.
_WORTH_IT = 1 << 25

#: How often a trim is tried after that: calls that were refused are freed after the others.
_TRIES = 8

#: Looks after which memory is given back although calls come: they will hardly need it any more.
_PATIENCE = 20

#: What may stay free at the end of the heap, in bytes.
_KEPT = 1 << 29

#: Blocks from so many bytes on are mapped one by one, outside of the heap.
_MAPPED, _MAPPED_AT_MOST = 1 << 30, 1 << 25

#: glibc's parameters (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_freed_pages() -> None:
    """Let glibc use the pages of freed messages for those that follow; to be called before threads are started."""
    mallopt = _glibc("mallopt", ctypes.c_int, ctypes.c_int)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        # glibc before 2.35 allows no more than its heaps for threads could hold.
        if mallopt(_M_MMAP_THRESHOLD, _MAPPED) or mallopt(_M_MMAP_THRESHOLD, _MAPPED_AT_MOST):
            mallopt(_M_TRIM_THRESHOLD, _KEPT)


class MemoryTrimmer:
    """Calls malloc_trim; `trim_if_idle` is to be called every TRIM_SECONDS, on a thread that nobody waits for."""

    def __init__(
        self,
        is_idle: Callable[[], bool],
        calls: Callable[[], int],
        resident: Callable[[], int] | None = None,
        trim: Callable[[], object] | None = None,
    ) -> None:
        """`is_idle` tells whether no call is under way; `calls`, how many have come so far.

        `resident` returns the process's resident memory in bytes, and `trim` gives back what it can.
        """
        self._is_idle = is_idle
        self._calls = calls
        self._calls_before = calls()
        #: Looks since there was something to give back.
        self._waited = 0
        self._resident = resident or _resident
        self._trim = trim or _malloc_trim()
        #: What the process needs, as far as is known: at first nothing is, for the models that were just
        #: loaded have left behind what reading them took.
        self._least = 0
        self._tries = 0

    def trim_if_idle(self) -> None:
        """Return free memory to the system if the process has grown and no call is under way."""
        calls = self._calls()
        is_quiet, self._calls_before = calls == self._calls_before, calls
        resident = self._resident()
        self._least = min(self._least, resident)
        if resident - self._least >= _WORTH_IT:
            self._tries = _TRIES
        if self._trim is None or not self._tries:
            return
        self._waited += 1
        if self._is_idle() and (is_quiet or self._waited > _PATIENCE):
            self._waited = 0
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
    function = _glibc("malloc_trim", ctypes.c_size_t)
    return None if function is None else lambda: function(0)


def _glibc(name: str, *argument_types: type) -> Callable[..., int] | None:
    """Return a function of glibc's own, None where there is another C library."""
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return None
    function.argtypes = argument_types
    return cast("Callable[..., int]", function)
