"""Two workers against one: throughput, the server's CPU a request, and how connections spread.

    python -m bench.workers                    about eight minutes
    python -m bench.workers --repeats 9        where other programs use the machine too

The servers run on two cores, one worker also on one of them alone, and the load on the others or, where
there are none, beside them. Each worker computes with one thread; gRPC's own threads may use another
core. Rounds alternate between the servers, and what is compared is the ratio within each round. What
the machine itself gives is measured in each round too: two processes that run the model, without a
server, against one, for two CPUs may be one core's two threads, or another guest's at the moment.

Sending 600 KB a request takes the load a good part of a CPU where it runs beside the servers; with the
input in shared memory it takes next to none. A burst of requests costs a worker less a request than the
same ones singly, so that CPU depends on how many are in flight in each worker: both halves and equals
are measured.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np

from bench import messages
from bench.load import Drive, generator_missing
from bench.process import ServerProcess, stop_servers_on_sigterm
from bench.repository import MOBILE, TINY, Model, Repositories, prepare

#: The region's name on the servers.
_REGION = "row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one worker and two workers are driven with."""

    model: Model
    connections: tuple[int, int]
    streams: int
    #: Whether inputs are read where they lie, in shared memory: the load is then nearly free.
    shared: bool = False

    @property
    def name(self) -> str:
        """What it is called in the report."""
        return self.model.name + (", shared memory" if self.shared else "")


CASES = (
    Case(model=MOBILE, connections=(8, 8), streams=1, shared=True),
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
        "--threads", str(workers), "--allow-shared-memory",
    ]  # fmt: skip
    log = work / f"workers-{workers}-of-{len(cores)}.log"
    process = ServerProcess(command, ",".join(map(str, cores)), {}, log)
    try:
        yield process, process.ports()[0]
    finally:
        process.stop()


@contextmanager
def _region(model: Model) -> Iterator[SharedMemory]:
    """Put one row of a model into shared memory."""
    row = np.random.default_rng(0).random((1, *model.input[1]), np.float32)
    region = SharedMemory(create=True, size=row.nbytes)
    try:
        np.ndarray(row.shape, row.dtype, region.buf)[:] = row
        yield region
    finally:
        region.close()
        region.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Two workers' figures by those of one worker, and what the machine gives two processes."""

    #: The one worker has a core of its own; and may use the cores of both.
    a_core_each: float
    on_both: float
    cpu: float
    limit: float


def compare(
    case: Case,
    servers: Sequence[tuple[ServerProcess, int]],
    work: Path,
    seconds: float,
    limit: float,
) -> Round:
    """Drive all three: one worker on one core, one on both, two on both."""
    name, shape = case.model.input
    rows = np.random.default_rng(0).random((1, *shape), np.float32)
    message = messages.request(case.model.name, name, rows)
    if case.shared:
        message = messages.request_in_region(case.model.name, name, rows.shape, _REGION)
    body = work / "workers.bin"
    body.write_bytes(messages.frame([message]))
    rates, costs = [], []
    for (process, port), connections in zip(
        servers, (case.connections[0], *case.connections), strict=True
    ):
        drive = Drive(
            port=port, body=body, connections=connections, streams=case.streams, seconds=seconds
        )
        rates.append(drive.rate())
        measured = drive.run(work / "workers-h2load.log", process.cpu_seconds)
        costs.append(measured.used / measured.answered)
    return Round(
        a_core_each=rates[2] / rates[0],
        on_both=rates[2] / rates[1],
        cpu=costs[2] / costs[1],
        limit=limit,
    )


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
    connections: Counter[str] = Counter()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(descriptor.readlink()) in ours:
                connections[descriptor.parts[2]] += 1
        except OSError:
            continue
    return list(connections.values())


def run(repositories: Repositories, work: Path, seconds: float, repeats: int) -> None:
    """Measure and print."""
    cores = sorted(os.sched_getaffinity(0))
    servers_on, load_on = cores[:2], cores[2:] or cores
    os.sched_setaffinity(0, load_on)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(serving(repositories.batching, workers, on, work))
            for workers, on in ((1, servers_on[:1]), (1, servers_on), (2, servers_on))
        ]
        region = stack.enter_context(_region(MOBILE))
        for _, port in servers:
            messages.register(port, _REGION, f"/{region.name}", region.size)
        for case in CASES:
            rounds = []
            for _ in range(repeats):
                limit = machine(case.model, repositories.file(case.model), servers_on, seconds / 2)
                rounds.append(compare(case, servers, work, seconds, limit))
            one, two = (count * case.streams for count in case.connections)
            print(
                f"{case.name}: {one} in flight, {two} for two workers: "
                f"x{_range([each.a_core_each for each in rounds])} of one on a core, "
                f"x{_range([each.on_both for each in rounds])} of one on both, where the machine "
                f"gives x{_range([each.limit for each in rounds])}; "
                f"CPU a request x{_range([each.cpu for each in rounds])}"
            )
        print(
            f"16 connections, worse than 70:30: {spread(servers[2][1], 16, 100):.0%} of 100 tries"
        )
        memory = [process.memory_mb() for process, _ in servers[1:]]
    print(f"memory (PSS): {memory[0]:.0f} MB, two workers {memory[1]:.0f} MB")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")


def _range(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> int:
    """Read the options and measure."""
    stop_servers_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path, default=Path("models"))
    parser.add_argument("--work", type=Path, default=Path("build/bench"))
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=3)
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
