"""Loads side by side: a bounded number at once, each with a time limit, none waited for beyond it.

A load runs onnxruntime, which cannot be interrupted everywhere: a load whose time is over is told to
end, and then forgotten. Its thread no longer counts, and what it may still return is dropped.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as OutOfTime
from typing import TypeVar

from zoo_server.errors import ModelLoadError, ServerExiting
from zoo_server.inference.cancellation import Cancellation
from zoo_server.models.growth_limit import GrowthLimit

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


class LoadThreads:
    """Runs loads; all methods may be called from any thread."""

    def __init__(self, count: int, seconds: float) -> None:
        """At most `count` at a time, each for at most so many seconds."""
        self.count = count
        self._seconds = seconds
        self._slots = threading.Semaphore(count)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        #: Those that run, also the ones that are no longer waited for.
        self._under_way: set[Cancellation] = set()
        self._limit = GrowthLimit()
        self._open = True

    def run(self, load: Callable[[Cancellation], T]) -> T:
        """Return what `load` returns, or raise what it raises.

        ModelLoadError if it takes longer than the limit, ServerExiting if the server leaves.
        """
        outcome: Future[T] = Future()
        cancellation = Cancellation()

        def work() -> None:
            try:
                with self._limit.applied():
                    outcome.set_result(load(cancellation))
            except BaseException as error:
                outcome.set_exception(error)
            finally:
                with self._changed:
                    self._under_way.discard(cancellation)
                    self._changed.notify_all()

        with self._slots:
            with self._lock:
                if not self._open:
                    raise ServerExiting("Server exiting")
                self._under_way.add(cancellation)
            # A daemon: the interpreter must not wait at its end for what cannot be interrupted.
            threading.Thread(target=work, name="load", daemon=True).start()
            try:
                return outcome.result(self._seconds)
            except OutOfTime:
                if outcome.done():  # its own time-out, of a file system for instance
                    raise
                cancellation.cancel()
                raise ModelLoadError(
                    f"it did not load within {self._seconds:g} s (--model-load-timeout)"
                ) from None

    def run_each(self, loads: Iterable[Callable[[], None]]) -> threading.Event:
        """Call each, as many at a time as may load; return what is set once all are over.

        They run in order as far as they can; the first that raises ServerExiting is the last to begin.
        """
        waiting, over, lock = iter(loads), threading.Event(), threading.Lock()
        left = self.count

        def serve() -> None:
            nonlocal left
            try:
                while True:
                    with lock:
                        load = next(waiting, None)
                    if load is None:
                        return
                    try:
                        load()
                    except ServerExiting:
                        return
                    except Exception:  # the others are loaded all the same
                        _LOG.exception("a load failed outside of the model")
            finally:
                with lock:
                    left -= 1
                    if not left:
                        over.set()

        for _ in range(self.count):
            threading.Thread(target=serve, name="loads", daemon=True).start()
        return over

    def close(self, seconds: float) -> int:
        """Begin no more, tell those under way to end, and wait for that; return how many are left."""
        with self._lock:
            self._open = False
            under_way = list(self._under_way)
        for cancellation in under_way:
            cancellation.cancel()
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way, seconds)
            return len(self._under_way)
