"""Answers requests of a model from the response cache, where they were answered before.

    request ──digest──> in the cache? ──yes──> answer
                             └─ no ──> the model's scheduler ──> its rows, copied into the cache ──> answer

A request's key is all that its answer can depend on: the loaded version, the names and shapes of its
inputs, their bytes, and the outputs that it wants. What is kept are the outputs' arrays, so that
each protocol encodes them as if they had just been computed.
"""

import hashlib
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np

from zoo_server import datatypes
from zoo_server.datatypes import DataType
from zoo_server.inference.execution import Rows, Run
from zoo_server.inference.plan import Data
from zoo_server.inference.queued_request import QueuedRequest
from zoo_server.inference.shared_memory import Source
from zoo_server.schedulers.response_cache import Key, ResponseCache
from zoo_server.schedulers.scheduler import UNBOUNDED, Answers, Runner, Scheduler
from zoo_server.telemetry.requests import RunObserver
from zoo_server.telemetry.statistics import ModelStatistics

#: Inputs of so many bytes have their digest in about a tenth of a millisecond; more are a worker's.
_SHORT_TO_DIGEST = 1 << 16

RequestAnswers = Answers[QueuedRequest, Rows]


class CachingScheduler:
    """Takes the requests of one model (zoo_server.schedulers.scheduler.Scheduler).

    A request that is found in the cache waits for nothing; so it is never refused beforehand.
    """

    #: For statistics and metrics.
    caches = True

    def __init__(
        self,
        cache: ResponseCache[Run],
        answers: RequestAnswers,
        scheduler: Callable[[RequestAnswers], Scheduler[QueuedRequest]],
        statistics: ModelStatistics,
        workers: Executor,
        *,
        in_order: bool = False,
        observer: RunObserver | None = None,
    ) -> None:
        """`scheduler` returns what runs the requests that are not in the cache, and how they are
        answered: by `answers`, once their outcomes are kept.

        `in_order`: an answer must not overtake those of earlier requests. `observer` hears of
        requests that were answered from the cache.
        """
        self._cache = cache
        self._answers = _InsertingAnswers(cache, answers, statistics)
        self._scheduler = scheduler(self._answers)
        self._statistics = statistics
        self._workers = workers
        self._in_order = in_order
        self._observer = observer

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return self._scheduler.waiting

    @property
    def running(self) -> int:
        """How many runs are under way."""
        return self._scheduler.running

    def check(self, member: QueuedRequest) -> None:
        """Refuse nothing: it may be in the cache."""

    def submit(
        self,
        members: Sequence[QueuedRequest],
        inline_budget_ns: int = UNBOUNDED,
        *,
        stays: bool = False,
    ) -> None:
        """Answer what is in the cache, and have the rest run; see Scheduler.submit."""
        if inline_budget_ns != UNBOUNDED and max(map(_nbytes, members)) > _SHORT_TO_DIGEST:
            self._workers.submit(self._submit, members, UNBOUNDED, stays=False)
        else:
            self._submit(members, inline_budget_ns, stays=stays)

    def _submit(
        self, members: Sequence[QueuedRequest], inline_budget_ns: int, *, stays: bool
    ) -> None:
        misses = [member for member in members if not self._answered(member, inline_budget_ns)]
        if misses:
            self._scheduler.submit(misses, inline_budget_ns, stays=stays)

    def _answered(self, member: QueuedRequest, inline_budget_ns: int) -> bool:
        """Tell whether a request needs no run: it is answered, or found to be wrong."""
        began_ns = member.queued_ns = time.perf_counter_ns()
        try:
            key = self._answers.key_of(member)
        except Exception as error:
            self._answers.refuse(member, error)
            return True
        run = self._cache.lookup(key)
        if run is None or (self._in_order and (self.waiting or self.running)):
            member.lookup = key, time.perf_counter_ns() - began_ns
            return False
        rows = Rows(run, 0, run.rows)
        if inline_budget_ns == UNBOUNDED or self._answers.is_short_to_answer([member], [rows]):
            self._answer(member, rows, began_ns)
        else:
            self._workers.submit(self._answer, member, rows, began_ns)
        return True

    def _answer(self, member: QueuedRequest, rows: Rows, began_ns: int) -> None:
        now = time.perf_counter_ns()
        self._statistics.record_hit(member.arrived_ns, began_ns, now)
        if self._observer is not None:
            self._observer.cached(member, now)
        try:
            member.answer(rows)
        except Exception as error:
            self._answers.refuse(member, error)


class CachedRunner:
    """The runs of a model whose answers are kept (Runner)."""

    def __init__(self, runner: Runner[QueuedRequest, Rows], answers: RequestAnswers) -> None:
        self.execute = runner.execute
        self.is_short_to_answer = answers.is_short_to_answer
        self.answer = answers.answer
        self.refuse = answers.refuse


class _InsertingAnswers:
    """Keeps what a run gave a request before it leaves (Answers).

    It does not know the scheduler that drives it: an unloaded model must not be in a circle.
    """

    def __init__(
        self, cache: ResponseCache[Run], answers: RequestAnswers, statistics: ModelStatistics
    ) -> None:
        self._cache = cache
        self._answers = answers
        self._statistics = statistics
        self._owner = cache.new_owner()
        weakref.finalize(self, cache.forget, self._owner).atexit = False
        self.is_short_to_answer = answers.is_short_to_answer
        self.refuse = answers.refuse

    def key_of(self, member: QueuedRequest) -> Key:
        """Return what stands for a request; InvalidRequest if a part of shared memory is gone.

        What lies in shared memory is read once and carried from then on: it may change, and would
        be kept as the answer to what was there before.
        """
        plan = member.plan
        if any(isinstance(data, Source) for data in member.data):
            member.data = [
                bytes(data.read()) if isinstance(data, Source) else data for data in member.data
            ]
        digest = hashlib.sha256(_raw(member.data[0])) if member.data else hashlib.sha256()
        for data in member.data[1:]:
            digest.update(_raw(data))
        return self._owner, (plan.key, plan.batch_size, plan.names, digest.digest())

    def answer(self, member: QueuedRequest, outcome: Rows) -> None:
        began_ns = time.perf_counter_ns()
        key, lookup_ns = member.lookup
        self._insert(key, member, outcome)
        self._statistics.record_miss(lookup_ns + time.perf_counter_ns() - began_ns)
        self._answers.answer(member, outcome)

    def _insert(self, key: Key, member: QueuedRequest, outcome: Rows) -> None:
        arrays = [outcome.array(name) for name in member.plan.names]
        nbytes = len(member.plan.key) + sum(_array_bytes(array) for array in arrays)
        if not self._cache.has_room(nbytes):
            return
        rows = outcome.end - outcome.begin if outcome.run.rows else 0
        try:
            # Copies, or the rows of others in the same run would stay as well.
            kept = Run(member.plan.names, [array.copy() for array in arrays], rows)
        except MemoryError:
            return  # the answer itself is there
        self._cache.insert(key, kept, nbytes)


def _nbytes(member: QueuedRequest) -> int:
    """Return about how many bytes a request's inputs have."""
    return max(member.nbytes, sum(planned.nbytes or 0 for planned in member.plan.inputs))


def _raw(data: Data) -> bytes | memoryview:
    """Return an input's bytes, of strings with their lengths: for all the same ones that it may come as."""
    if not isinstance(data, np.ndarray):
        assert not isinstance(data, Source)  # read by now
        return data
    if data.dtype.hasobject:
        return datatypes.to_raw(_STRINGS, data)
    return np.ascontiguousarray(data).reshape(-1).view(np.uint8).data


_STRINGS: DataType = datatypes.by_wire("BYTES")


def _array_bytes(array: np.ndarray) -> int:
    strings = sum(map(sys.getsizeof, array.flat)) if array.dtype.hasobject else 0
    return int(array.nbytes) + strings
