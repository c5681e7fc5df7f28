"""Calls a function at an interval, on a thread of its own, until it is stopped."""

import logging
import threading
from collections.abc import Callable

_LOG = logging.getLogger(__name__)


class PeriodicThread:
    """A thread that calls a function every so many seconds; an exception is logged, and the next call comes."""

    def __init__(self, name: str, call: Callable[[], None], seconds: float) -> None:
        self._name = name
        self._call = call
        self._seconds = seconds
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first call is one interval from now."""
        self._thread.start()

    def stop(self) -> None:
        """Call no more; a call under way is not waited for."""
        self._leave.set()

    def _run(self) -> None:
        while not self._leave.wait(self._seconds):
            try:
                self._call()
            except Exception:  # one failed call must not be the last
                _LOG.exception("%s failed", self._name)
