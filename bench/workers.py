"""Two workers against one: throughput, the server's CPU a request, and how connections spread.

    python -m bench.workers                    about two minutes
    python -m bench.workers --repeats 9        where other programs use the machine too

The servers run on two cores, and the load on the others or, where there are none, beside them. Each
worker computes with one thread. Rounds alternate between the servers, and what is compared is the
ratio within each round. What the machine itself gives is measured in each round too: two processes
that run the model, without a server, against one, for two CPUs may be one core's two threads, or
another guest's at the moment. A burst of requests costs a worker less a request than the same ones singly,
so that CPU depends on how many are in flight in each worker: both halves and equals are measured.
"""

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import messages
from bench.load import Drive, generator_missing
from bench.process import ServerProcess
from bench.repository import MOBILE, TINY, Model, Repositories, prepare

_READY = re.compile(r"ready: gRPC on \S+:(\d+),")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one worker and two workers are driven with."""

    model: Model
    connections: tuple[int, int]
    streams: int


CASES = (
    Case(model=MOBILE, connections=(8, 8), streams=1),
    Case(model=TINY, connections=(16, 16), streams=1),
    Case(model=TINY, connections=(16, 32), streams=1),
    Case(model=TINY, connections=(16, 16), streams=16),
)


@contextmanager
def serving(
    repository: Path, workers: int, cores: Sequence[int], work: Path
) -> Iterator[tuple[ServerProcess, int]]:
    """Run a server whose workers have one thread each; yield it and its port."""
    command = [
        str(Path(sys.executable).with_name("zoo")), "serve", str(repository), "--grpc-port", "0",
        "--http-port", "off", "--metrics-port", "off", "--workers", str(workers),
        "--threads", str(workers),
    ]  # fmt: skip
    log = work / f"workers-{workers}.log"
    process = ServerProcess(command, ",".join(map(str, cores)), {}, log)
    try:
        process.wait_until(lambda: _READY.search(log.read_text()) is not None, 60)
        found = _READY.search(log.read_text())
        assert found is not None
        yield process, int(found.group(1))
    finally:
        process.stop()


def compare(
    case: Case, servers: Sequence[tuple[ServerProcess, int]], work: Path, seconds: float
) -> tuple[float, float]:
    """Drive both once; return two workers' throughput and CPU a request, by one worker's."""
    name, shape = case.model.input
    rows = np.random.default_rng(0).random((1, *shape), np.float32)
    body = work / f"workers-{case.model.name}.bin"
    body.write_bytes(messages.frame([messages.request(case.model.name, name, rows)]))
    figures = []
    for (process, port), connections in zip(servers, case.connections, strict=True):
        measured = Drive(
            port=port, body=body, connections=connections, streams=case.streams, seconds=seconds
        ).run(work / "workers-h2load.log", process.cpu_seconds)
        figures.append((measured.per_second, measured.used / measured.answered))
    (one, one_cpu), (two, two_cpu) = figures
    return two / one, two_cpu / one_cpu


def machine(model: Model, path: Path, cores: Sequence[int], seconds: float) -> float:
    """Return the runs a second of a process on each core, together, by those of one process."""
    shape = ",".join(map(str, (1, *model.input[1])))
    program = Path(__file__).with_name("programs") / "in_process.py"
    command = [sys.executable, str(program), str(path), shape, str(seconds)]

    def runs(on: Sequence[int]) -> float:
        started = [
            subprocess.Popen(
                ["taskset", "-c", str(core), *command], stdout=subprocess.PIPE, text=True
            )
            for core in on
        ]
        return sum(float(process.communicate()[0].split()[0]) for process in started)

    return runs(cores) / runs(cores[:1])


def spread(port: int, connections: int, tries: int) -> float:
    """Return the part of tries in which one of two processes got more than 70 % of connections."""
    worse = 0
    for _ in range(tries):
        with ExitStack() as stack:
            for _ in range(connections):
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            while sum(shares := _shares(port)) < connections:
                time.sleep(0.005)
            worse += max(shares) > 0.7 * connections
        while _shares(port):
            time.sleep(0.005)
    return worse / tries


def _shares(port: int) -> list[int]:
    """Return how many connections to a port each process has that has some."""
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()
    ]
    ours = {
        f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"
    }
    found: Counter[str] = Counter()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(descriptor.readlink()) in ours:
                found[descriptor.parts[2]] += 1
        except OSError:
            continue
    return list(found.values())


def run(repositories: Repositories, work: Path, seconds: float, repeats: int) -> None:
    """Measure and print."""
    cores = sorted(os.sched_getaffinity(0))
    servers_on, load_on = cores[:2], cores[2:] or cores
    os.sched_setaffinity(0, load_on)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(serving(repositories.batching, workers, servers_on, work))
            for workers in (1, 2)
        ]
        for case in CASES:
            found = []
            for _ in range(repeats):
                limit = machine(case.model, repositories.file(case.model), servers_on, seconds / 2)
                found.append((*compare(case, servers, work, seconds), limit))
            rates, costs, limits = zip(*found, strict=True)
            one, two = (count * case.streams for count in case.connections)
            print(
                f"{case.model.name:7} {one} in flight, {two} for two workers: "
                f"throughput x{_range(rates)} where the machine gives x{_range(limits)}, "
                f"CPU a request x{_range(costs)}"
            )
        print(
            f"16 connections, worse than 70:30: {spread(servers[1][1], 16, 100):.0%} of 100 tries"
        )
        memory = [process.memory_mb() for process, _ in servers]
    print(f"memory (PSS): {memory[0]:.0f} MB, two workers {memory[1]:.0f} MB")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")


def _range(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> int:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path, default=Path("models"))
    parser.add_argument("--work", type=Path, default=Path("build/bench"))
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if missing := generator_missing():
        print(missing, file=sys.stderr)
        return 2
    options.work.mkdir(parents=True, exist_ok=True)
    repositories = prepare(options.work / "workers", options.repository)
    run(repositories, options.work, options.seconds, options.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
