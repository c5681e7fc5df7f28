"""Ends runs for which nobody waits any more: their callers hung up, or the server leaves.

    run begins ──watched──> every 20 ms: are all of its callers gone? ──yes──> the backend ends it

One thread looks, and only at runs that last: a caller that goes is noticed by the wires (is_gone), so
that none of them has to find its run. A batch goes on for as long as one of its callers waits.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from zoo_server.errors import Cancelled, ExecutionError, ServerError, ServerExiting
from zoo_server.inference.cancellation import Cancellation

#: Between two looks; a run that was not there at the look before is left alone.
_LOOK_SECONDS = 0.02


class Caller(Protocol):
    """Who waits for a run."""

    def is_gone(self) -> bool:
        """Tell whether the caller no longer waits for the answer."""


class _Run(Cancellation):
    """One run under way."""

    def __init__(self, callers: Sequence[Caller]) -> None:
        super().__init__()
        self._callers = callers
        #: What its callers hear once it has been ended.
        self.cause: ServerError | None = None
        #: How often the watch has seen it.
        self.looks = 0

    def end(self, cause: ServerError) -> None:
        self.cause = self.cause or cause
        self.cancel()

    def is_abandoned(self) -> bool:
        return all(caller.is_gone() for caller in self._callers)


class RunWatch:
    """Knows the runs under way; its thread is started with the first, and looks while there are any."""

    def __init__(self) -> None:
        self._runs: set[_Run] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_open = True

    @contextmanager
    def watching(self, callers: Sequence[Caller]) -> Iterator[Cancellation]:
        """Watch over the run that the block is, for as long as it is.

        Cancelled if it failed because all of its callers are gone, ServerExiting if the server leaves.
        """
        run = _Run(callers)
        with self._changed:
            self._runs.add(run)
            if not self._is_open:
                run.end(_exiting())
            elif self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="run-watch", daemon=True)
                self._thread.start()
            elif len(self._runs) == 1:
                self._changed.notify()
        try:
            yield run
        except ExecutionError:
            if run.cause is None:
                raise
            raise run.cause from None
        finally:
            with self._changed:
                self._runs.discard(run)

    def close(self) -> int:
        """End every run under way, and those that begin later; return how many were under way."""
        with self._changed:
            self._is_open = False
            runs = list(self._runs)
            self._changed.notify()
        for run in runs:
            run.end(_exiting())
        return len(runs)

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._runs or not self._is_open)
                if not self._is_open:
                    return
                self._changed.wait(_LOOK_SECONDS)
            self._look()

    def _look(self) -> None:
        """Look once; nothing of it is kept, or an unloaded model would be."""
        with self._changed:
            lasting = [run for run in self._runs if run.looks]
            for run in self._runs:
                run.looks += 1
        for run in lasting:
            if run.cause is None and run.is_abandoned():
                run.end(Cancelled("the caller hung up, and its run was ended"))


def _exiting() -> ServerError:
    return ServerExiting("Server exiting")
