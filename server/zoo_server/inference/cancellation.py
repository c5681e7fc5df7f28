"""Tells work that is under way to end: a flag, and what to call when it is raised."""

import threading
from collections.abc import Callable


class Cancellation:
    """Raised once, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self._raised = False

    @property
    def raised(self) -> bool:
        """Whether the work is no longer wanted."""
        return self._raised

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call back when it is raised, at once if it was; callbacks must be quick and not raise."""
        with self._lock:
            if not self._raised:
                self._callbacks.append(callback)
                return
        callback()

    def cancel(self) -> None:
        """Raise it."""
        with self._lock:
            self._raised = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
