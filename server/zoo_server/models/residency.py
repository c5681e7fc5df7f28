"""Which models are in memory where not all fit: loaded when asked for, the least recently used evicted.

    find ──> dormant? ──> make room ──> load ──> resident ──idle for --keep-alive──> dormant
                              └── evict those that were used longest ago, and run nothing

A resident model counts as its graph's files, or as what the process grew by while it was loaded
(LoadedModel.memory_bytes). One that runs, has requests waiting or sequences alive is not evicted.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from zoo_server.errors import ModelLoadError, QueueFull
from zoo_server.inference.model import LoadedModel

_LOG = logging.getLogger(__name__)

#: Calls that may wait for models to be loaded: each holds a thread, and others need some.
_MOST_WAITING = 32


class Residency:
    """Decides what stays in memory; all methods may be called from any thread."""

    def __init__(
        self,
        budget: int,
        keep_alive: float,
        resident: Callable[[], list[LoadedModel]],
        evict: Callable[[str], None],
    ) -> None:
        """`budget` in bytes, 0 without a bound; `keep_alive` in seconds, 0 for ever.

        `resident` returns the loaded versions; `evict` takes a model out of memory.
        """
        self._budget = budget
        self._keep_alive = keep_alive
        self._resident = resident
        self._evict = evict
        self._lock = threading.Lock()
        self._reserved = 0
        self._places = threading.Semaphore(_MOST_WAITING)

    @contextmanager
    def waiting_call(self) -> Iterator[None]:
        """Count a call that waits for a load, for as long as the block runs; QueueFull beyond _MOST_WAITING."""
        if not self._places.acquire(blocking=False):
            raise QueueFull("as many requests wait for models to be loaded as may: try again later")
        try:
            yield
        finally:
            self._places.release()

    @contextmanager
    def reserved(self, name: str, size: int) -> Iterator[None]:
        """Reserve so many bytes for as long as the block runs, which loads a model; others may be evicted for it.

        ModelLoadError if it never fits, QueueFull if the others are in use.
        """
        if self._budget and size > self._budget:
            raise ModelLoadError(
                f"its files take {size} bytes, more than --model-memory allows for all models "
                f"({self._budget})"
            )
        with self._lock:
            self._make_room(size, name)
            self._reserved += size
        try:
            yield
        finally:
            with self._lock:
                self._reserved -= size
                self._trim(name)

    def evict(self, name: str) -> None:
        """Evict a model; requests under way end on it. One that could not be loaded again stays."""
        with self._lock:
            for model in self._by_use():
                if model.settings.name == name and not model.pinned:
                    self._evict_model(model, "makes room")
                    return

    def evict_unused(self) -> None:
        """Evict the models that nobody has asked for in the keep-alive time."""
        if not self._keep_alive:
            return
        limit = time.time_ns() - int(self._keep_alive * 1e9)
        with self._lock:
            for model in self._by_use():
                if model.used_ns < limit and _may_go(model):
                    self._evict_model(model, "was not used")

    def _make_room(self, size: int, name: str) -> None:
        if not self._budget:
            return
        for model in self._by_use():
            if self._used() + size <= self._budget:
                return
            if model.settings.name != name and _may_go(model):
                self._evict_model(model, "makes room")
        if self._used() + size > self._budget:
            raise QueueFull(
                f"no memory for model '{name}': what --model-memory allows is in use by models that "
                "run; try again later"
            )

    def _trim(self, name: str) -> None:
        """A model may take more than its files: then others go, never the one that just came."""
        for model in self._by_use() if self._budget else ():
            if self._used() <= self._budget:
                return
            if model.settings.name != name and _may_go(model):
                self._evict_model(model, "makes room")

    def _used(self) -> int:
        return self._reserved + sum(model.memory_bytes for model in self._resident())

    def _by_use(self) -> list[LoadedModel]:
        return sorted(self._resident(), key=lambda model: model.used_ns)

    def _evict_model(self, model: LoadedModel, why: str) -> None:
        _LOG.info("model '%s' is taken out of memory: it %s", model.settings.name, why)
        self._evict(model.settings.name)


def _may_go(model: LoadedModel) -> bool:
    return not (model.in_use or model.pinned)
