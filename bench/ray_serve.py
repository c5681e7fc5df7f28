"""Replicas behind Ray Serve beside one `zoo serve`: python -m bench.ray_serve.

    unshare --map-root-user --net sh -c 'ip link set lo up && exec .venv/bin/python -m bench.ray_serve'

About eight minutes; writes its figures beside the others in bench/results. Needs `make .venv/.installed-ray` and h2load. Ray listens
on every address of a machine, so it gets a network namespace of its own.

Each round starts each server anew, times it until the first answer, drives it with h2load, and reads the
memory of all its processes (PSS): of Ray these are its control service, raylet, agents, controller and proxy besides
the replicas. Servers and load share all cores. Only ratios within a round are compared.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import yaml

from bench import messages, report
from bench.load import Drive, LoadError, generator_missing
from bench.process import ServerProcess, stop_servers_on_sigterm
from bench.repository import MOBILE, TINY, Model, prepare
from bench.servers import free_port

RESULTS = Path(__file__).parent / "results" / "ray_serve.json"
CONFIG = Path(__file__).parents[1] / "deploy" / "ray" / "serve.yaml"
PROGRAMS = Path(sys.executable).parent

ZOO, RAY, RAY_TWO = "zoo serve", "Ray, 1 replica", "Ray, 2 replicas"

#: Seconds for a server to answer.
_READY = 300

#: What Ray gives its proxy to start, where other programs use the machine too.
PATIENCE = {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "240"}

#: Starts of a server: a raylet that is short of processor time at the start gives up.
_STARTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests of one row, so many under way."""

    model: Model
    connections: int
    streams: int

    @property
    def name(self) -> str:
        return f"{self.model.name}, {self.connections * self.streams} under way"

    def message(self) -> bytes:
        row = np.random.default_rng(0).random((1, *self.model.input[1]), np.float32)
        return messages.request(self.model.name, self.model.input[0], row)


LOADS = (
    Load(model=TINY, connections=1, streams=1),
    Load(model=TINY, connections=8, streams=1),
    Load(model=TINY, connections=8, streams=8),
    Load(model=MOBILE, connections=4, streams=1),
)


def command(server: str, repository: Path, work: Path, port: int) -> list[str]:
    """Return what starts a server with one thread for computing, each replica likewise."""
    if server == ZOO:
        ports = ["--grpc-port", str(port), "--http-port", "off", "--metrics-port", "off"]
        return [str(PROGRAMS / "zoo"), "serve", str(repository), "--threads", "1", *ports]
    config = yaml.safe_load(CONFIG.read_text())
    config["grpc_options"]["port"] = port
    config["logging_config"] = {"enable_access_log": False}
    replicas = 1 if server == RAY else 2
    arguments = {"repository": str(repository), "min_replicas": replicas, "max_replicas": replicas}
    (application,) = config["applications"]
    application["args"] |= arguments
    file = work / "serve.yaml"
    file.write_text(yaml.safe_dump(config))
    return [str(PROGRAMS / "serve"), "run", str(file)]


def answers(port: int, message: bytes) -> bool:
    """Tell whether a server answers a request."""
    with suppress(grpc.RpcError):
        return bool(messages.call(port, message, 5))
    return False


def measure(server: str, repository: Path, work: Path, seconds: float) -> dict[str, Any]:
    """Start a server, drive it with all loads, and stop it; return its figures."""
    port = free_port()
    first = LOADS[0].message()
    for left in reversed(range(_STARTS)):
        process = start(server, repository, work, port)
        try:
            ready = process.wait_until(lambda: answers(port, first), _READY)
            figures: dict[str, Any] = {"start s": ready}
            for load in LOADS:
                figures[load.name] = drive(load, process, port, work, seconds)
            figures["memory MB"] = process.memory_mb()
            return figures
        except TimeoutError:
            if not left:
                raise
        finally:
            process.stop()
    raise AssertionError("unreachable")


def start(server: str, repository: Path, work: Path, port: int) -> ServerProcess:
    """Start a server on all cores."""
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    starts = command(server, repository, work, port)
    # By default Ray's workers give way to all else on a machine, the load and its other processes too.
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", **PATIENCE}
    return ServerProcess(starts, cores, settings, work / "log.txt")


def drive(
    load: Load, process: ServerProcess, port: int, work: Path, seconds: float
) -> dict[str, float]:
    """Send requests; LoadError unless each was answered with a tensor."""
    message = load.message()
    size = messages.framed_size(messages.call(port, message, 20))
    body = work / "body.bin"
    body.write_bytes(messages.frame([message]))
    run = Drive(
        port=port, body=body, connections=load.connections, streams=load.streams, seconds=seconds
    )
    measured = run.run(work / "h2load.log", process.cpu_seconds)
    if measured.data_bytes < measured.answered * size:
        raise LoadError(f"{load.name}: some of {measured.answered} requests had no tensor")
    return {
        "per second": measured.per_second,
        "p50 ms": measured.p50,
        "p99 ms": measured.p99,
        "CPU ms a request": 1000 * measured.used / measured.answered,
    }


def medians(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure over the rounds."""
    return {
        name: medians([each[name] for each in rounds])
        if isinstance(value, Mapping)
        else round(statistics.median(each[name] for each in rounds), 2)
        for name, value in rounds[0].items()
    }


def ratios(rounds: Sequence[Mapping[str, Any]], server: str) -> dict[str, float]:
    """Return a server's throughput by that of `zoo serve`, the median of each round's."""
    return {
        load.name: round(
            statistics.median(
                each[server][load.name]["per second"] / each[ZOO][load.name]["per second"]
                for each in rounds
            ),
            3,
        )
        for load in LOADS
    }


def main() -> None:
    """Measure, print and write the figures."""
    stop_servers_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=float, default=3, metavar="S", help="of each drive")
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2], metavar="N")
    options = parser.parse_args()
    options.servers = [
        ZOO,
        *(name for number, name in enumerate((RAY, RAY_TWO), 1) if number in options.replicas),
    ]
    if missing := generator_missing():
        parser.error(missing)
    with tempfile.TemporaryDirectory(prefix="zoo-ray-serve-") as place:
        repository = prepare(Path(place), Path("models")).single
        rounds = [
            {
                server: measure(server, repository, Path(place), options.seconds)
                for server in options.servers
            }
            for _ in range(options.rounds)
        ]
    figures = {
        "machine": report.machine(),
        "medians": medians(rounds),
        "throughput against zoo serve": {
            name: ratios(rounds, name) for name in options.servers if name != ZOO
        },
        "rounds": rounds,
    }
    print(json.dumps({key: value for key, value in figures.items() if key != "rounds"}, indent=2))
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
