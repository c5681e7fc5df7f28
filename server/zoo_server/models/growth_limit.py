"""Keeps a load from taking more memory than there is: it fails, and the process lives.

A graph of 300 bytes may ask for gigabytes. While models load, RLIMIT_DATA stands at what the process
has and what its cgroups and the machine still have: an allocation beyond it fails at once, which
onnxruntime reports. Memory that is reserved and never touched counts too, such as threads' stacks,
hence an allowance.
"""

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from zoo_server.telemetry import memory

#: Of what is available; the rest is for the requests that run meanwhile.
_SHARE = 0.9

#: For what is reserved and not touched: stacks of threads, arenas of malloc.
_ALLOWANCE = 512 << 20

#: How long a look at what is available counts: it reads a dozen files, and many models load one after the other.
#: What this process takes meanwhile counts against the limit anyway.
_LOOK_SECONDS = 0.1


class GrowthLimit:
    """Holds the limit for as long as any load runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loads = 0
        self._before = resource.RLIM_INFINITY
        #: The limit, None where nothing is known, and when that was found.
        self._limit: int | None = None
        self._looked = -_LOOK_SECONDS

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Apply the limit, as of about the moment when the latest load began."""
        with self._lock:
            if not self._loads:
                self._before, _ = resource.getrlimit(resource.RLIMIT_DATA)
            self._loads += 1
            if time.monotonic() - self._looked >= _LOOK_SECONDS:
                self._look()
            if self._limit is not None:
                self._set(self._limit)
        try:
            yield
        finally:
            with self._lock:
                self._loads -= 1
                if not self._loads:
                    self._set(self._before)

    def _look(self) -> None:
        available = memory.available_bytes()
        if available is None:
            self._limit = None
        else:
            self._limit = memory.data_bytes() + int(available * _SHARE) + _ALLOWANCE
        self._looked = time.monotonic()

    def _set(self, soft: int) -> None:
        """Set the soft limit, never above the one that was there."""
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limits = [limit for limit in (soft, self._before, hard) if limit != resource.RLIM_INFINITY]
        chosen = min(limits) if limits else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_DATA, (chosen, hard))
