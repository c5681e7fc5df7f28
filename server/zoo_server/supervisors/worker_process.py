"""A worker as the supervisor sees it: its process and its latest state."""

import asyncio
import logging
import pickle
import signal
import sys
from contextlib import suppress
from typing import Any, Self

import grpc

from zoo_server.errors import WorkerLost
from zoo_server.supervisors import rpc
from zoo_server.supervisors.replay_log import LANES
from zoo_server.supervisors.state import WorkerSpec, WorkerState

_LOG = logging.getLogger(__name__)

#: What a worker runs: the program's own modules, wherever they were found. Standard input brings its
#: WorkerSpec, and another byte when it is to leave. SIGINT is not for it: a terminal sends it
#: to the supervisor as well.
_PROGRAM = """
import pickle, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.path[:] = pickle.load(sys.stdin.buffer)
from zoo_server.main import work
sys.exit(work(pickle.load(sys.stdin.buffer)))
"""


class WorkerProcess:
    """A running worker."""

    def __init__(self, spec: WorkerSpec, process: asyncio.subprocess.Process) -> None:
        self.spec = spec
        self.process = process
        self.state = WorkerState()
        #: Whether changes are made in it too, and its readiness counts.
        self.has_joined = False
        #: Since when it takes calls, by the loop's clock.
        self.serving_since: float | None = None
        #: How many changes it is making.
        self.changing = 0
        self._channel = grpc.aio.insecure_channel(spec.address, rpc.OPTIONS)

    @classmethod
    async def start(cls, spec: WorkerSpec) -> Self:
        """Start a process; OSError if there can be none."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", _PROGRAM,
            pass_fds=tuple(spec.listeners.values()), stdin=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(pickle.dumps(sys.path) + pickle.dumps(spec))
        return cls(spec, process)

    def __str__(self) -> str:
        return f"worker {self.spec.number}"

    async def call(
        self, method: str, *arguments: object, seconds: float = rpc.ANSWER_SECONDS
    ) -> Any:
        """Ask and return the result, or raise its error; WorkerLost if it ends or is not in time.

        One that is not in time is ended.
        """
        lost = WorkerLost(f"{self} has ended")
        if self.process.returncode is not None:
            raise lost
        try:
            answer = await self._method(method)(arguments, timeout=seconds)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                _LOG.error("%s did not answer %s within %g s", self, method, seconds)
                self.kill()
            raise rpc.error_of(error, lost) from None
        return rpc.result_of(answer)

    def _method(self, name: str) -> "grpc.aio.UnaryUnaryMultiCallable[rpc.Arguments, rpc.Answer]":
        return self._channel.unary_unary(rpc.path(name), pickle.dumps, pickle.loads)

    async def is_alive(self) -> bool:
        """Tell whether it answers in time, whatever else it is at."""
        try:
            await self._method("alive")((), timeout=rpc.ALIVE_SECONDS)
        except grpc.aio.AioRpcError as error:
            return error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
        return True

    async def change(self, method: str, *arguments: object) -> object:
        """Have it make a change, during which it may be too busy to answer anything else in time."""
        seconds = rpc.LOAD_SECONDS if LANES[method] == "models" else rpc.ANSWER_SECONDS
        self.changing += 1
        try:
            return await self.call(method, *arguments, seconds=seconds)
        finally:
            self.changing -= 1

    def leave(self) -> None:
        """Ask it to end once the requests under way are answered."""
        stdin = self.process.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(b"\0")
            stdin.close()

    def kill(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            self.process.kill()

    async def wait(self) -> str:
        """Wait for its end, and say how it ended."""
        status = await self.process.wait()
        self.has_joined = False
        await self._channel.close(grace=rpc.ANSWER_SECONDS)
        if status >= 0:
            return f"ended with status {status}"
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
        return f"was ended by signal {-status}"
