"""The dynamic batcher: a request that finds its model idle runs at once, with all that wait.

    submit ──> queue ──take──> run here ──> take again …   until none waits
                          └──> run on a worker, where it may take long

There is no dispatcher thread and no added delay: a request that finds the model idle is run by the
thread that brought it. A thread that must not be held (a transport's loop) says how long it may be:
a run that is expected to take longer, one that would have to wait for threads to compute with, and
answers that are large go to a worker. A thread that brought one request does not stay to run those of
others, but leaves them to a worker once its own is answered.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from zoo_server.errors import ExecutionError, Overloaded, ServerError, Unavailable
from zoo_server.model_config import Batching
from zoo_server.schedulers.answer_order import AnswerOrder
from zoo_server.schedulers.backlog import Backlog, check_deadline, hint_ms
from zoo_server.schedulers.batch_queue import RequestQueue
from zoo_server.schedulers.latency_model import LatencyModel
from zoo_server.schedulers.member import Decision, M, units_of
from zoo_server.schedulers.scheduler import UNBOUNDED, Runner, WouldWait
from zoo_server.schedulers.timer import Timer

_LOG = logging.getLogger(__name__)

#: Between two searches of a full queue for requests that need not be run.
_SEARCH_NS = 10_000_000

#: Requests that came together, from which on one look at all of them is less than one at each.
_WORTH_ONE_LOOK = 3

R = TypeVar("R")


class DynamicBatcher(Generic[M, R]):
    """Turns the requests of one model into runs, at most `instances` at a time (Scheduler)."""

    def __init__(
        self,
        batching: Batching,
        runner: Runner[M, R],
        latency: LatencyModel,
        workers: Executor,
        timer: Timer,
        most_waiting: int = 0,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """`runner` reports the duration of its runs to `latency`.

        `most_waiting`: how many requests may wait where the configuration gives no bound, 0 for any
        number.
        """
        self._batching = batching
        self._clock = clock
        self._runner = runner
        self.latency = latency
        self._workers = workers
        self._timer = timer
        self._queue: RequestQueue[M] = RequestQueue(batching, most_waiting, latency.usual_ns)
        self._backlog = Backlog()
        #: When the queue was last searched for requests that need not be run.
        self._searched_ns = 0
        self._lock = threading.Lock()
        self._nothing: Decision[M] = Decision()
        self._instances = batching.instances
        self._running = 0
        #: Threads that will look at the queue again once they have answered.
        self._answering = 0
        self._woken_at = 0
        #: Whether a request that finds nobody waiting may be run as it is.
        self._direct = self._queue.is_simple and not batching.preserves_order
        self._order: AnswerOrder[M, R] | None = (
            AnswerOrder() if batching.preserves_order and batching.instances > 1 else None
        )

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """How many runs are under way."""
        return self._running

    def submit(
        self, members: Sequence[M], inline_budget_ns: int = UNBOUNDED, *, stays: bool = False
    ) -> None:
        """Queue requests that arrived together, and run what can be run now (Scheduler.submit)."""
        now = self._clock()
        runs = UNBOUNDED if stays else 1
        full: list[tuple[M, Exception]] = []
        with self._lock:
            alone = len(members) == 1 and self._running < self._instances
            if alone and self._direct and not len(self._queue) and not members[0].is_gone():
                # The common case: no other request waits, and there is nothing to decide.
                self._running += 1
                self._backlog.begin(units_of(members[0]), now)
                members[0].queued_ns = now
            else:
                alone = False
                if not self._push_all(members, now):
                    for member in members:
                        self._push(member, now, full)
        if alone:
            runs = self._place([members[0]], inline_budget_ns, runs)
        for member, error in full:
            self._refuse(member, error)
        if not alone or (runs >= 0 and len(self._queue)):
            self._drive(inline_budget_ns, runs)

    def follow(self, members: Sequence[M]) -> None:
        """Queue requests that may run now: the running thread goes on with them, or a worker starts."""
        now = self._clock()
        full: list[tuple[M, Exception]] = []
        with self._lock:
            for member in members:
                self._push(member, now, full)
            idle = not (self._running or self._answering)
        for member, error in full:
            self._refuse(member, error)
        if idle:
            self._workers.submit(self._drive, UNBOUNDED, UNBOUNDED)

    def check(self, member: M) -> None:
        """Raise what a request would be refused with if it came now (Scheduler.check)."""
        now = self._clock()
        with self._lock:
            try:
                self._expected_wait_ns(member, now)
            except Unavailable as error:
                self._complete(error, member, now)
                raise

    def _expected_wait_ns(self, member: M, now: int) -> int:
        """Return how long a request would wait, if that matters; raise if its answer would be late."""
        if self._running < self._instances and not len(self._queue):
            return 0
        if self._queue.is_simple and not member.deadline_ns:
            return 0  # nothing depends on it
        units = self._queue.units_before(member)
        return self._wait_behind_ns(member, units, self._queue.first_deadline_ns(), now)

    def _wait_behind_ns(self, member: M, units: int, first_ns: int, now: int) -> int:
        """Return how long a request would wait behind so many units; raise if its answer would be late.

        `first_ns` is the deadline of those that leave next, 0 without one.
        """
        in_time = most = self._most_units(member)
        if self._batching.joins and first_ns:
            in_time = self._backlog.units_in_time(first_ns - now, now)
        next_run = min(in_time, most)
        runs = 0 if units < next_run else 1 + (units - next_run) // most
        wait_ns = self._backlog.wait_ns(units, runs, now)
        if member.deadline_ns:
            left_ns = member.deadline_ns - now
            check_deadline(left_ns, wait_ns, self.latency.usual_ns(member.size))
            if in_time <= units and in_time < most:
                # The first in the queue has no time for more; with a second run behind it, its next
                # would have no time for many, and so on: small runs, one after the other.
                raise Overloaded(
                    f"the answer would be late: {units} wait, and there is time for {in_time}",
                    retry_ms=hint_ms(wait_ns),
                )
        return wait_ns

    def _most_units(self, member: M) -> int:
        """Return the most units of a run of requests like this one."""
        if not self._batching.joins:
            return units_of(member)
        if not member.size:  # it is not read yet
            return self._batching.max_rows
        rows = max(1, min(self._batching.max_rows, self.latency.most_rows) // member.rows)
        return member.size * rows

    def _push_all(self, members: Sequence[M], now: int) -> bool:
        """Queue like requests that came together, if all of them are plainly let in; else do nothing.

        None waits for longer than the last, nor has less time than the one whose deadline is the first: what
        that one would be told at the end of the queue is asked once for all. The lock is held.
        """
        if not self._queue.is_simple or len(members) < _WORTH_ONE_LOOK:
            return False
        urgent = members[0]
        size, rows = urgent.size, urgent.rows
        for member in members:
            if member.size != size or member.rows != rows:
                return False
            deadline_ns = member.deadline_ns
            if deadline_ns and not 0 < urgent.deadline_ns <= deadline_ns:
                urgent = member
        if urgent.deadline_ns:
            units = self._queue.units_before(urgent) + (len(members) - 1) * units_of(urgent)
            first_ns = self._queue.first_deadline_ns() or urgent.deadline_ns
            try:
                self._wait_behind_ns(urgent, units, min(first_ns, urgent.deadline_ns), now)
            except ServerError:
                return False
        return self._queue.push_all(members, now)

    def _push(self, member: M, now: int, refused: list[tuple[M, Exception]]) -> None:
        """Queue a request, or refuse it; those who have left make room first. The lock is held."""
        try:
            try:
                self._queue.push(member, now, self._expected_wait_ns(member, now))
            except Unavailable:
                if not self._make_room(now, refused):
                    raise
                self._queue.push(member, now, self._expected_wait_ns(member, now))
        except ServerError as error:
            if isinstance(error, Unavailable):
                self._complete(error, member, now)
            refused.append((member, error))

    def _complete(self, error: Unavailable, member: M, now: int) -> None:
        """Say in a refusal when to try again, and what is full for everybody. The lock is held."""
        if not error.retry_ms:
            units = self._queue.units_before(member)
            error.retry_ms = hint_ms(self._backlog.wait_ns(units, 1, now))
        if not self._batching.levels:
            error.waiting = len(self._queue) + 1

    def _make_room(self, now: int, refused: list[tuple[M, Exception]]) -> bool:
        """Take out the requests that need not be run; False if there are none, or it is too soon."""
        if now - self._searched_ns < _SEARCH_NS:
            return False
        self._searched_ns = now
        lost = self._queue.remove_lost(now)
        refused += lost
        return bool(lost)

    def _drive(self, inline_budget_ns: int, runs: int) -> None:
        """Run what waits: up to `runs` batches here, the rest on a worker."""
        while True:
            decision = self._next()
            for member, error in decision.refused:
                self._refuse(member, error)
            batch = decision.batch
            if not batch:
                return
            runs = self._place(batch, inline_budget_ns, runs)
            if runs < 0:
                return

    def _place(self, batch: list[M], inline_budget_ns: int, runs: int) -> int:
        """Run a batch here and return how many more may be run, or send it to a worker: -1."""
        size = batch[0].size if len(batch) == 1 else sum([member.size for member in batch])
        if runs > 0 and (
            inline_budget_ns == UNBOUNDED
            or self.latency.measured_ns(size, batch[0].key) <= inline_budget_ns
        ):
            waits = inline_budget_ns == UNBOUNDED
            try:
                self._run(batch, waits=waits)
            except WouldWait:
                pass
            else:
                return runs - 1
        # This batch holds its instance already; the worker goes on from there.
        self._workers.submit(self._go_on, batch)
        return -1

    def _go_on(self, batch: list[M]) -> None:
        self._run(batch, waits=True)
        self._drive(UNBOUNDED, UNBOUNDED)

    def _next(self) -> Decision[M]:
        """Take a batch and an instance for it, or arrange to be asked again."""
        with self._lock:
            if self._running >= self._instances or not len(self._queue):
                return self._nothing
            now = self._clock()
            backlog = self._backlog
            decision = self._queue.take(
                now, self.latency.most_rows, backlog.units_in_time, backlog.most_known
            )
            if decision.batch:
                self._running += 1
                self._backlog.begin(_units(decision.batch), now)
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

    def _run(self, batch: list[M], *, waits: bool) -> None:
        """Run a batch and answer it; WouldWait, with nothing done, if it may not wait and must."""
        outcomes: Sequence[R | Exception]
        try:
            outcomes = self._runner.execute(batch, waits=waits)
        except WouldWait:
            raise
        # Whatever it is, the model goes on, and every caller is answered.
        except BaseException as error:
            _LOG.exception("a run failed outside of the graph")
            failure = error if isinstance(error, Exception) else ExecutionError(repr(error))
            outcomes = [failure] * len(batch)
        with self._lock:
            self._running -= 1
            self._answering += 1
            waiting = len(self._queue) > 0
            # Where one run is under way at a time, it is the one that ends.
            units = None if self._instances == 1 else _units(batch)
            self._backlog.end(units, self._clock(), waiting=waiting)
        if waits or self._runner.is_short_to_answer(batch, outcomes):
            self._answer(batch, outcomes)
        else:
            self._workers.submit(self._answer_and_go_on, batch, outcomes)

    def _answer_and_go_on(self, batch: list[M], outcomes: Sequence[R | Exception]) -> None:
        self._answer(batch, outcomes)
        self._drive(UNBOUNDED, UNBOUNDED)

    def _answer(self, batch: list[M], outcomes: Sequence[R | Exception]) -> None:
        try:
            if self._order is None:
                self._answer_each(batch, outcomes)
            else:
                self._order.leave(batch, outcomes, self._answer_each)
        finally:
            with self._lock:
                self._answering -= 1

    def _answer_each(self, batch: list[M], outcomes: Sequence[R | Exception]) -> None:
        for member, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self._refuse(member, outcome)
                continue
            try:
                self._runner.answer(member, outcome)
            except Exception as error:  # one answer's fault is not its neighbours'
                _LOG.exception("an answer could not be given")
                self._refuse(member, error)

    def _refuse(self, member: M, error: Exception) -> None:
        try:
            self._runner.refuse(member, error)
        except Exception:
            _LOG.exception("a request could not be refused")


def _units(batch: list[M]) -> int:
    return units_of(batch[0]) if len(batch) == 1 else sum([units_of(member) for member in batch])
