"""What one request does to everybody else: a ServerLive probe every 2 ms beside each of them.

    python -m bench.stall                       about a minute
    python -m bench.stall --only 'text|gate'    some of the rows
    python -m bench.stall --runs 3              the median of each row over three servers

The server's loop answers short requests itself, so whatever else it does itself, everybody waits for.
Each row sends one kind of request that takes long in one way, several times, while a process of its
own asks ServerLive. What the probe sees of an idle server, at the beginning and at the end, is the
machine's own part. The models are made here; nothing is trained or downloaded.

No request is read, run or answered on the loop unless it is known to be short. What the probe still sees
of large ones is time that libraries keep the interpreter's lock for: grpcio while it copies a message
(`python -m bench.lock_holds` measures such calls alone), and the lock's own way of going round: a question takes
it several times, and each time threads that work may keep it for a while.
"""

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.messages import channel
from bench.process import ServerProcess, stop_servers_on_sigterm
from bench.stall.models import make_models
from bench.stall.probe import Seen, watched
from bench.stall.rows import Row, rows

#: How long the idle server is watched, before and after the rows.
_IDLE_SECONDS = 2.0

#: What a row takes at least, so that the probe is asked often enough.
_ROW_SECONDS = 1.5


def _measure(row: Row, server: ServerProcess, grpc_port: int, http_port: int) -> tuple[Seen, int]:
    sent = 0

    def work() -> None:
        nonlocal sent
        began = time.perf_counter()
        while not sent or time.perf_counter() - began < _ROW_SECONDS:
            row.send(opened, http_port)
            sent += 1

    with channel(grpc_port) as opened:
        row.send(opened, http_port)  # builds the message
        return watched(server, grpc_port, work), sent


def _start(command: str, folder: Path) -> tuple[ServerProcess, int, int]:
    arguments = [
        "serve", str(folder / "models"), "--grpc-port", "0", "--http-port", "0",
        "--metrics-port", "0",
    ]  # fmt: skip
    server = ServerProcess([command, *arguments], "0-1023", {}, folder / "server.log")
    try:
        return server, *server.ports()
    except TimeoutError as error:
        server.stop()
        raise SystemExit(str(error)) from None


def _run(command: str, only: str) -> Iterator[tuple[str, Seen, int]]:
    """Give what was seen of each row of one server, and how many requests were sent."""
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        make_models(Path(work) / "models")
        server, grpc_port, http_port = _start(command, Path(work))
        try:
            yield "idle, before", _idle(server, grpc_port), 0
            for row in rows():
                if re.search(only, row.name):
                    yield row.name, *_measure(row, server, grpc_port, http_port)
            yield "idle, after", _idle(server, grpc_port), 0
        finally:
            server.stop()


def _idle(server: ServerProcess, port: int) -> Seen:
    return watched(server, port, lambda: time.sleep(_IDLE_SECONDS))


def _print(name: str, seen: Seen, sent: int) -> None:
    print(
        f"{name:40s} {sent:3d} sent {seen.count:5d} probes  p99 {seen.p99:8.1f}  "
        f"max {seen.worst:8.1f}  max of the server's {seen.busiest:8.1f} ms",
        flush=True,
    )


def _print_medians(runs: dict[str, list[Seen]]) -> None:
    print("| row | p99 | max | max of the server's |\n| --- | ---: | ---: | ---: |")
    for name, several in runs.items():
        columns: list[Callable[[Seen], float]] = [
            lambda seen: seen.p99, lambda seen: seen.worst, lambda seen: seen.busiest,
        ]  # fmt: skip
        medians = [statistics.median(map(column, several)) for column in columns]
        print(f"| {name} | {' | '.join(f'{median:.1f}' for median in medians)} |")


def main() -> int:
    """Measure; return the exit status."""
    stop_servers_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m bench.stall", description=__doc__)
    parser.add_argument("--only", default="", metavar="REGEX", help="rows whose name matches")
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="servers measured")
    parser.add_argument(
        "--command",
        default=str(Path(sys.executable).with_name("zoo")),
        metavar="FILE",
        help="the zoo command whose server is measured (default: this environment's)",
    )
    chosen = parser.parse_args()
    runs: dict[str, list[Seen]] = {}
    for _ in range(chosen.runs):
        for name, seen, sent in _run(chosen.command, chosen.only):
            _print(name, seen, sent)
            runs.setdefault(name, []).append(seen)
    if chosen.runs > 1:
        _print_medians(runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
