"""One change of a model at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class NameLocks:
    """A lock for each name that is in use."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._names: set[str] = set()

    @contextmanager
    def with_name(self, name: str) -> Iterator[None]:
        """Hold this model's lock: one change of a model at a time."""
        with self._changed:
            self._changed.wait_for(lambda: name not in self._names)
            self._names.add(name)
        try:
            yield
        finally:
            with self._changed:
                self._names.discard(name)
                self._changed.notify_all()
