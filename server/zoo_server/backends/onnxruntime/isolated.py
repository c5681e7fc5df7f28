"""A session in a process of its own, so that a crash in it ends no other (docs/serving.md).

    run ──> feeds ──socket──> isolated_process ──run──> outputs ──socket──> answer
                                    └─ ends ──> WorkerLost for this run; the next one starts another

One run at a time; the process is started with the load and again when it is needed, at once after its
first end and then after delays. It ends with the socket, so that none outlives its server.
"""

import logging
import signal
import threading
import time
import weakref
from collections.abc import Mapping, MutableSet, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from zoo_server.backends.onnxruntime.error_text import memory_reason
from zoo_server.backends.onnxruntime.model_process import ModelProcess, Spec
from zoo_server.backends.onnxruntime.process_messages import OUT_OF_MEMORY, Closed
from zoo_server.backends.onnxruntime.threads import ThreadLimiter
from zoo_server.datatypes import TensorSpec, by_wire
from zoo_server.errors import (
    MemoryExhausted,
    ModelLoadError,
    ServerError,
    ServerExiting,
    WorkerLost,
)
from zoo_server.inference.cancellation import Cancellation
from zoo_server.model_config import Isolation, SessionSettings
from zoo_server.schedulers.scheduler import WouldWait

_LOG = logging.getLogger(__name__)

#: Seconds before a process that has ended is started again, by how often it has in a row; the last is
#: that of all further ones.
_DELAYS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)

#: A process that has lived for so long did not end of how it was started.
_HEALTHY_SECONDS = 60.0

#: A run waits so long for the process to be started; one that would wait longer is refused.
_PATIENCE_SECONDS = 1.0


class IsolatedSession:
    """One loaded graph in another process (zoo_server.models.model_runtime.LoadedGraph)."""

    def __init__(
        self,
        path: Path,
        provider: str,
        threads: int,
        isolation: Isolation,
        limiter: ThreadLimiter,
        cancellation: Cancellation,
        settings: SessionSettings,
    ) -> None:
        """Start the process and load; ModelLoadError says why that cannot be."""
        self._path = path
        self._spec: Spec = (str(path), provider, threads, isolation.memory_bytes, settings)
        self._limiter = limiter
        self.threads = threads
        self._memory_bytes = isolation.memory_bytes
        #: Held by the run under way.
        self._lock = threading.Lock()
        self._is_closed = False
        self._deaths = 0
        #: How often another process has taken the place of one that had ended.
        self.restarts = 0
        self._not_before = 0.0
        self._process: ModelProcess | None = None
        self._finalizer: weakref.finalize[[], IsolatedSession] | None = None
        self._start(cancellation)

    def run(
        self,
        outputs: Sequence[str],
        feeds: Mapping[str, np.ndarray],
        *,
        waits: bool = True,
        cancellation: Cancellation | None = None,
    ) -> list[np.ndarray]:
        """Return the named outputs, in order; errors as Session.run's.

        WorkerLost if the process ends of it, or has ended too often to be started again by now. It may
        always have to wait: WouldWait without `waits`.
        """
        if not waits:
            raise WouldWait
        with self._limiter.taking(self.threads), self._lock:
            if self._is_closed:
                raise ServerExiting("Server exiting")
            if self._process is None:
                self._wait()
                self._start(cancellation or Cancellation())
                self.restarts += 1
            process = self._process
            assert process is not None
            if cancellation is not None:
                cancellation.on_cancel(process.cancel)
            try:
                return process.run(list(outputs), dict(feeds))
            except Closed:
                raise self._lost(process) from None

    def close(self) -> None:
        """End the process, a run under way with it; it is not started again."""
        self._is_closed = True
        finalizer = self._finalizer
        if finalizer is not None:
            finalizer()

    def _start(self, cancellation: Cancellation) -> None:
        process = ModelProcess(self._spec)
        cancellation.on_cancel(process.kill_unless_loaded)
        try:
            self.provider, inputs, outputs, self.traits, self.nodes = process.loaded()
        except Closed:
            raise self._lost(process) from None
        except ServerError:
            process.close()
            raise
        self.inputs, self.outputs = _of_this_process(inputs), _of_this_process(outputs)
        self._process = process
        self._finalizer = weakref.finalize(self, process.close)
        if self._is_closed:
            self._finalizer()

    def _wait(self) -> None:
        """Wait until the process may be started again; WorkerLost if that takes long."""
        left = self._not_before - time.monotonic()
        if left > _PATIENCE_SECONDS:
            raise WorkerLost(
                f"the model's own process has ended {self._deaths} times in a row, and is started again "
                f"in {left:.0f} s"
            )
        time.sleep(max(0.0, left))

    def _lost(self, process: ModelProcess) -> ServerError:
        """Take note of a process that has ended; return what its run's callers hear."""
        if self._finalizer is not None:
            self._finalizer.detach()
        self._process = None
        status, lived = process.close()
        if self._is_closed:
            return ServerExiting("Server exiting")
        ending = _in_words(status)
        self._deaths = 1 if lived >= _HEALTHY_SECONDS else self._deaths + 1
        delay = _DELAYS[min(self._deaths, len(_DELAYS)) - 1]
        self._not_before = time.monotonic() + delay
        place = f"{self._path.parent.parent.name}/{self._path.parent.name}"
        _LOG.error("the process of model %s %s: started again after %g s", place, ending, delay)
        if status == OUT_OF_MEMORY:
            return MemoryExhausted(memory_reason(None, self._memory_bytes))
        return WorkerLost(f"the model's own process {ending} while it ran the request")


def _in_words(status: int) -> str:
    """Say how a process ended."""
    if status < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
    if status == OUT_OF_MEMORY:
        return "ran out of memory"
    return f"ended with status {status}"


def _of_this_process(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """Return specs with the datatypes of this process's table, which are compared by identity."""
    return tuple(replace(spec, datatype=by_wire(spec.datatype.wire)) for spec in specs)


class IsolatedRuntime:
    """Opens graphs in processes of their own (zoo_server.models.model_runtime.GraphOpener)."""

    def __init__(
        self,
        version: str,
        provider: str,
        limiter: ThreadLimiter,
        isolation: Isolation,
        opened: MutableSet[IsolatedSession],
    ) -> None:
        """`opened` gets each session, for who has to close them."""
        self.version = version
        self._opened = opened
        self._provider = provider
        self._limiter = limiter
        self._isolation = isolation
        self.threads = limiter.threads

    def open(
        self, path: Path, threads: int, cancellation: Cancellation, settings: SessionSettings
    ) -> IsolatedSession:
        """Load a graph in a new process; ModelLoadError says why it cannot be served."""
        try:
            session = IsolatedSession(
                path,
                self._provider,
                threads,
                self._isolation,
                self._limiter,
                cancellation,
                settings,
            )
        except (MemoryExhausted, WorkerLost) as error:
            raise ModelLoadError(f"it cannot be loaded: {error}") from None
        self._opened.add(session)
        return session

    def isolated(self, isolation: Isolation) -> "IsolatedRuntime":
        """Return a runtime like this one with other limits."""
        return IsolatedRuntime(self.version, self._provider, self._limiter, isolation, self._opened)

    def close(self) -> None:
        """End the processes of all that are open."""
        for session in list(self._opened):
            session.close()
