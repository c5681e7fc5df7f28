"""The sequence batcher: a sequence's requests in order, one at a time, with its state.

    request ──> its sequence busy? ──wait──┐
                     └─ no ──> controls and state added ──> the batcher ──> answer, new state ──┘

Requests of different sequences still share runs. A sequence lives from its START to its END, or until
it was silent for too long; beyond the bound on live ones, new sequences wait until another ends. One of
which nothing was run, since its callers left or came too late, takes no place. The
rules and stems are Triton's sequence batcher's (docs/protocol.md 2.4 and 5.2). "direct" and "oldest"
differ in the row of a batch that a sequence gets, which no answer shows.
"""

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from zoo_server.errors import (
    Cancelled,
    DeadlineExpired,
    InvalidRequest,
    QueueFull,
    Unavailable,
)
from zoo_server.model_config import Sequences
from zoo_server.schedulers.member import Member
from zoo_server.schedulers.scheduler import UNBOUNDED, Runner, Scheduler
from zoo_server.schedulers.sequence_inputs import Array, SequenceId, SequenceInputs
from zoo_server.schedulers.timer import Timer

_LOG = logging.getLogger(__name__)

#: Requests of all models that may wait behind others of their sequence, or for a sequence to end,
#: where none of them holds a thread.
MOST_WAITING = 65_536

#: What a request is refused with that was not run.
_NOT_RUN = (Cancelled, DeadlineExpired, Unavailable)


class SequenceMember(Member, Protocol):
    """One request of a sequence."""

    #: Of the request: `sequence_id`, `sequence_start` and `sequence_end` are looked at.
    parameters: Mapping[str, Any]
    #: For the batcher's own use.
    sequence: Any

    def add_inputs(self, arrays: Mapping[str, Array]) -> None:
        """Take more inputs than the caller sent."""

    def fail(self, error: Exception) -> None:
        """Answer the request with an error."""


M = TypeVar("M", bound=SequenceMember)
M_contra = TypeVar("M_contra", bound=SequenceMember, contravariant=True)
R = TypeVar("R")

#: Returns what a run gave one of its members for an output of the graph.
OutputOf = Callable[[R, str], Array]


class _Sequence(Generic[M]):
    """One live sequence."""

    def __init__(self, sequence_id: SequenceId) -> None:
        self.id = sequence_id
        self.state: dict[str, Array] = {}
        self.waiting: deque[tuple[M, bool, bool]] = deque()
        self.busy = False
        #: Whether any of its requests was run.
        self.began = False
        self.ends = False
        self.last_ns = time.perf_counter_ns()


class SequenceBatcher(Generic[M, R]):
    """Lets a model's requests through in the order and with the state of their sequences (Scheduler)."""

    def __init__(
        self,
        model: str,
        sequences: Sequences,
        runner: Runner[M, R],
        batcher: "Callable[[Runner[M, R]], FollowingScheduler[M]]",
        *,
        batched: bool,
        output_of: OutputOf[R],
        timer: Timer,
        waiting: threading.Semaphore,
    ) -> None:
        """`batcher` returns what runs the requests whose turn it is.

        `waiting` has a place for each request that may wait, of this model or another.
        """
        self._model = model
        self._settings = sequences
        self._inputs = SequenceInputs(model, sequences, batched=batched)
        self._batched = batched
        self._output_of = output_of
        self._timer = timer
        self._lock = threading.Lock()
        #: The longest silent one first.
        self._live: OrderedDict[SequenceId, _Sequence[M]] = OrderedDict()
        self._backlog: OrderedDict[SequenceId, _Sequence[M]] = OrderedDict()
        self._places = waiting
        self._batcher = batcher(_StatefulRunner(runner))

    @property
    def waiting(self) -> int:
        """How many requests wait for a run; not those that wait for others of their sequence."""
        return self._batcher.waiting

    @property
    def running(self) -> int:
        """How many runs are under way."""
        return self._batcher.running

    @property
    def live(self) -> int:
        """How many sequences have begun and not ended."""
        return len(self._live)

    @property
    def postponed(self) -> int:
        """How many requests that are still wanted wait for others of their sequence, or for one to end."""
        with self._lock:
            sequences = (*self._live.values(), *self._backlog.values())
            waiting = (member for sequence in sequences for member, _, _ in sequence.waiting)
            return sum(not member.is_gone() for member in waiting)

    def submit(
        self, members: Sequence[M], inline_budget_ns: int = UNBOUNDED, *, stays: bool = False
    ) -> None:
        """Take requests; each is run once it is its turn (Scheduler.submit).

        It fails with InvalidRequest without an id, or without START on the first; with Unsupported
        for too long an id; with QueueFull if too many wait.
        """
        ready: list[M] = []
        for member in members:
            try:
                ready += self._enter(member)
            except Exception as error:
                member.fail(error)
        if ready:
            self._batcher.submit(ready, inline_budget_ns, stays=stays)

    def check(self, member: M) -> None:
        """Raise what a request would be refused with if it came now (Scheduler.check)."""
        self._batcher.check(member)

    def _enter(self, member: M) -> list[M]:
        """Take a request; return it if it may be scheduled now."""
        parameters = member.parameters
        sequence_id = parameters.get("sequence_id", 0)
        start = bool(parameters.get("sequence_start", False))
        end = bool(parameters.get("sequence_end", False))
        self._inputs.check(sequence_id, member.rows)
        with self._lock:
            self._expire()
            sequence = self._live.get(sequence_id) or self._backlog.get(sequence_id)
            if sequence is None:
                if not start:
                    raise self._must_start(sequence_id)
                sequence = self._begin(sequence_id)
            return self._queue(sequence, member, start, end)

    def _must_start(self, sequence_id: SequenceId) -> InvalidRequest:
        return InvalidRequest(
            f"inference request for sequence {sequence_id} to model '{self._model}' must specify "
            "the START flag on the first request of the sequence"
        )

    def _begin(self, sequence_id: SequenceId) -> _Sequence[M]:
        sequence: _Sequence[M] = _Sequence(sequence_id)
        if len(self._live) < self._settings.most:
            self._live[sequence_id] = sequence
        else:
            self._backlog[sequence_id] = sequence
            self._watch()
        return sequence

    def _queue(self, sequence: _Sequence[M], member: M, start: bool, end: bool) -> list[M]:
        if sequence.busy or sequence.waiting or sequence.id in self._backlog:
            if not self._places.acquire(blocking=False):
                if not (sequence.busy or sequence.waiting):
                    self._backlog.pop(sequence.id, None)  # nothing of it is left
                raise QueueFull("Exceeds maximum queue size")
            sequence.waiting.append((member, start, end))
            return []
        return [self._prepared(sequence, member, start, end)]

    # -- what a request gets -------------------------------------------------------------------

    def _prepared(self, sequence: _Sequence[M], member: M, start: bool, end: bool) -> M:
        """Give a request its controls and state; the sequence is busy until it is answered."""
        if start:
            sequence.state = {}
        arrays, grown = self._inputs.arrays(sequence.id, sequence.state, start=start, end=end)
        member.add_inputs(arrays)
        if grown:  # runs are shared by states of one shape
            member.key = (member.key, *grown)
        # The request leads back here, and not what runs it: an unloaded model must not be in a circle.
        member.sequence = self, sequence
        sequence.busy, sequence.ends = True, end
        return member

    def _fail(self, lost: Iterable[tuple[M, Exception]]) -> None:
        for member, error in lost:
            try:
                member.fail(error)
            except Exception:
                _LOG.exception("a request could not be refused")

    # -- what an answer changes ----------------------------------------------------------------

    def keep(self, sequence: _Sequence[M], outcome: R) -> None:
        """Take the new state out of a run."""
        for state in self._settings.states:
            array = self._output_of(outcome, state.output)
            # A copy of a row, or the whole batch would stay as long as it.
            sequence.state[state.input] = array.copy() if self._batched else array

    def leave(self, sequence: _Sequence[M], *, was_run: bool) -> None:
        """One request is answered: let in the sequence's next, or another sequence."""
        lost: list[tuple[M, Exception]] = []
        with self._lock:
            sequence.busy = False
            sequence.began |= was_run
            if not (sequence.began or sequence.waiting):
                sequence.ends = True
            sequence.last_ns = time.perf_counter_ns()
            ready: list[M] = []
            lost += self._late(sequence)
            if sequence.waiting:
                ready.append(self._next_of(sequence))
            elif sequence.ends:
                self._live.pop(sequence.id, None)
                ready = self._promote(lost)
            elif sequence.id in self._live:
                self._live.move_to_end(sequence.id)
        self._fail(lost)
        if ready:
            self._batcher.follow(ready)

    def _late(self, sequence: _Sequence[M]) -> list[tuple[M, Exception]]:
        """Take out those who came after the end of the sequence, and begin no other."""
        late: list[tuple[M, Exception]] = []
        while sequence.ends and sequence.waiting and not sequence.waiting[0][1]:
            late.append((sequence.waiting.popleft()[0], self._must_start(sequence.id)))
            self._places.release()
        return late

    def _left(self, sequence: _Sequence[M]) -> list[tuple[M, Exception]]:
        """Take out those in front whose callers left; what others of the sequence wait for goes on."""
        left: list[tuple[M, Exception]] = []
        while sequence.waiting and sequence.waiting[0][0].is_gone():
            error = Cancelled("the caller hung up before the request was run")
            left.append((sequence.waiting.popleft()[0], error))
            self._places.release()
        return left

    def _next_of(self, sequence: _Sequence[M]) -> M:
        self._places.release()
        return self._prepared(sequence, *sequence.waiting.popleft())

    def _promote(self, lost: list[tuple[M, Exception]]) -> list[M]:
        """Let those in who waited for a place and still want it; the others are added to `lost`."""
        ready = []
        while self._backlog and len(self._live) < self._settings.most:
            sequence_id, sequence = self._backlog.popitem(last=False)
            lost += self._left(sequence)
            if sequence.waiting:
                self._live[sequence_id] = sequence
                ready.append(self._next_of(sequence))
        return ready

    def _expire(self) -> None:
        """Forget who has been silent for too long; the lock is held."""
        limit = time.perf_counter_ns() - self._settings.idle_ns
        silent = []
        for sequence in self._live.values():
            if sequence.last_ns > limit:
                break
            if not (sequence.busy or sequence.waiting):
                silent.append(sequence.id)
        for sequence_id in silent:
            del self._live[sequence_id]

    def _watch(self) -> None:
        """Sequences wait: look again when the longest silent one may have to go."""
        self._timer.at(time.perf_counter_ns() + self._settings.idle_ns, self._look)

    def _look(self) -> None:
        lost: list[tuple[M, Exception]] = []
        with self._lock:
            self._expire()
            ready = self._promote(lost)
            if self._backlog:
                self._watch()
        self._fail(lost)
        if ready:
            self._batcher.follow(ready)


class FollowingScheduler(Scheduler[M_contra], Protocol[M_contra]):
    """A scheduler that can also be given those who waited for others."""

    def follow(self, members: Sequence[M_contra]) -> None:
        """Take them; the running thread goes on with them, or a worker starts."""


class _StatefulRunner(Generic[M, R]):
    """Takes the state out of an answer before it leaves, and then lets the next one in (Runner)."""

    def __init__(self, runner: Runner[M, R]) -> None:
        self._runner = runner
        self.execute = runner.execute
        self.is_short_to_answer = runner.is_short_to_answer

    def answer(self, member: M, outcome: R) -> None:
        batcher, sequence = member.sequence
        batcher.keep(sequence, outcome)
        self._runner.answer(member, outcome)
        self._leave(member, was_run=True)

    def refuse(self, member: M, error: Exception) -> None:
        try:
            self._runner.refuse(member, error)
        finally:
            self._leave(member, was_run=not isinstance(error, _NOT_RUN))

    def _leave(self, member: M, *, was_run: bool) -> None:
        """Once: what fails after an answer is refused as well."""
        place, member.sequence = member.sequence, None
        if place is not None:
            batcher, sequence = place
            batcher.leave(sequence, was_run=was_run)
