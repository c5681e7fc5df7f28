"""The workers of one server, kept consistent with each other: changes, common state, statistics.

A change (LANES) is made by the worker that received it and then by the others; its answer comes once
all have made it. Where the first fails nothing is changed; another worker that then fails is
ended and replaced, since the caller wanted the change and most of the workers have it.

One thing is each worker's own: in poll mode each looks at the repository by itself. For one interval
they may differ, and only what all have is ready.
"""

import asyncio
import logging
import os
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from itertools import count
from typing import TypeVar

from zoo_server.errors import ServerError, ServerExiting, WorkerLost
from zoo_server.models.readiness import Readiness
from zoo_server.supervisors import rpc
from zoo_server.supervisors.replay_log import LANES, ReplayLog
from zoo_server.supervisors.sequence_forwarder import SEQUENCE_WORKER
from zoo_server.supervisors.state import GroupState, WorkerState
from zoo_server.supervisors.worker_process import WorkerProcess
from zoo_server.supervisors.worker_statistics import WorkerStatistics
from zoo_server.telemetry import server_counts
from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.server_counts import Counts

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


class WorkerGroup:
    """The workers that run now, and what they have in common; used on one event loop."""

    def __init__(self, started_with: Sequence[str], leaving: asyncio.Event) -> None:
        """`started_with`: --load-model. `leaving` is set once the server makes no more changes."""
        self._leaving = leaving
        #: By address.
        self.workers: dict[str, WorkerProcess] = {}
        self.replay_log = ReplayLog(started_with)
        #: How many workers were started in the place of one that had ended.
        self.restarts = 0
        self._statistics = WorkerStatistics()
        #: What workers counted that have ended.
        self._ended: Counts = {}
        self._numbers = count(1)
        self._lanes = {lane: asyncio.Lock() for lane in sorted(set(LANES.values()))}
        self._tasks: set[asyncio.Task[object]] = set()

    def remove(self, worker: WorkerProcess) -> None:
        """Forget a worker that has ended, but not what it has counted."""
        del self.workers[worker.spec.address]
        self._statistics.end(worker.spec.address)
        self._ended = server_counts.add([self._ended, server_counts.lasting(worker.state.counts)])

    def begin(self, work: Coroutine[None, None, T]) -> "asyncio.Task[T]":
        """Begin what is done whether or not somebody waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the loop itself would forget it
        task.add_done_callback(self._tasks.discard)
        return task

    async def admit(self, worker: WorkerProcess, state: WorkerState) -> None:
        """Take in a worker that has loaded its models, once it knows what the others know."""
        self.note(worker, state)
        async with AsyncExitStack() as stack:
            for lane in self._lanes.values():
                await stack.enter_async_context(lane)
            for method, arguments in list(self.replay_log.changes()):
                try:
                    await worker.change(method, *arguments)
                except ServerError as error:
                    _LOG.error("%s: %s cannot be repeated: %s", worker, method, error)
            worker.has_joined = True
            await self.exchange_all()

    async def change(self, method: str, first: WorkerProcess, *arguments: object) -> object:
        """Have a change made by all; return the first one's result, or raise its error."""
        async with self._lanes[LANES[method]]:
            if self._leaving.is_set():
                raise ServerExiting("Server exiting")
            result = await first.change(method, *arguments)
            others = [worker for worker in self.joined() if worker is not first]
            outcomes = await asyncio.gather(
                *(worker.change(method, *arguments) for worker in others), return_exceptions=True
            )
            self.replay_log.record((method, arguments), self._state().readiness.models)
            for worker, outcome in zip(others, outcomes, strict=True):
                if isinstance(outcome, BaseException):
                    text = "%s did not follow in %s and is replaced: %s"
                    _LOG.error(text, worker, method, outcome)
                    worker.leave()
            await self.exchange_all()
        return result

    async def readings(self) -> list[ModelReading]:
        """Return the counts of all; of a worker that does not answer in time, those it told last."""
        exchanges = {self.begin(self.exchange(worker)): worker for worker in self.joined()}
        if exchanges:
            _answered, silent = await asyncio.wait(exchanges, timeout=rpc.READINGS_SECONDS)
            for each in silent:
                text = "%s does not answer: of it, statistics have what it told last"
                _LOG.warning(text, exchanges[each])
        return self._statistics.total()

    def counts(self) -> Counts:
        """Return what all counted as a whole, as they told last."""
        counts = [worker.state.counts for worker in self.workers.values()]
        return server_counts.add([self._ended, *counts])

    def joined(self) -> list[WorkerProcess]:
        """Return the workers that make changes too."""
        return [worker for worker in self.workers.values() if worker.has_joined]

    def _state(self) -> GroupState:
        joined = self.joined()
        sequence_workers = [
            worker.spec.address for worker in joined if worker.spec.number == SEQUENCE_WORKER
        ]
        return GroupState(
            number=next(self._numbers),
            readiness=Readiness.common([worker.state.readiness for worker in joined]),
            sequence_worker=sequence_workers[0] if sequence_workers else None,
            processes=[os.getpid(), *(worker.process.pid for worker in self.workers.values())],
            restarts=self.restarts,
        )

    async def exchange_all(self) -> None:
        """Tell all what is true of the whole, and hear from each; return once they know."""
        await asyncio.gather(*(self.exchange(worker) for worker in self.joined()))

    async def exchange(self, worker: WorkerProcess) -> None:
        """Tell a worker what is true of the whole, and hear from it; one that cannot tell is ended."""
        try:
            self.note(worker, await worker.call("exchange", self._state()))
        except WorkerLost:
            return
        except Exception:
            _LOG.exception("%s cannot tell its state and is ended", worker)
            worker.kill()

    def note(self, worker: WorkerProcess, state: WorkerState) -> None:
        """Take note of a worker's state, unless a newer one is known."""
        address = worker.spec.address
        if address in self.workers and state.number > worker.state.number:
            worker.state = state
            self._statistics.update(address, state.readings)
