"""Runs ensembles: requests that go through several models, from step to step.

    request ──> its tensors by name ──a step has all it takes──> request of its model ──┐
                        ^                                                               │
                        └──────────────────── outputs, as they are ─────────────────────┘

Each step is a request of its model like any other: it waits, is joined with others' and is counted
there. Tensors are handed on without a copy. The first step that fails fails the whole.
"""

import copy
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from zoo_server import datatypes
from zoo_server.datatypes import DataType
from zoo_server.errors import Cancelled, ServerError
from zoo_server.inference.answers import CountedAnswers
from zoo_server.inference.execution import Rows, Run, wire_shape
from zoo_server.inference.model import LoadedModel
from zoo_server.inference.plan import Data, Plan
from zoo_server.inference.queued_request import QueuedRequest
from zoo_server.inference.request import InferRequest, InputTensor, OutputRequest
from zoo_server.model_config import EnsembleStep
from zoo_server.schedulers.scheduler import UNBOUNDED, Answers
from zoo_server.telemetry.requests import RunObserver
from zoo_server.telemetry.statistics import Execution, ModelStatistics

#: Returns the model of a step by its name and version, loading it where models are loaded on request.
Find = Callable[[str, str], LoadedModel]


class EnsembleRunner(CountedAnswers):
    """The runner of an ensemble: counts its requests and answers them; the runs are its steps' models'."""

    provider = "ensemble"
    restarts = 0
    nodes: tuple[tuple[str, int], ...] = ()

    def __init__(self, observer: RunObserver | None = None) -> None:
        """`observer` hears of every request."""
        super().__init__(ModelStatistics(), observer)

    def ran(self, member: QueuedRequest, execution: Execution) -> None:
        """Count a request that went through all steps."""
        self.statistics.record_run(execution)
        if self.observer is not None:
            self.observer.ran([member], execution)


class EnsembleScheduler:
    """Takes the requests of one ensemble (zoo_server.schedulers.scheduler.Scheduler)."""

    def __init__(
        self,
        name: str,
        steps: Sequence[EnsembleStep],
        find: Find,
        runner: EnsembleRunner,
        answers: Answers[QueuedRequest, Rows],
        workers: Executor | None,
    ) -> None:
        """`steps` stand in an order in which they can run. `runner` counts them, `answers` has
        their outcomes. `workers` begin the requests, where `find` may take long; None begins them
        on the thread that brings them.
        """
        self.name = name
        self.steps = steps
        self.runner = runner
        self.answers = answers
        self._find = find
        self._workers = workers
        self._lock = threading.Lock()
        self._running = 0

    @property
    def waiting(self) -> int:
        """None waits here: their steps wait for their models."""
        return 0

    @property
    def running(self) -> int:
        """How many requests are under way."""
        return self._running

    def check(self, member: QueuedRequest) -> None:
        """Refuse nothing: what a step's model has too much of, it says when the step comes."""

    def submit(
        self,
        members: Sequence[QueuedRequest],
        inline_budget_ns: int = UNBOUNDED,
        *,
        stays: bool = False,
    ) -> None:
        """Begin requests; see Scheduler.submit."""
        for member in members:
            member.queued_ns = time.perf_counter_ns()
            with self._lock:
                self._running += 1
            if self._workers is None:
                self._begin(member, inline_budget_ns)
            else:
                self._workers.submit(self._begin, member, UNBOUNDED)

    def _begin(self, member: QueuedRequest, inline_budget_ns: int) -> None:
        run = _EnsembleRun(self, member)
        try:
            if member.is_gone():
                raise Cancelled("the caller hung up before the first step")
            steps = _steps_for(self.steps, member.plan.names)
            run.begin(
                [(step, self._find(step.model, step.version)) for step in steps], inline_budget_ns
            )
        except Exception as error:
            run.fail(error)

    def ended(self) -> None:
        """Count a request that is no longer under way."""
        with self._lock:
            self._running -= 1


def _steps_for(steps: Sequence[EnsembleStep], outputs: Sequence[str]) -> list[EnsembleStep]:
    """Return the steps that the outputs come of, in the order of the steps."""
    tensors, needed = set(outputs), []
    for step in reversed(steps):
        if tensors & {*step.outputs.values()}:
            tensors |= {*step.inputs.values()}
            needed.append(step)
    return needed[::-1]


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor on its way: its shape, as clients see it, and its elements."""

    shape: tuple[int, ...]
    data: Data


class _EnsembleRun:
    """One request on its way through the steps; used by the threads that answer them."""

    def __init__(self, scheduler: EnsembleScheduler, member: QueuedRequest) -> None:
        self._scheduler = scheduler
        self.member = member
        self._lock = threading.Lock()
        self._over = False
        self._started_ns = time.perf_counter_ns()
        self._tensors: dict[str, _Tensor] = {}
        #: The steps that have not begun, each with its model; the models stay for as long as the run.
        self._waiting: list[tuple[EnsembleStep, LoadedModel]] = []
        self._under_way = 0

    def begin(
        self, steps: Sequence[tuple[EnsembleStep, LoadedModel]], inline_budget_ns: int
    ) -> None:
        """Begin the first of these steps."""
        member = self.member
        self._waiting = list(steps)
        self._take(
            {
                planned.name: _Tensor(planned.shape, data)
                for planned, data in zip(member.plan.inputs, member.data, strict=True)
            },
            inline_budget_ns,
        )

    def is_gone(self) -> bool:
        """Tell whether nobody waits for the steps that are under way."""
        return self._over or self.member.is_gone()

    def step_done(self, tensors: Mapping[str, _Tensor]) -> None:
        """Take the outputs of a step, and go on."""
        with self._lock:
            self._under_way -= 1
        try:
            # On a thread that others may wait for: what follows is queued, and a worker's.
            self._take(tensors, 0)
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Fail the request, unless it has been answered."""
        if not self._end():
            return
        self._scheduler.answers.refuse(self.member, _with_ensemble(error, self._scheduler.name))

    def _take(self, tensors: Mapping[str, _Tensor], inline_budget_ns: int) -> None:
        with self._lock:
            if self._over:
                return
            self._tensors.update(tensors)
            able = [
                (step, model)
                for step, model in self._waiting
                if all(tensor in self._tensors for tensor in step.inputs.values())
            ]
            self._waiting = [pair for pair in self._waiting if pair not in able]
            self._under_way += len(able)
            finished = not self._waiting and not self._under_way
        for step, model in able:
            self._submit(step, model, inline_budget_ns)
            inline_budget_ns = 0
        if finished:
            self._answer()

    def _submit(self, step: EnsembleStep, model: LoadedModel, inline_budget_ns: int) -> None:
        member = self.member
        datatype = {tensor.name: tensor.datatype for tensor in model.settings.inputs}
        request = InferRequest(
            id="",
            inputs=tuple(
                _input(name, datatype[name], self._tensors[tensor])
                for name, tensor in step.inputs.items()
            ),
            outputs=tuple(OutputRequest(name=name) for name in step.outputs),
        )
        checked = model.checker.check(request)
        queued = _StepRequest(self, step, member.deadline_ns)
        queued.carry(checked.plan, checked.data, member.parameters)
        model.submit((queued,), inline_budget_ns)

    def _answer(self) -> None:
        plan = self.member.plan
        arrays: list[np.ndarray] = []
        for name in plan.names:
            data = self._tensors[name].data
            assert isinstance(data, np.ndarray)  # an output is made by a step, never sent
            arrays.append(data)
        rows = plan.rows if plan.batch_size else 0
        outcome = Rows(Run(plan.names, arrays, rows), 0, rows)
        if not self._end():
            return
        self._record()
        self._scheduler.answers.answer(self.member, outcome)

    def _record(self) -> None:
        member, now = self.member, time.perf_counter_ns()
        execution = Execution(
            requests=1,
            rows=member.rows,
            arrived_ns=[member.arrived_ns],
            queued_ns=[member.queued_ns],
            started_ns=self._started_ns,
            ready_ns=self._started_ns,
            inferred_ns=now,
            finished_ns=now,
        )
        self._scheduler.runner.ran(member, execution)

    def _end(self) -> bool:
        """Tell whether this ends the request: once."""
        with self._lock:
            if self._over:
                return False
            self._over = True
            self._waiting = []
        self._scheduler.ended()
        return True


class _StepRequest(QueuedRequest):
    """One step of a request."""

    __slots__ = ("_run", "_step")

    #: What follows an answer may take longer than writing it: that is a worker's.
    short_bytes: ClassVar[int] = -1

    def __init__(self, run: _EnsembleRun, step: EnsembleStep, deadline_ns: int) -> None:
        super().__init__(time.perf_counter_ns(), deadline_ns)
        self._run = run
        self._step = step

    def request_id(self) -> str:
        return self._run.member.request_id()

    def header(self, name: str) -> str:
        return self._run.member.header(name)

    def is_gone(self) -> bool:
        return self._run.is_gone()

    def answer(self, rows: Rows) -> None:
        try:
            tensors = _step_outputs(self.plan, self._step, rows)
        except Exception as error:
            self._run.fail(error)
            return
        self._run.step_done(tensors)

    def fail(self, error: Exception) -> None:
        self._run.fail(error)


def _step_outputs(plan: Plan, step: EnsembleStep, rows: Rows) -> dict[str, _Tensor]:
    """Return the ensemble's tensors that a step gives, as they lie in its run's outputs."""
    tensors = {}
    for settings, _ in plan.outputs:
        array = rows.array(settings.name)
        shape = wire_shape(settings, array.shape, plan.batch_size)
        tensors[step.outputs[settings.name]] = _Tensor(shape, array.reshape(shape))
    return tensors


def _input(name: str, datatype: DataType, tensor: _Tensor) -> InputTensor:
    data = tensor.data
    if isinstance(data, np.ndarray) and not data.dtype.hasobject and data.dtype != datatype.numpy:
        data = datatypes.to_raw(datatype, data)  # a runtime's array of another type than the wire's
    return InputTensor(name=name, datatype=datatype.wire, shape=tensor.shape, data=data)


def _with_ensemble(error: Exception, ensemble: str) -> Exception:
    """Return an error that says, as Triton does, in which ensemble it came up."""
    if not isinstance(error, ServerError):
        return error
    named = copy.copy(error)  # a batch's error is that of all its members
    named.args = (f"in ensemble '{ensemble}', {error}", *error.args[1:])
    return named
