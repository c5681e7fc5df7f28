"""One worker as the supervisor sees it: its process, the pipe to it, and what it has said."""

import asyncio
import json
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Self

from zoo_server.config import ServerConfig
from zoo_server.errors import WorkerLost
from zoo_server.models.readiness import Readiness
from zoo_server.supervisors import frames
from zoo_server.supervisors.frames import Frame, Kind
from zoo_server.supervisors.supervisor_channel import Place

_LOG = logging.getLogger(__name__)

#: What a worker's process runs: the program's own modules, wherever they were found.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from zoo_server.main import work; sys.exit(work(sys.argv[2], sys.argv[3:]))"
)

#: Answers a worker's call, or raises what it is told instead.
Answer = Callable[["Hired", str, bytes], Awaitable[bytes]]

#: Hears what a worker tells.
Hear = Callable[["Hired", str, bytes], None]


class Hired:
    """A running worker."""

    def __init__(
        self,
        place: Place,
        process: asyncio.subprocess.Process,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.number = place.number
        self.process = process
        self._reader, self._writer = streams
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._last = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.readiness = Readiness(server=False, models={})
        #: What it found when it had loaded its models: how many, and how many it cannot serve.
        self.found: tuple[int, int] | None = None
        #: Whether changes are told to it, and its readiness counts.
        self.follows = False
        #: Since when it serves, by the loop's clock.
        self.served_since: float | None = None
        #: How many changes it is making.
        self.busy = 0
        #: Held while it is asked what it has counted: an older answer must not come after a newer.
        self.counting = asyncio.Lock()
        #: Whether it has said what it counted in all.
        self.has_counted = False

    @classmethod
    async def start(
        cls, config: ServerConfig, number: int, listeners: Mapping[str, socket.socket]
    ) -> Self:
        """Start a process; it gets these listening sockets."""
        ours, theirs = socket.socketpair()
        with theirs:
            place = Place(
                number=number,
                workers=config.workers,
                pipe=theirs.fileno(),
                listeners={name: taken.fileno() for name, taken in listeners.items()},
            )
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-c",
                _PROGRAM,
                json.dumps(sys.path),
                place.to_json(),
                *config.as_arguments(),
                pass_fds=(place.pipe, *place.listeners.values()),
                stdin=asyncio.subprocess.DEVNULL,
            )
        return cls(place, process, await asyncio.open_unix_connection(sock=ours))

    async def attend(self, answer: Answer, hear: Hear) -> int:
        """Take what it says until it ends; return its process's status."""
        try:
            while (frame := await frames.read(self._reader)) is not None:
                self._take(frame, answer, hear)
        except Exception:
            _LOG.exception("worker %d cannot be understood", self.number)
            self.kill()
        finally:
            self.close()
        return await self.process.wait()

    async def call(self, method: str, request: bytes, seconds: float | None) -> bytes:
        """Ask and wait; what it answers with, or WorkerLost if it ends or is not in time.

        One that is not in time is ended; None sets no time.
        """
        if self._writer.is_closing():
            raise WorkerLost(f"worker {self.number} has ended")
        self._last += 1
        number = self._last
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        try:
            async with asyncio.timeout(seconds):
                self._send(Frame(kind=Kind.CALL, number=number, name=method, payload=request))
                return await future
        except TimeoutError:
            _LOG.error("worker %d did not answer %s within %g s", self.number, method, seconds)
            self.kill()
            raise WorkerLost(f"worker {self.number} did not answer") from None
        finally:
            self._calls.pop(number, None)

    async def change(self, method: str, request: bytes, seconds: float) -> bytes:
        """Ask for a change, during which it may be too busy to say that it is alive."""
        self.busy += 1
        try:
            return await self.call(method, request, seconds)
        finally:
            self.busy -= 1

    def leave(self) -> None:
        """Ask it to end once the requests under way are answered."""
        self._send(Frame(kind=Kind.TELL, name="leave"))

    def kill(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            self.process.kill()

    def _send(self, frame: Frame) -> None:
        if not self._writer.is_closing():
            for part in frame.parts():
                self._writer.write(part)

    def _take(self, frame: Frame, answer: Answer, hear: Hear) -> None:
        if frame.kind is Kind.TELL:
            hear(self, frame.name, frame.payload)
        elif frame.kind is Kind.CALL:
            self.begin(self._answer(frame, answer))
        else:
            future = self._calls.get(frame.number)
            if future is None or future.done():
                return  # it comes too late
            if frame.kind is Kind.FAILURE:
                future.set_exception(frame.error())
            else:
                future.set_result(frame.payload)

    async def _answer(self, frame: Frame, answer: Answer) -> None:
        try:
            payload = await answer(self, frame.name, frame.payload)
        except Exception as error:
            self._send(Frame.failure(frame.number, error))
        else:
            self._send(Frame(kind=Kind.ANSWER, number=frame.number, payload=payload))

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done for it while it is listened to."""
        task = asyncio.create_task(work)
        self._tasks.add(task)  # the loop itself would forget it
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Let go of the pipe: nothing that was asked will be answered."""
        self.follows = False
        self._writer.close()
        for future in self._calls.values():
            if not future.done():
                future.set_exception(WorkerLost(f"worker {self.number} has ended"))


def words_of(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
