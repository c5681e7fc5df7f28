"""The supervisor: keeps N workers alive on one port, and consistent with each other.

    start all ──> each loads its models ──join──> repeats the replay log ──all have──> serve
                         ▲                                                             │
                         └────────── another takes its place <──dies or is silent──────┘

A worker takes connections only once it has loaded and knows every change so far, and at the start
only once all have, or the first would get the connections of all. While one is replaced the others
serve; what its callers had under way is lost, and their next calls go elsewhere. However often a worker
dies, once the server has served another is started, at last every few seconds: no request ends it.

How workers are kept consistent with each other is server/zoo_server/supervisors/worker_group.py.
"""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count

import grpc

from zoo_server.config import ServerConfig
from zoo_server.errors import AddressError, ServerError, ServerExiting
from zoo_server.protocols.ports import join_address
from zoo_server.supervisors import rpc
from zoo_server.supervisors.backoff import Backoff
from zoo_server.supervisors.replay_log import LANES
from zoo_server.supervisors.state import WorkerSpec, WorkerState
from zoo_server.supervisors.worker_group import WorkerGroup
from zoo_server.supervisors.worker_process import WorkerProcess
from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.server_counts import Counts

_LOG = logging.getLogger(__name__)

#: Exit statuses, as everywhere in `zoo`.
OK, FAILED, BAD_USAGE = 0, 1, 2

#: How often each worker must report its state, which shows that it is alive.
_EXCHANGE_SECONDS = 10.0

#: How long a worker may take to end after its requests have had their time.
_END_SECONDS = 10.0

Function = Callable[..., Coroutine[None, None, object]]


class Supervisor:
    """One server's workers; run once."""

    def __init__(
        self, config: ServerConfig, listeners: Mapping[str, socket.socket], folder: str
    ) -> None:
        """`config` names the ports that are really taken; the first worker gets the listeners.

        In `folder` are the sockets on which the processes call each other.
        """
        self._config = config
        self._listeners = dict(listeners)
        self._folder = folder
        self._began = time.perf_counter()
        self._leaving = asyncio.Event()
        self._group = WorkerGroup(config.load_model, self._leaving)
        #: Set once every worker has loaded its models for the first time.
        self._all_joined = asyncio.Event()
        self._ready = False
        self._status = OK

    async def run(self) -> int:
        """Serve until SIGTERM, SIGINT or a worker that cannot be kept alive; return the status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._signalled)
        server = grpc.aio.server(options=rpc.OPTIONS)
        server.add_generic_rpc_handlers((self._handlers(),))
        try:
            server.add_insecure_port(self._address("supervisor"))
        except RuntimeError:
            raise AddressError(
                f"cannot listen on a socket in {self._folder}: set TMPDIR to a shorter path"
            ) from None
        await server.start()
        async with asyncio.TaskGroup() as tasks:
            places = [
                tasks.create_task(self._keep_alive(number))
                for number in range(1, self._config.workers + 1)
            ]
            tasks.create_task(self._end(places))
        await server.stop(None)
        if self._ready:
            _LOG.info("stopped")
        return self._status

    # -- the workers' lives ----------------------------------------------------------------------

    async def _keep_alive(self, number: int) -> None:
        """Keep one place filled until the server leaves."""
        backoff, loop = Backoff(), asyncio.get_running_loop()
        for start in count():
            if self._leaving.is_set():
                return
            served = 0.0
            try:
                worker = await WorkerProcess.start(self._spec(number, start))
            except OSError as error:
                ending = f"cannot be started: {error}"
            else:
                self._group.restarts += start > 0
                ending = await self._attend(worker)
                if worker.serving_since is not None:
                    served = loop.time() - worker.serving_since
            if self._leaving.is_set():
                return
            await self._group.exchange_all()
            delay = backoff.after(served)
            if backoff.is_lasting and not self._all_joined.is_set():
                reason = f"for the {backoff.deaths}th time in a row"
                _LOG.error("worker %d %s, %s: giving up", number, ending, reason)
                self._leave(FAILED)
                return
            _LOG.warning(
                "worker %d %s: another takes its place%s, %d of %d serve",
                number,
                ending,
                f" in {delay:g} s, for the {backoff.deaths}th time in a row" if delay else "",
                len(self._group.joined()),
                self._config.workers,
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._leaving.wait()

    async def _attend(self, worker: WorkerProcess) -> str:
        """Watch a worker until it ends; say how it did."""
        self._group.workers[worker.spec.address] = worker
        if self._leaving.is_set():
            worker.leave()
        watches = [asyncio.create_task(each(worker)) for each in (self._watch, self._watch_life)]
        try:
            return await worker.wait()
        finally:
            for watch in watches:
                watch.cancel()
            self._group.remove(worker)

    async def _watch(self, worker: WorkerProcess) -> None:
        while True:
            await asyncio.sleep(_EXCHANGE_SECONDS)
            if worker.serving_since is not None and not worker.changing:
                await self._group.exchange(worker)

    async def _watch_life(self, worker: WorkerProcess) -> None:
        """End a worker that gives no sign of life: its callers then find one that answers."""
        missed = 0
        while missed < rpc.MOST_MISSED:
            await asyncio.sleep(rpc.ALIVE_EVERY_SECONDS)
            if worker.has_joined:
                missed = 0 if await worker.is_alive() else missed + 1
        _LOG.error("%s gives no sign of life and is ended", worker)
        worker.kill()

    def _spec(self, number: int, start: int) -> WorkerSpec:
        """Return what a process is; the first worker owns the ports of HTTP."""
        config = self._config
        listeners = {name: each.fileno() for name, each in self._listeners.items()}
        if number > 1:
            config, listeners = replace(config, http_port=None, metrics_port=None), {}
        return WorkerSpec(
            config=config,
            number=number,
            address=self._address(f"{number}.{start}"),
            supervisor=self._address("supervisor"),
            listeners=listeners,
        )

    def _address(self, name: str) -> str:
        return f"unix:{self._folder}/{name}"

    def _signalled(self) -> None:
        """The first signal asks, the second ends the process, as in a server of one process."""
        if self._leaving.is_set():
            self._kill()
            self._status = FAILED
        elif self._ready:
            seconds = self._config.drain_seconds
            _LOG.info("leaving: no new requests, up to %g s for those under way", seconds)
        self._leaving.set()

    def _leave(self, status: int) -> None:
        self._status = status
        self._leaving.set()

    async def _end(self, places: Sequence[asyncio.Task[None]]) -> None:
        """Once the server leaves: have the workers end, by force if they do not in time."""
        await self._leaving.wait()
        self._all_joined.set()  # workers that wait for the others leave too
        for listener in self._listeners.values():
            listener.close()
        for worker in list(self._group.workers.values()):
            worker.leave()
        await asyncio.wait(places, timeout=self._config.drain_seconds + _END_SECONDS)
        if self._group.workers:
            _LOG.error("%d workers did not end in time and are killed", len(self._group.workers))
            self._kill()

    def _kill(self) -> None:
        for worker in self._group.workers.values():
            worker.kill()

    # -- what they ask and tell ------------------------------------------------------------------

    def _handlers(self) -> grpc.GenericRpcHandler:
        functions: dict[str, Function] = {
            "join": self._join,
            "serving": self._serving,
            "failed": self._failed,
            "state": self._changed,
            "readings": self._readings,
            "counts": self._counts,
            **{method: partial(self._change, method) for method in LANES},
        }
        return rpc.handlers({name: self._answering(each) for name, each in functions.items()})

    def _answering(self, function: Function) -> Function:
        async def answer(arguments: rpc.Arguments, _: object) -> rpc.Answer:
            address, *rest = arguments
            worker = self._group.workers.get(address)
            if worker is None:
                return (ServerExiting("Server exiting"),)
            try:
                # What was begun is done, also where the worker that asked does not live to hear it.
                return (await asyncio.shield(self._group.begin(function(worker, *rest))),)
            except ServerError as error:
                return (error,)

        return answer

    async def _join(self, worker: WorkerProcess, state: WorkerState) -> None:
        """Let a worker serve that has loaded its models: at the start once all have."""
        await self._group.admit(worker, state)
        if len(self._group.joined()) == self._config.workers:
            self._all_joined.set()
        await self._all_joined.wait()
        if self._leaving.is_set():
            raise ServerExiting("Server exiting")

    async def _serving(self, worker: WorkerProcess, models: int, unavailable: int) -> None:
        """A worker takes calls, for so many models."""
        worker.serving_since = asyncio.get_running_loop().time()
        serving = [each for each in self._group.workers.values() if each.serving_since is not None]
        if self._ready:
            _LOG.info("%s serves (process %d)", worker, worker.process.pid)
        elif len(serving) == self._config.workers:
            self._ready = True
            self._log_ready(models, unavailable)

    async def _failed(self, worker: WorkerProcess, text: str) -> None:
        """A worker cannot start; at the beginning the others fail alike, and the first has said it."""
        if self._leaving.is_set():
            return
        if self._all_joined.is_set():
            _LOG.error("%s: %s", worker, text)
        else:
            _LOG.error("%s", text)
            self._leave(BAD_USAGE)

    async def _changed(self, worker: WorkerProcess, state: WorkerState) -> None:
        """A worker has other models than before, or ends."""
        self._group.note(worker, state)
        if worker.has_joined:
            self._group.begin(
                self._group.exchange_all()
            )  # who tells does not wait for all the others

    async def _readings(self, _: WorkerProcess) -> list[ModelReading]:
        return await self._group.readings()

    async def _counts(self, _: WorkerProcess) -> Counts:
        return self._group.counts()

    async def _change(self, method: str, first: WorkerProcess, *arguments: object) -> object:
        return await self._group.change(method, first, *arguments)

    def _log_ready(self, models: int, unavailable: int) -> None:
        """The last line of a start, as a server of one process says it."""
        config = self._config
        ports = {"gRPC": config.grpc_port, "HTTP": config.http_port, "metrics": config.metrics_port}
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
