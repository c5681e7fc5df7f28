"""What is measured: each scenario drives one running server and returns named figures.

Before each drive and after it a plain client sends the same message and compares the answer with
session.run's own; the bytes that h2load received must be those of as many such answers.
"""

import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from bench import messages
from bench.answers import check_bytes, compare, same
from bench.load import Drive, LoadError, Measured, one_by_one
from bench.process import ServerProcess
from bench.repository import IDENTITY, MOBILE, TINY, Model, Repositories

Figures = Mapping[str, float]

#: The figures by which servers are compared, best first; more of the first is better.
PER_SECOND, P50, P99, CPU = "per second", "p50 ms", "p99 ms", "CPU us"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running server."""

    process: ServerProcess
    port: int
    #: It answers with the message it was sent.
    echoes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where the files go, how long a drive is, and the right answers."""

    work: Path
    seconds: float
    server_core: int
    repositories: Repositories
    _right: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)

    def right_answer(self, model: Model, rows: int) -> np.ndarray:
        """Return session.run's answer to `sample`, computed once."""
        key = (model.name, rows)
        if key not in self._right:
            self._right[key] = self.repositories.right_answer(model, sample(model, rows))
        return self._right[key]


class Scenario(Protocol):
    """One table of the report."""

    @property
    def name(self) -> str:
        """Its title."""

    def applies(self, *, echoes: bool) -> bool:
        """Tell whether a kind of server is measured at all."""

    def measure(self, target: Target, setting: Setting) -> Figures:
        """Drive a server once; LoadError, PeerUnavailable or grpc.RpcError if that cannot be."""


def sample(model: Model, rows: int) -> np.ndarray:
    """Return the rows that are sent, the same each time."""
    return np.random.default_rng(0).random((rows, *model.input[1]), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """So many requests in flight, of so many rows."""

    name: str
    model: Model = TINY
    rows: int = 1
    connections: int
    streams: int
    #: session.run is measured beside it, with so many rows a run.
    limit_rows: tuple[int, ...] = ()
    #: Longer than other drives, by this factor: slow models need it for as many answers.
    patience: float = 1

    def applies(self, *, echoes: bool) -> bool:
        """An echo of large messages, or of many rows, says nothing of the wire."""
        return not echoes or (self.model is TINY and self.rows == 1)

    def message(self) -> bytes:
        """Return the request."""
        return messages.request(self.model.name, self.model.input[0], sample(self.model, self.rows))

    def measure(self, target: Target, setting: Setting) -> Figures:
        """Return requests a second, their milliseconds, and the server's CPU time for each."""
        size = self.check(target, setting)
        drive = Drive(
            port=target.port,
            body=_body(setting, self.name, [self.message()]),
            connections=self.connections,
            streams=self.streams,
            seconds=setting.seconds * self.patience,
        )
        figures = _figures(drive, target, size, 1)
        self.check(target, setting)
        return figures

    def check(self, target: Target, setting: Setting) -> int:
        """Ask once; return the answer's bytes in a body, LoadError if it is wrong."""
        message = self.message()
        answer = messages.call(target.port, message)
        if target.echoes:
            if answer != message:
                raise LoadError("the answer is not an echo")
        else:
            compare(messages.values(answer), setting.right_answer(self.model, self.rows))
        return messages.framed_size(answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """ModelStreamInfer: streams of many messages, each sent without waiting for answers."""

    name: str
    connections: int
    streams: int
    count: int

    def applies(self, *, echoes: bool) -> bool:
        """The echoes know ModelInfer only."""
        return not echoes

    def measure(self, target: Target, setting: Setting) -> Figures:
        """Return messages a second and the CPU time of each; the p50 and p99 are of whole streams."""
        message = messages.request(TINY.name, TINY.input[0], sample(TINY, 1))
        size = self._check(target, setting, message)
        drive = Drive(
            port=target.port,
            body=_body(setting, self.name, [message] * self.count),
            connections=self.connections,
            streams=self.streams,
            seconds=setting.seconds,
            method=messages.STREAM_INFER,
        )
        return _figures(drive, target, size, self.count)

    def _check(self, target: Target, setting: Setting, message: bytes) -> int:
        answers = messages.call_stream(target.port, [message] * self.count)
        if len(answers) != self.count:
            raise LoadError(f"{len(answers)} answers to {self.count} messages")
        for answer in answers:
            try:
                values = messages.stream_values(answer)
            except ValueError as error:
                raise LoadError(f"the stream answers: {error}") from None
            compare(values, setting.right_answer(TINY, 1))
        return sum(map(messages.framed_size, answers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """A large model at full load, and meanwhile a tiny one, one request at a time."""

    name: str
    large: Flight
    tiny: Flight

    def applies(self, *, echoes: bool) -> bool:
        """There is no load in an echo."""
        return not echoes

    def measure(self, target: Target, setting: Setting) -> Figures:
        """Return what the tiny model's callers see, and what the large model still does."""
        drive = Drive(
            port=target.port,
            body=_body(setting, self.large.name, [self.large.message()]),
            connections=self.large.connections,
            streams=self.large.streams,
            seconds=setting.seconds,
        )
        size = self.large.check(target, setting)
        count = round(drive.run(_beside(drive)).per_second * 3 * setting.seconds) + drive.in_flight
        with ThreadPoolExecutor(1) as pool:
            enough = threading.Event()
            full = pool.submit(_keep_sending, drive, count, enough)
            try:
                wait([full], setting.seconds / 4)  # the large model reaches its full load
                figures = self.tiny.measure(target, setting)
            finally:
                enough.set()
            measured = full.result()
        check_bytes(measured, size, drive.in_flight)
        return {
            P99: figures[P99],
            P50: figures[P50],
            PER_SECOND: figures[PER_SECOND],
            "large per second": measured.per_second,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Large:
    """One large tensor in and out, one call after the other, by a Python client."""

    megabytes: int
    count: int

    @property
    def name(self) -> str:
        """Its title."""
        return f"identity, {self.megabytes} MB in and out"

    def applies(self, *, echoes: bool) -> bool:
        """The echo is what the others are compared with."""
        return True

    def measure(self, target: Target, setting: Setting) -> Figures:
        """Return the median milliseconds of a call."""
        values = np.arange(self.megabytes * 2**20 // 4, dtype=np.float32)
        message = messages.request(IDENTITY.name, IDENTITY.input[0], values)
        answer = messages.call(target.port, message)
        if answer != message if target.echoes else not same(messages.values(answer), values):
            raise LoadError("the answer is not what was sent")
        return {P50: one_by_one(target.port, message, self.count, 4 * setting.seconds)}


ONE = Flight(name="tiny, 1 in flight", connections=1, streams=1)
CALLERS = Flight(name="tiny, 8 x 1 in flight", connections=8, streams=1)
FOUR = Flight(name="tiny, 4 x 8 in flight", connections=4, streams=8)
EIGHT = Flight(name="tiny, 8 x 8 in flight", connections=8, streams=8, limit_rows=(1, 64))
ONE_BY_64 = Flight(name="tiny, 1 x 64 in flight", connections=1, streams=64)
ROWS = Flight(
    name="tiny, 64 rows a request, 4 x 8", rows=64, connections=4, streams=8, limit_rows=(64,)
)
MOBILE_FLIGHT = Flight(
    name="MobileNetV2-sized, 4 x 2", model=MOBILE, connections=4, streams=2,
    limit_rows=(1, 8), patience=2,
)  # fmt: skip
NEIGHBOURS = Neighbours(
    name="tiny beside MobileNetV2-sized at full load", large=MOBILE_FLIGHT, tiny=ONE
)
LARGEST = Large(megabytes=64, count=3)
SCENARIOS: tuple[Scenario, ...] = (
    ONE,
    CALLERS,
    FOUR,
    EIGHT,
    ONE_BY_64,
    ROWS,
    Stream(name="tiny, 4 streams of 64 messages", connections=4, streams=1, count=64),
    MOBILE_FLIGHT,
    NEIGHBOURS,
    Large(megabytes=4, count=20),
    LARGEST,
)


def in_process(flight: Flight, rows: int, setting: Setting) -> Figures:
    """Return what session.run does with so many rows a run, as requests of the flight a second."""
    shape = ",".join(map(str, (rows, *flight.model.input[1])))
    program = Path(__file__).parent / "programs" / "in_process.py"
    done = subprocess.run(
        [
            "taskset", "-c", str(setting.server_core), sys.executable, str(program),
            str(setting.repositories.file(flight.model)), shape,
            str(setting.seconds * flight.patience),
        ],
        capture_output=True, text=True, check=False, timeout=setting.seconds * 10 + 60,
    )  # fmt: skip
    if done.returncode:
        raise LoadError(f"session.run failed: {done.stderr.strip()[-200:]}")
    runs, cpu = map(float, done.stdout.split())
    requests = rows / flight.rows  # in one run
    return {PER_SECOND: runs * requests, CPU: cpu / requests}


def _figures(drive: Drive, target: Target, size: int, weight: int) -> Figures:
    """Drive; `weight` inferences are one HTTP request."""
    measured = drive.run(drive.body.with_suffix(".log"), target.process.cpu_seconds)
    check_bytes(measured, size, drive.in_flight)
    return {
        PER_SECOND: measured.per_second * weight,
        P50: measured.p50,
        P99: measured.p99,
        CPU: measured.used / (measured.answered * weight) * 1e6,
    }


def _body(setting: Setting, name: str, content: list[bytes]) -> Path:
    path = setting.work / f"{name.replace(' ', '-').replace(',', '')}.bin"
    if not path.exists():
        path.write_bytes(messages.frame(content))
    return path


def _beside(drive: Drive) -> Path:
    # A log of its own: the same body may be driven alone, too.
    return drive.body.with_suffix(".beside.log")


def _keep_sending(drive: Drive, count: int, enough: threading.Event) -> Measured:
    """Send so many requests, again and again until it is enough; return the last that were whole."""
    while True:
        measured = drive.send(_beside(drive), count)
        if enough.is_set():
            return measured
