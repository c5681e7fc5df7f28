"""Keeps the order of answers where runs of one model overlap (`preserve_ordering`)."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from zoo_server.schedulers.member import M

R = TypeVar("R")


class AnswerOrder(Generic[M, R]):
    """Lets the answers of runs that overlapped leave in the order in which the runs were taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Runs under way, oldest first, with their outcomes once they have them.
        self._open: deque[tuple[list[M], list[R | Exception]]] = deque()

    def enter(self, batch: list[M]) -> None:
        """Note a run that begins."""
        self._open.append((batch, []))

    def leave(
        self,
        batch: list[M],
        outcomes: Sequence[R | Exception],
        answer: Callable[[list[M], Sequence[R | Exception]], None],
    ) -> None:
        """Note a finished run, and answer all whose turn it is."""
        with self._lock:
            next(entry for entry in self._open if entry[0] is batch)[1].extend(outcomes)
            while self._open and self._open[0][1]:
                answer(*self._open.popleft())
