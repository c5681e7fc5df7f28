"""Requests that belong together: each sequence's in order, one at a time, with its state.

    request ──> its sequence busy? ──wait──┐
                     └─ no ──> controls and state added ──> the scheduler ──> answer, new state ──┘

Requests of different sequences still share runs. A sequence lives from its START to its END, or until
it was silent for too long; beyond the bound on live ones, new sequences wait until another ends. The
rules and stems are Triton's sequence batcher's (docs/protocol.md 2.4 and 5.2). "direct" and "oldest"
differ in the row of a batch that a sequence gets, which no answer shows.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from zoo_server.errors import InvalidRequest, QueueFull, Unsupported
from zoo_server.inference.execution import Rows
from zoo_server.inference.queued_request import Pending, Reply
from zoo_server.inference.validation import CheckedRequest, Data, PlannedInput
from zoo_server.model_config import Control, ControlKind, Sequences
from zoo_server.schedulers.timer import Timer

SequenceId = int | str

#: Requests of all models that may wait behind others of their sequence, or for a sequence to end,
#: where none of them holds a thread.
MOST_WAITING = 65_536

#: Triton's bound on a sequence's name.
LONGEST_NAME = 128


class _Sequence:
    """One live sequence."""

    def __init__(self, sequence_id: SequenceId) -> None:
        self.id = sequence_id
        self.state: dict[str, np.ndarray[Any, Any]] = {}
        self.waiting: deque[tuple[Pending, bool, bool]] = deque()
        self.busy = False
        self.ends = False
        self.last_ns = time.perf_counter_ns()


class SequenceGate:
    """Lets a model's requests through in the order and with the state of their sequences."""

    def __init__(
        self,
        model: str,
        sequences: Sequences,
        *,
        batched: bool,
        let_in: Callable[[list[Pending]], None],
        timer: Timer,
        waiting: threading.Semaphore,
    ) -> None:
        """`let_in` runs requests that were waiting; called without locks, from any thread.

        `waiting` has a place for each request that may wait, of this model or another.
        """
        self._model = model
        self._settings = sequences
        self._lead = (1,) if batched else ()
        self._let_in = let_in
        self._timer = timer
        self._lock = threading.Lock()
        #: The longest silent one first.
        self._live: OrderedDict[SequenceId, _Sequence] = OrderedDict()
        self._backlog: OrderedDict[SequenceId, _Sequence] = OrderedDict()
        self._waiting = waiting
        self._planned = self._extra_inputs()

    def enter(self, member: Pending, parameters: Mapping[str, Any]) -> list[Pending]:
        """Take a request; return it if it may be scheduled now.

        InvalidRequest without an id, or without START on the first; Unsupported for too long an id;
        QueueFull if too many wait.
        """
        sequence_id = parameters.get("sequence_id", 0)
        start = bool(parameters.get("sequence_start", False))
        end = bool(parameters.get("sequence_end", False))
        self._check(member, sequence_id)
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

    def _begin(self, sequence_id: SequenceId) -> _Sequence:
        sequence = _Sequence(sequence_id)
        if len(self._live) < self._settings.most:
            self._live[sequence_id] = sequence
        else:
            self._backlog[sequence_id] = sequence
            self._watch()
        return sequence

    def _queue(self, sequence: _Sequence, member: Pending, start: bool, end: bool) -> list[Pending]:
        if sequence.busy or sequence.waiting or sequence.id in self._backlog:
            if not self._waiting.acquire(blocking=False):
                if not (sequence.busy or sequence.waiting):
                    self._backlog.pop(sequence.id, None)  # nothing of it is left
                raise QueueFull("Exceeds maximum queue size")
            sequence.waiting.append((member, start, end))
            return []
        return [self._prepared(sequence, member, start, end)]

    def _check(self, member: Pending, sequence_id: SequenceId) -> None:
        if not sequence_id:
            raise InvalidRequest(
                f"inference request to model '{self._model}' must specify a non-zero or non-empty "
                "correlation ID"
            )
        if isinstance(sequence_id, str) and len(sequence_id.encode()) > LONGEST_NAME:
            raise Unsupported(
                f"string correlation ID cannot be longer than {LONGEST_NAME} characters"
            )
        if member.rows != 1:
            raise InvalidRequest(
                f"inference request to model '{self._model}' must specify batch-size 1 due to "
                "requirements of sequence batcher"
            )
        for control in self._settings.controls:
            if control.kind is ControlKind.CORRELATION_ID:
                _correlation(control, sequence_id, self._model)

    # -- what a request gets -------------------------------------------------------------------

    def _extra_inputs(self) -> tuple[PlannedInput, ...]:
        return tuple(
            PlannedInput(
                name=extra.input,
                dtype=extra.datatype.numpy,
                shape=(*self._lead, *extra.dims),
                nbytes=None if extra.datatype.byte_size is None else 0,
            )
            for extra in self._settings.inputs
        )

    def _prepared(self, sequence: _Sequence, member: Pending, start: bool, end: bool) -> Pending:
        """Give a request its controls and state; the sequence is busy until it is answered."""
        sequence.busy, sequence.ends = True, end
        if start:
            sequence.state = {}
        flags = {ControlKind.START: start, ControlKind.END: end, ControlKind.READY: True}
        data: list[Data] = list(member.checked.data)
        for control in self._settings.controls:
            value: Any
            if control.kind is ControlKind.CORRELATION_ID:
                value = _correlation(control, sequence.id, self._model)
            else:
                value = control.values[flags[control.kind]]
            shape = (*self._lead, *control.dims)
            data.append(np.full(shape, value, control.datatype.numpy))
        for state in self._settings.states:
            kept = sequence.state.get(state.input)
            if kept is None:
                kept = np.zeros((*self._lead, *state.dims), state.datatype.numpy)
            data.append(kept)
        plan = member.checked.plan
        member.checked = CheckedRequest(replace(plan, inputs=plan.inputs + self._planned), data)
        member.reply = _StatefulReply(member.reply, self, sequence)
        return member

    # -- what an answer changes ----------------------------------------------------------------

    def keep(self, sequence: _Sequence, rows: Rows) -> None:
        """Take the new state out of a run."""
        for state in self._settings.states:
            array = rows.run.output(state.output)
            sequence.state[state.input] = (
                array[rows.begin : rows.end].copy() if self._lead else array
            )

    def leave(self, sequence: _Sequence) -> None:
        """One request is answered: let in the sequence's next, or another sequence."""
        with self._lock:
            sequence.busy = False
            sequence.last_ns = time.perf_counter_ns()
            ready: list[Pending] = []
            late = self._late(sequence)
            if sequence.waiting:
                ready.append(self._next_of(sequence))
            elif sequence.ends:
                self._live.pop(sequence.id, None)
                ready = self._promote()
            elif sequence.id in self._live:
                self._live.move_to_end(sequence.id)
        for member in late:
            member.reply.fail(self._must_start(sequence.id))
        if ready:
            self._let_in(ready)

    def _late(self, sequence: _Sequence) -> list[Pending]:
        """Take out those who came after the end of the sequence, and begin no other."""
        late = []
        while sequence.ends and sequence.waiting and not sequence.waiting[0][1]:
            late.append(sequence.waiting.popleft()[0])
            self._waiting.release()
        return late

    def _next_of(self, sequence: _Sequence) -> Pending:
        self._waiting.release()
        return self._prepared(sequence, *sequence.waiting.popleft())

    def _promote(self) -> list[Pending]:
        """Let those in who waited for a place."""
        ready = []
        while self._backlog and len(self._live) < self._settings.most:
            sequence_id, sequence = self._backlog.popitem(last=False)
            self._live[sequence_id] = sequence
            if sequence.waiting:
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
        with self._lock:
            self._expire()
            ready = self._promote()
            if self._backlog:
                self._watch()
        if ready:
            self._let_in(ready)


class _StatefulReply:
    """Takes the state out of an answer before it leaves, and then lets the next one in."""

    __slots__ = ("_gate", "_reply", "_sequence", "is_gone")

    def __init__(self, reply: Reply, gate: SequenceGate, sequence: _Sequence) -> None:
        self._reply = reply
        self._gate = gate
        self._sequence = sequence
        self.is_gone = reply.is_gone

    def answer(self, rows: Rows) -> None:
        self._gate.keep(self._sequence, rows)
        self._reply.answer(rows)
        self._gate.leave(self._sequence)

    def fail(self, error: Exception) -> None:
        self._reply.fail(error)
        self._gate.leave(self._sequence)


def _correlation(control: Control, sequence_id: SequenceId, model: str) -> int | str:
    """Return the id as the control input takes it."""
    wants_text = control.datatype.byte_size is None
    if wants_text:
        return str(sequence_id)
    if isinstance(sequence_id, str):
        raise InvalidRequest(
            f"correlation ID '{sequence_id[:64]}' of model '{model}' must be a number: its control "
            f"input is {control.datatype.wire}"
        )
    limits = np.iinfo(control.datatype.numpy)
    if not limits.min <= sequence_id <= limits.max:
        raise InvalidRequest(
            f"correlation ID {sequence_id} of model '{model}' does not fit {control.datatype.wire}"
        )
    return sequence_id
