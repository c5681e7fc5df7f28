"""What a good caller sees while others attack a server: `python -m bench.attacks`.

Each attack runs on loopback from one thread, bounded in count and time. Beside it a probe in a process
of its own asks ServerLive over gRPC and GET /v2/health/live over HTTP, on a connection that is open
and on new ones, and notes how long the slowest took and how many failed. With the baseline the rows
show by how much a caller is held up.
"""

import argparse
import http.client
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc

from bench.attack_kinds import ATTACKS, LIVE, Attack
from bench.process import ServerProcess, stop_servers_on_sigterm

#: How long an attack lasts, and how long the probe waits between two rounds.
_SECONDS, _PAUSE_SECONDS = 8.0, 0.02

#: After so long the probe calls an answer missing.
_PATIENCE = 10.0

# -- the probe ---------------------------------------------------------------------------------------


@contextmanager
def _channel(port: int) -> Iterator[grpc.Channel]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        yield channel


def _ask_grpc(channel: grpc.Channel) -> None:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(LIVE)
    call(b"", timeout=_PATIENCE)


def _ask_http(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    connection.request("GET", "/v2/health/live")
    status = connection.getresponse().status
    connection.close()
    if status != 200:
        raise OSError(f"HTTP status {status}")


def probe(grpc_port: int, http_port: int) -> None:
    """Ask until the standard input ends; print what was seen, a line a way of asking."""
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()

    def anew() -> None:
        with _channel(grpc_port) as channel:
            _ask_grpc(channel)

    with _channel(grpc_port) as opened:
        _ask_grpc(opened)
        questions: dict[str, Callable[[], None]] = {
            "gRPC": lambda: _ask_grpc(opened),
            "gRPC, new": anew,
            "HTTP, new": lambda: _ask_http(http_port),
        }
        took: dict[str, list[float]] = {way: [] for way in questions}
        failed = dict.fromkeys(questions, 0)

        def ask(way: str) -> None:
            while not over.wait(_PAUSE_SECONDS):
                began = time.perf_counter()
                try:
                    questions[way]()
                except (grpc.RpcError, OSError, http.client.HTTPException):
                    failed[way] += 1
                took[way].append(time.perf_counter() - began)

        threads = [threading.Thread(target=ask, args=(way,)) for way in questions]
        for thread in threads:
            thread.start()
        print("asking", flush=True)
        for thread in threads:
            thread.join()
    print(_summary(took, failed))


def _summary(took: Mapping[str, Sequence[float]], failed: Mapping[str, int]) -> str:
    """Return one line: for each way of asking how often, how often in vain, and the longest time."""
    return ";  ".join(
        f"{way}: {len(times):4d}, {failed[way]:3d} failed, max {1e3 * max(times):7.1f} ms"
        for way, times in took.items()
    )


def _probe_during(grpc_port: int, http_port: int, attack: Attack) -> str:
    command = [sys.executable, "-m", "bench.attacks", "--probe", f"{grpc_port},{http_port}"]
    over = threading.Event()
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
        ExitStack() as stack,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        attacker = threading.Thread(target=attack, args=(grpc_port, http_port, stack, over))
        attacker.start()
        time.sleep(_SECONDS)
        process.stdin.close()
        seen = process.stdout.read().strip()
        over.set()
        attacker.join()
    return seen


def main() -> int:
    """Measure; return the exit status."""
    stop_servers_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m bench.attacks", description=__doc__)
    parser.add_argument("--only", default="", metavar="REGEX", help="attacks whose name matches")
    parser.add_argument(
        "--command",
        default=str(Path(sys.executable).with_name("zoo")),
        metavar="FILE",
        help="the zoo command whose server is attacked (default: this environment's)",
    )
    parser.add_argument("--transport", default="fast", choices=("fast", "public"))
    parser.add_argument("--probe", metavar="PORTS", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.probe:
        probe(*map(int, chosen.probe.split(",")))
        return 0
    for name, attack in ATTACKS.items():
        if re.search(chosen.only, name):
            print(f"{name:42s} {_outcome(chosen.command, chosen.transport, attack)}", flush=True)
    return 0


def _outcome(command: str, transport: str, attack: Attack) -> str:
    """Start a server without models, attack it, and return what the probe saw."""
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        folder = Path(work)
        (folder / "models").mkdir()
        arguments = [
            "serve", str(folder / "models"), "--grpc-port", "0", "--http-port", "0",
            "--metrics-port", "off", "--transport", transport,
        ]  # fmt: skip
        server = ServerProcess([command, *arguments], "0-1023", {}, folder / "server.log")
        try:
            return _probe_during(*server.ports(), attack)
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
