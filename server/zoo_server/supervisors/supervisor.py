"""Keeps N workers alive on one port, and makes one server of them.

    start all ──> each loads its models ──loaded──> makes up for the journal ──all have──> serve
                         ▲                                                               │
                         └──────────── another takes its place <──dies or is silent──────┘

A worker takes connections only once it has loaded and knows every change so far, and at the start
only once all have, or the first would get the connections of all. While one is replaced the others
serve; what its callers had under way is lost, and their next calls go elsewhere.

A change (LANES) is made by the worker that was asked and then by the others; its answer comes once
all have made it. Where the first fails nothing is changed; another that then fails is told to leave
and replaced, since the change is what the caller wanted and most of the workers have it.

One thing is each worker's own: in poll mode each looks at the repository by itself. For one interval
they may differ, and only what all have is ready.

What a worker has counted is asked with each ping and whenever somebody wants to know, and outlives it
(counts.py); one that is killed takes with it what it counted since.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace

from zoo_server.config import ServerConfig
from zoo_server.errors import ServerError, ServerExiting, WorkerLost
from zoo_server.models.readiness import Readiness
from zoo_server.protocols.ports import join_address
from zoo_server.supervisors.backoff import Backoff
from zoo_server.supervisors.replay_log import LANES, Journal
from zoo_server.supervisors.sequence_forwarder import HANDED_ON, KEEPER
from zoo_server.supervisors.worker_process import Hired, words_of
from zoo_server.supervisors.worker_statistics import Counts
from zoo_server.telemetry import readings

_LOG = logging.getLogger(__name__)

#: Exit statuses, as everywhere in `zoo`.
OK, FAILED, BAD_USAGE = 0, 1, 2

#: How long a worker may take to answer: to load a model, and anything else.
_LOAD_SECONDS, _ANSWER_SECONDS = 1800.0, 60.0

#: How often each is asked whether it is alive.
_PING_SECONDS = 10.0

#: How long a worker may take to end after its requests have had their time.
_END_SECONDS = 10.0


class Supervisor:
    """One server's workers; run once."""

    def __init__(self, config: ServerConfig, listeners: Mapping[str, socket.socket]) -> None:
        """`config` names the ports that are really taken; the first worker gets the listeners."""
        self._config = config
        self._listeners = dict(listeners)
        self._began = time.perf_counter()
        self.workers: dict[int, Hired] = {}
        self.journal = Journal(config.load_model)
        self.counts = Counts()
        self._lanes = {lane: asyncio.Lock() for lane in sorted(set(LANES.values()))}
        self._leaving = asyncio.Event()
        #: Set once every worker has loaded its models for the first time.
        self._loaded = asyncio.Event()
        self._ready = False
        self._status = OK

    async def run(self) -> int:
        """Serve until SIGTERM, SIGINT or a worker that cannot be kept alive; return the status."""
        loop = asyncio.get_running_loop()
        for signalled in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signalled, self._signalled)
        async with asyncio.TaskGroup() as tasks:
            places = [
                tasks.create_task(self._keep(number))
                for number in range(1, self._config.workers + 1)
            ]
            tasks.create_task(self._end(places))
        if self._ready:
            _LOG.info("stopped")
        return self._status

    # -- their lives -----------------------------------------------------------------------------

    async def _keep(self, number: int) -> None:
        """Keep one place filled until the server leaves."""
        backoff, loop = Backoff(), asyncio.get_running_loop()
        while not self._leaving.is_set():
            served = 0.0
            try:
                worker = await Hired.start(
                    self._config_of(number), number, self._listeners if number == 1 else {}
                )
            except OSError as error:
                how = f"cannot be started: {error}"
            else:
                how = words_of(await self._attend(worker))
                if worker.served_since is not None:
                    served = loop.time() - worker.served_since
            if self._leaving.is_set():
                return
            await self._publish()
            await self._pause(f"worker {number} {how}", served, backoff)

    async def _attend(self, worker: Hired) -> int:
        """Listen to a worker until it ends; return its process's status."""
        self.workers[worker.number] = worker
        if self._leaving.is_set():
            worker.leave()
        pings = asyncio.create_task(self._ping(worker))
        try:
            return await worker.attend(self._answer, self._hear)
        finally:
            pings.cancel()
            del self.workers[worker.number]
            self.counts.end(worker.number)

    async def _pause(self, how: str, served_seconds: float, backoff: Backoff) -> None:
        """Wait before a dead worker is replaced, or have the server leave."""
        delay = backoff.after(served_seconds)
        if delay is None:
            _LOG.error("%s, for the %dth time in a row: giving up", how, backoff.deaths)
            self._give_up(FAILED)
            return
        _LOG.warning("%s: another takes its place", how)
        try:
            async with asyncio.timeout(delay):
                await self._leaving.wait()
        except TimeoutError:
            return

    def _config_of(self, number: int) -> ServerConfig:
        """Return a worker's configuration: one of them owns the ports of HTTP."""
        if number == 1:
            return self._config
        return replace(self._config, http_port=None, metrics_port=None)

    async def _ping(self, worker: Hired) -> None:
        while True:
            await asyncio.sleep(_PING_SECONDS)
            if worker.served_since is not None and not worker.busy:
                try:
                    await worker.call("ping", b"", _ANSWER_SECONDS)
                    await self._count(worker)
                except WorkerLost:
                    return

    def _signalled(self) -> None:
        """The first signal asks, the second ends the process, as in a server of one process."""
        if self._leaving.is_set():
            self._kill()
            self._status = FAILED
        elif self._ready:
            _LOG.info(
                "leaving: no new requests, up to %g s for those under way",
                self._config.drain_seconds,
            )
        self._leaving.set()

    def _give_up(self, status: int) -> None:
        self._status = status
        self._leaving.set()

    async def _end(self, places: Sequence[asyncio.Task[None]]) -> None:
        """Once the server leaves: have the workers end, by force if they do not in time."""
        await self._leaving.wait()
        self._loaded.set()  # whoever waits for the others leaves too
        for taken in self._listeners.values():
            taken.close()
        for worker in list(self.workers.values()):
            worker.leave()
        await asyncio.wait(places, timeout=self._config.drain_seconds + _END_SECONDS)
        if self.workers:
            _LOG.error("%d workers did not end in time and are killed", len(self.workers))
            self._kill()

    def _kill(self) -> None:
        for worker in self.workers.values():
            worker.kill()

    # -- what they ask and tell ------------------------------------------------------------------

    async def _answer(self, worker: Hired, method: str, request: bytes) -> bytes:
        if method == "loaded":
            await self._join(worker, request)
        elif method == "serving":
            self._serves(worker)
        elif method == "readings":
            return await self._readings()
        elif method == HANDED_ON:
            return await self._keeper().call(method, request, None)
        elif method == "processes":
            workers = [each.process.pid for each in self.workers.values()]
            return json.dumps([os.getpid(), *workers]).encode()
        else:
            return await self.change(worker, method, request)
        return b""

    def _keeper(self) -> Hired:
        """Return the worker that keeps sequences; WorkerLost if there is none at the moment."""
        keeper = self.workers.get(KEEPER)
        if keeper is None or not keeper.follows:
            raise WorkerLost("the worker that keeps sequences has ended: another takes its place")
        return keeper

    def _hear(self, worker: Hired, subject: str, payload: bytes) -> None:
        if subject == "readiness":
            worker.readiness = Readiness.from_json(payload)
            if worker.follows:
                worker.begin(self._changed(worker))
        elif subject == "counted":
            self.counts.say(worker.number, readings.from_json(payload))
            worker.has_counted = True
        elif not self._leaving.is_set():  # it cannot start; the others would fail alike
            text = payload.decode()
            if self._loaded.is_set():
                _LOG.error("worker %d: %s", worker.number, text)
            else:
                _LOG.error("%s", text)
                self._give_up(BAD_USAGE)

    async def _join(self, worker: Hired, request: bytes) -> None:
        """Let a worker serve that has loaded its models: once it knows what the others know."""
        models, unavailable = json.loads(request)
        worker.found = models, unavailable
        async with AsyncExitStack() as stack:
            for lane in self._lanes.values():
                await stack.enter_async_context(lane)
            for method, change in list(self.journal.changes()):
                try:
                    await worker.change(method, change, _LOAD_SECONDS)
                except ServerError as error:
                    _LOG.error("worker %d: %s cannot be repeated: %s", worker.number, method, error)
            worker.follows = True
            await self._publish()
        if sum(each.follows for each in self.workers.values()) == self._config.workers:
            self._loaded.set()
        await self._loaded.wait()
        if self._leaving.is_set():
            raise ServerExiting("Server exiting")

    def _serves(self, worker: Hired) -> None:
        worker.served_since = asyncio.get_running_loop().time()
        serving = [each for each in self.workers.values() if each.served_since is not None]
        if self._ready:
            _LOG.info("worker %d serves (process %d)", worker.number, worker.process.pid)
        elif len(serving) == self._config.workers:
            self._ready = True
            self._say_ready(worker)

    async def change(self, asked: Hired, method: str, request: bytes) -> bytes:
        """Have a change made by all; return the first one's answer, or raise its error."""
        lane = LANES[method]
        limit = _LOAD_SECONDS if lane == "models" else _ANSWER_SECONDS
        async with self._lanes[lane]:
            if self._leaving.is_set():
                raise ServerExiting("Server exiting")
            answer = await asked.change(method, request, limit)
            others = [worker for worker in self._following() if worker is not asked]
            results = await asyncio.gather(
                *(worker.change(method, request, limit) for worker in others),
                return_exceptions=True,
            )
            self.journal.record(method, request, self._readiness().models)
            for worker, result in zip(others, results, strict=True):
                if isinstance(result, BaseException):
                    _LOG.error(
                        "worker %d did not follow in %s and is replaced: %s",
                        worker.number,
                        method,
                        result,
                    )
                    worker.leave()
            await self._publish()
        return answer

    async def _readings(self) -> bytes:
        await asyncio.gather(
            *(self._count(worker) for worker in self._following()), return_exceptions=True
        )
        return readings.to_json(self.counts.whole())

    async def _count(self, worker: Hired) -> None:
        """Hear what a worker has counted; WorkerLost if it ends meanwhile."""
        async with worker.counting:
            said = await worker.call("readings", b"", _ANSWER_SECONDS)
        if self.workers.get(worker.number) is worker and not worker.has_counted:
            self.counts.say(worker.number, readings.from_json(said))

    async def _changed(self, worker: Hired) -> None:
        """A worker has other models than before: tell all, and see whose counts begin anew."""
        await self._publish()
        with suppress(WorkerLost):
            await self._count(worker)

    # -- readiness -------------------------------------------------------------------------------

    def _following(self) -> list[Hired]:
        return [worker for worker in self.workers.values() if worker.follows]

    def _readiness(self) -> Readiness:
        return Readiness.common([worker.readiness for worker in self._following()])

    async def _publish(self) -> None:
        """Tell all what is ready in all of them, and return once they know."""
        whole = self._readiness().to_json()
        await asyncio.gather(
            *(worker.call("readiness", whole, _ANSWER_SECONDS) for worker in self._following()),
            return_exceptions=True,
        )

    def _say_ready(self, worker: Hired) -> None:
        """The last line of a start, as a server of one process says it."""
        config, (models, unavailable) = self._config, worker.found or (0, 0)
        ports = {
            "gRPC": config.grpc_port,
            "HTTP": config.http_port,
            "metrics": config.metrics_port,
        }
        _LOG.info(
            "ready: %s, %d models, %d unavailable, %d workers (loaded in %.2f s)",
            ", ".join(
                f"{name} on {join_address(config.host, port)}"
                for name, port in ports.items()
                if port is not None
            ),
            models,
            unavailable,
            config.workers,
            time.perf_counter() - self._began,
        )
