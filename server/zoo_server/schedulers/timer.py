"""Wakes schedulers whose policy said "not yet": one thread for all, started on first use."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Timer:
    """Calls back at a moment of time.perf_counter_ns; callbacks must be quick and not raise."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None
        self._open = True

    def at(self, moment_ns: int, callback: Callable[[], None]) -> None:
        """Call back at a moment, from the timer's thread."""
        with self._changed:
            if not self._open:
                return
            heapq.heappush(self._due, (moment_ns, next(self._order), callback))
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="timer", daemon=True)
                self._thread.start()
            elif self._due[0][0] == moment_ns:
                self._changed.notify()

    def close(self) -> None:
        """Forget what is due, and end the thread."""
        with self._changed:
            self._open = False
            self._due.clear()
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _serve(self) -> None:
        while True:
            with self._changed:
                if not self._open:
                    return
                left = (self._due[0][0] - time.perf_counter_ns()) / 1e9 if self._due else None
                if left is None or left > 0:
                    self._changed.wait(left)
                    continue
                _, _, callback = heapq.heappop(self._due)
            callback()
            del callback  # or an unloaded model would stay until another's turn
