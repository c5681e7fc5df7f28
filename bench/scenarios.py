"""What is measured: each scenario drives one running server and returns named figures."""

import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import load
from bench.process import ServerProcess

Figures = Mapping[str, float]

#: Inputs: name and shape of one row.
INPUTS = {
    "tiny": ("image", (8, 8, 1)),
    "mobile": ("image", (3, 224, 224)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running server."""

    process: ServerProcess
    port: int
    echoes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and how long."""

    work: Path
    seconds: float
    cores: set[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """So many requests in flight, of so many rows."""

    name: str
    model: str
    rows: int
    connections: int
    streams: int
    #: Runs of session.run to compare with have this many rows.
    limit_rows: int | None = None

    def message(self) -> bytes:
        """Return the request."""
        name, shape = INPUTS[self.model]
        rows = np.random.default_rng(0).random((self.rows, *shape), np.float32)
        return load.request(self.model, name, rows)

    def measure(self, target: Target, setting: Setting) -> Figures:
        """Drive the server; requests a second, milliseconds, CPU microseconds a request."""
        payload = setting.work / f"{self.name.replace(' ', '-')}.bin"
        if not payload.exists():
            load.write_payload(payload, self.message())
        before = target.process.cpu_seconds()
        measured = load.drive(
            target.port,
            payload,
            connections=self.connections,
            streams=self.streams,
            seconds=setting.seconds,
            cores=setting.cores,
        )
        cpu = target.process.cpu_seconds() - before
        # The warm-up's half second is driven, and used CPU, too.
        answered = measured.per_second * (setting.seconds + 0.5)
        return {
            "per second": measured.per_second,
            "p50 ms": measured.p50,
            "p99 ms": measured.p99,
            "CPU us": cpu / max(1.0, answered) * 1e6,
        }


FLIGHTS = (
    Flight(name="tiny, 1 in flight", model="tiny", rows=1, connections=1, streams=1),
    Flight(name="tiny, 4 x 8", model="tiny", rows=1, connections=4, streams=8),
    Flight(name="tiny, 8 x 8", model="tiny", rows=1, connections=8, streams=8, limit_rows=1),
    Flight(name="tiny, 1 x 64", model="tiny", rows=1, connections=1, streams=64),
    Flight(name="64 rows, 4 x 8", model="tiny", rows=64, connections=4, streams=8, limit_rows=64),
    Flight(name="mobile, 4 x 2", model="mobile", rows=1, connections=4, streams=2, limit_rows=8),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """The large model at full load, and meanwhile the tiny one, one request at a time."""

    name: str = "tiny beside mobile at full load"

    def measure(self, target: Target, setting: Setting) -> Figures:
        """Return what the tiny model's callers see."""
        tiny, large = FLIGHTS[0], FLIGHTS[-1]
        full = threading.Thread(target=large.measure, args=(target, setting))
        full.start()
        try:
            short = Setting(
                work=setting.work, seconds=max(0.5, setting.seconds - 1), cores=setting.cores
            )
            figures = tiny.measure(target, short)
        finally:
            full.join()
        return {name: figures[name] for name in ("per second", "p50 ms", "p99 ms")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Large:
    """One large tensor in and out, one call after the other."""

    megabytes: int
    count: int

    @property
    def name(self) -> str:
        return f"identity, {self.megabytes} MB in and out"

    def measure(self, target: Target, _: Setting) -> Figures:
        """Return the median milliseconds of a call."""
        values = np.arange(self.megabytes * 2**20 // 4, dtype=np.float32)
        message = load.request("identity", "x", values)
        return {"p50 ms": load.one_by_one(target.port, message, self.count)}


LARGE = (Large(megabytes=4, count=30), Large(megabytes=64, count=4))
Scenario = Flight | Neighbours | Large
SCENARIOS: tuple[Scenario, ...] = (*FLIGHTS, Neighbours(), *LARGE)


def in_process(repository: Path, flight: Flight, setting: Setting, cores: set[int]) -> Figures:
    """Return what session.run itself does with the flight's rows, on the servers' core."""
    assert flight.limit_rows is not None
    shape = ",".join(map(str, (flight.limit_rows, *INPUTS[flight.model][1])))
    done = subprocess.run(
        [
            "taskset", "-c", ",".join(map(str, sorted(cores))), sys.executable,
            str(Path(__file__).parent / "programs" / "in_process.py"),
            str(repository / flight.model / "1" / "model.onnx"), shape, str(setting.seconds),
        ],
        capture_output=True, text=True, check=True, timeout=setting.seconds + 60,
    )  # fmt: skip
    runs = float(done.stdout)
    return {"per second": runs * flight.limit_rows / flight.rows}
