"""The shell around a model's queue: whoever finds the model idle runs at once with whatever waits.

    submit ──> queue ──take──> run here ──> take again …   until nobody waits
                          └──> run on a worker, where a run may take long

There is no dispatcher thread and no added delay: a request that finds the model idle is run by the
thread that brought it. A thread that must not be held (a transport's loop) says how long a run it
bears, and longer ones go to a worker; a thread that brought one request does not stay to run those
of others, but leaves them to a worker once its own is answered.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Generic, Protocol, TypeVar

from zoo_server.errors import QueueFull
from zoo_server.model_config import Batching
from zoo_server.schedulers.batch_queue import Decision, M, RequestQueue
from zoo_server.schedulers.timer import Timer

R = TypeVar("R")

#: What a caller's own thread bears: it waits for its answer anyway.
UNBOUNDED = 2**63


class Executes(Protocol[M, R]):
    """What the scheduler drives; none of these may raise."""

    def expected_ns(self, rows: int) -> int:
        """Return how long a run of so many rows will take, as far as is known."""

    def most_rows(self) -> int:
        """Return how many rows are worth running together, as far as is known."""

    def execute(self, batch: list[M]) -> Sequence[R]:
        """Run a batch; return what comes of it for each member, in order."""

    def answer(self, batch: list[M], outcomes: Sequence[R]) -> None:
        """Give each member what came of it."""

    def refuse(self, member: M, error: Exception) -> None:
        """Answer one member with an error."""


class Scheduler(Generic[M, R]):
    """Turns the requests of one model into runs, at most `instances` at a time."""

    def __init__(
        self, batching: Batching, model: Executes[M, R], workers: Executor, timer: Timer
    ) -> None:
        self._model = model
        self._workers = workers
        self._timer = timer
        self._queue: RequestQueue[M] = RequestQueue(batching)
        self._lock = threading.Lock()
        self._nothing: Decision[M] = Decision()
        self._instances = batching.instances
        self._running = 0
        #: Threads that will look at the queue again once they have answered.
        self._answering = 0
        self._woken_at = 0
        #: Whether a request that finds nobody waiting may be run as it is.
        self._direct = self._queue.is_simple and not batching.preserves_order
        self._order: _Order[M, R] | None = (
            _Order(model) if batching.preserves_order and batching.instances > 1 else None
        )

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return len(self._queue)

    def submit(self, members: Sequence[M], bears_ns: int, *, stays: bool) -> None:
        """Queue requests that arrived together, and run what can be run now.

        `bears_ns`: the longest run this thread may be held for. `stays`: whether it may go on with
        requests that others brought meanwhile. Each member is answered exactly once, by any thread.
        """
        now = time.perf_counter_ns()
        runs = UNBOUNDED if stays else 1
        full: list[tuple[M, Exception]] = []
        with self._lock:
            alone = len(members) == 1 and self._running < self._instances
            if alone and self._direct and not len(self._queue) and not members[0].is_gone():
                # The way of most requests: nobody waits, and there is nothing to decide.
                self._running += 1
                members[0].queued_ns = now
            else:
                alone = False
                for member in members:
                    try:
                        self._queue.push(member, now)
                    except QueueFull as refusal:
                        full.append((member, refusal))
        if alone:
            runs = self._place([members[0]], bears_ns, runs)
        for member, error in full:
            self._model.refuse(member, error)
        if not alone or (runs >= 0 and len(self._queue)):
            self._drive(bears_ns, runs)

    def follow(self, members: Sequence[M]) -> None:
        """Queue requests that others made way for: whoever runs goes on with them, or a worker."""
        now = time.perf_counter_ns()
        with self._lock:
            for member in members:
                self._queue.push(member, now)
            idle = not (self._running or self._answering)
        if idle:
            self._workers.submit(self._drive, UNBOUNDED, UNBOUNDED)

    def _drive(self, bears_ns: int, runs: int) -> None:
        """Run what waits: up to `runs` batches here, the rest on a worker."""
        while True:
            decision = self._next()
            for member, error in decision.refused:
                self._model.refuse(member, error)
            batch = decision.batch
            if not batch:
                return
            runs = self._place(batch, bears_ns, runs)
            if runs < 0:
                return

    def _place(self, batch: list[M], bears_ns: int, runs: int) -> int:
        """Run a batch here and return how many more may be run, or send it to a worker: -1."""
        rows = batch[0].rows if len(batch) == 1 else sum([member.rows for member in batch])
        if runs <= 0 or self._model.expected_ns(rows) > bears_ns:
            # This batch holds its instance already; the worker goes on from there.
            self._workers.submit(self._go_on, batch)
            return -1
        self._run(batch)
        return runs - 1

    def _go_on(self, batch: list[M]) -> None:
        self._run(batch)
        self._drive(UNBOUNDED, UNBOUNDED)

    def _next(self) -> Decision[M]:
        """Take a batch and an instance for it, or arrange to be asked again."""
        with self._lock:
            if self._running >= self._instances or not len(self._queue):
                return self._nothing
            decision = self._queue.take(time.perf_counter_ns(), self._model.most_rows())
            if decision.batch:
                self._running += 1
                if self._order is not None:
                    self._order.enter(decision.batch)
            again = decision.ask_again_ns
            if again is not None and again != self._woken_at:
                self._woken_at = again
                self._timer.at(again, self._wake)
        return decision

    def _wake(self) -> None:
        """The timer's call: the work itself is a worker's."""
        self._workers.submit(self._drive, UNBOUNDED, UNBOUNDED)

    def _run(self, batch: list[M]) -> None:
        outcomes = self._model.execute(batch)
        with self._lock:
            self._running -= 1
            self._answering += 1
        if self._order is None:
            self._model.answer(batch, outcomes)
        else:
            self._order.leave(batch, outcomes)
        with self._lock:
            self._answering -= 1


class _Order(Generic[M, R]):
    """Lets the answers of runs that overlapped leave in the order in which the runs were taken."""

    def __init__(self, model: Executes[M, R]) -> None:
        self._model = model
        self._lock = threading.Lock()
        #: Runs under way, oldest first, with their outcomes once they have them.
        self._open: deque[tuple[list[M], list[R]]] = deque()

    def enter(self, batch: list[M]) -> None:
        self._open.append((batch, []))

    def leave(self, batch: list[M], outcomes: Sequence[R]) -> None:
        """Note a finished run, and answer all whose turn it is."""
        with self._lock:
            next(entry for entry in self._open if entry[0] is batch)[1].extend(outcomes)
            while self._open and self._open[0][1]:
                self._model.answer(*self._open.popleft())
