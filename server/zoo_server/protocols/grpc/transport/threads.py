"""A thread pool for handlers that block, which grows while calls wait for a thread.

    submit ──> queue ──> a thread takes the call
                  └──> nobody took one for a while, and some wait: twice as many threads

A fixed number would let idle streams, or requests that wait for another of their sequence, keep
everybody else out; a thread for each call would cost those that are only many, and soon answered.
"""

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

_LOG = logging.getLogger(__name__)

#: How long calls may wait without any being taken, before there are more threads.
_PATIENCE_SECONDS = 0.02

Task = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class GrowingThreads(Executor):
    """An executor of `least` threads, and of up to `most` as long as those are all held.

    A thread that was started stays until the shutdown.
    """

    def __init__(self, least: int, most: int, name: str) -> None:
        self._least = least
        self._most = max(least, most)
        self._name = name
        self._lock = threading.Lock()
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        #: Grows with each call taken; only whether it does is looked at, so no lock guards it.
        self._task_count = 0
        #: The threads that have a call.
        self._busy: set[int] = set()
        self._thread_needed = threading.Event()
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"{name}-watch", daemon=True)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Run a function on one of the threads, after those before it."""
        future: Future[Any] = Future()
        self._tasks.put((future, fn, args, kwargs))
        if len(self._threads) < self._least:
            self._grow(1, self._least)
        elif not self._thread_needed.is_set():
            self._thread_needed.set()
        return future

    def are_busy(self) -> bool:
        """Tell whether calls wait or are under way."""
        return bool(self._busy) or not self._tasks.empty()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads go once what waits has been run; `cancel_futures` is not offered."""
        with self._lock:
            self._closed.set()
            self._thread_needed.set()
            threads = list(self._threads)
        for _ in threads:
            self._tasks.put(None)
        if wait:
            for thread in threads:
                thread.join()

    def _grow(self, more: int, most: int) -> None:
        with self._lock:
            if not self._threads:
                self._watcher.start()
            for _ in range(min(more, most - len(self._threads))):
                if self._closed.is_set():
                    return
                # A daemon, or a handler that never returns would keep the process.
                thread = threading.Thread(
                    target=self._work, name=f"{self._name}_{len(self._threads)}", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:
                    _LOG.warning(
                        "no more than %d threads for calls can be started", len(self._threads)
                    )
                    self._most = len(self._threads)
                    return
                self._threads.append(thread)

    def _work(self) -> None:
        itself = threading.get_ident()
        while (task := self._tasks.get()) is not None:
            self._busy.add(itself)
            self._task_count += 1
            future, function, args, kwargs = task
            if future.set_running_or_notify_cancel():
                try:
                    result = function(*args, **kwargs)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            # Waiting for the next, it must not keep the last.
            del task, future, function, args, kwargs
            self._busy.discard(itself)

    def _watch(self) -> None:
        while not self._closed.is_set():
            self._thread_needed.wait()
            before = self._task_count
            self._closed.wait(_PATIENCE_SECONDS)
            waiting = self._tasks.qsize()
            if not waiting:
                self._thread_needed.clear()
                if self._tasks.qsize() or self._closed.is_set():  # since the look before
                    self._thread_needed.set()
            elif self._task_count == before:
                self._grow(min(waiting, len(self._threads)), self._most)
