"""A worker's end of the pipe: it asks the supervisor, and does what the supervisor asks of it.

One thread reads. What is short it does itself, the rest runs on a few threads of their own, so that
a model that loads keeps nobody from being asked whether it is alive.
"""

import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Self

from zoo_server.errors import ServerExiting
from zoo_server.models.readiness import Readiness
from zoo_server.supervisors import frames
from zoo_server.supervisors.frames import Frame, Kind
from zoo_server.telemetry import readings
from zoo_server.telemetry.readings import ModelReading

_LOG = logging.getLogger(__name__)

#: Changes wait for each other in three lanes (journal.py); one thread more for readings.
_THREADS = 4

Function = Callable[[bytes], bytes]

#: Gets what is asked, and what to call with the answer, once, from any thread.
Deferred = Callable[[bytes, Callable[[bytes], None]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a worker is told of its place."""

    number: int
    workers: int
    #: The file descriptor of its end of the pipe.
    pipe: int
    #: Listening sockets that it takes over, by what they are for: "HTTP", "metrics".
    listeners: Mapping[str, int]

    def to_json(self) -> str:
        """Return it as one argument of a command."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return what `to_json` wrote."""
        return cls(**json.loads(text))


class Seat:
    """The supervisor, as a worker sees it."""

    def __init__(self, place: Place, leave: Callable[[], None]) -> None:
        """`leave` is called when the supervisor wants the worker to go, or is gone itself."""
        self.place = place
        self._leave = leave
        self._pipe = socket.socket(fileno=place.pipe)
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._closed = False
        self._calls: dict[int, Future[bytes]] = {}
        self._last = 0
        self._short: dict[str, Function] = {"ping": lambda _: b""}
        self._long: dict[str, Function] = {}
        self._deferred: dict[str, Deferred] = {}
        self._pool = ThreadPoolExecutor(_THREADS, "seat")
        self._reader = threading.Thread(target=self._read, name="seat", daemon=True)

    def serve(
        self,
        *,
        short: Mapping[str, Function],
        long: Mapping[str, Function],
        deferred: Mapping[str, Deferred],
    ) -> None:
        """Begin to do what is asked, by method; `short` ones wait for nobody.

        `deferred` ones are begun in the order in which they are asked, and answer when they are done.
        """
        self._short.update(short)
        self._long.update(long)
        self._deferred.update(deferred)
        self._reader.start()

    def call(self, method: str, request: bytes = b"") -> bytes:
        """Ask the supervisor and wait; whatever error it answers with, ServerExiting if it is gone.

        It answers within its own time limits.
        """
        return self.ask(method, request).result()

    def ask(self, method: str, request: bytes) -> Future[bytes]:
        """Ask the supervisor without waiting; calls of one thread reach it in their order."""
        answer: Future[bytes] = Future()
        with self._lock:
            if self._closed:
                raise ServerExiting("Server exiting")
            self._last += 1
            number = self._last
            self._calls[number] = answer
        self._send(Frame(kind=Kind.CALL, number=number, name=method, payload=request))
        return answer

    def tell(self, subject: str, payload: bytes) -> None:
        """Tell the supervisor; nothing if it is gone."""
        self._send(Frame(kind=Kind.TELL, name=subject, payload=payload))

    def show(self, readiness: Readiness) -> None:
        """Tell what is ready here."""
        self.tell("readiness", readiness.to_json())

    def readings(self) -> list[ModelReading]:
        """Return what all workers have counted, added up; those that have ended included."""
        return readings.from_json(self.call("readings"))

    def processes(self) -> list[int]:
        """Return the ids of all processes of the server."""
        found: list[int] = json.loads(self.call("processes"))
        return found

    def _send(self, frame: Frame) -> None:
        try:
            with self._writing:
                for part in frame.parts():
                    self._pipe.sendall(part)
        except OSError:
            return  # it is gone, which the reader finds too

    def _read(self) -> None:
        try:
            while (frame := frames.receive(self._pipe)) is not None:
                self._take(frame)
        except Exception:
            _LOG.exception("the supervisor cannot be understood")
        with self._lock:
            self._closed = True
            calls = list(self._calls.values())
            self._calls.clear()
        for call in calls:
            call.set_exception(ServerExiting("Server exiting"))
        self._leave()

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.TELL:
            self._leave()  # the only thing that is told
        elif frame.kind is not Kind.CALL:
            self._answered(frame)
        elif frame.name in self._short:
            self._do(self._short[frame.name], frame)
        elif frame.name in self._deferred:
            self._begin(self._deferred[frame.name], frame)
        else:
            self._pool.submit(self._do, self._long[frame.name], frame)

    def _answered(self, frame: Frame) -> None:
        with self._lock:
            call = self._calls.pop(frame.number)
        if frame.kind is Kind.FAILURE:
            call.set_exception(frame.error())
        else:
            call.set_result(frame.payload)

    def _begin(self, function: Deferred, frame: Frame) -> None:
        def then(answer: bytes) -> None:
            self._send(Frame(kind=Kind.ANSWER, number=frame.number, payload=answer))

        try:
            function(frame.payload, then)
        except Exception as error:
            self._send(Frame.failure(frame.number, error))

    def _do(self, function: Function, frame: Frame) -> None:
        try:
            answer = Frame(kind=Kind.ANSWER, number=frame.number, payload=function(frame.payload))
        except Exception as error:
            answer = Frame.failure(frame.number, error)
        self._send(answer)
