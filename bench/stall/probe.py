"""The probe of bench.stall: asks ServerLive again and again, in a process of its own.

python -m bench.stall.probe PORT PID       until the standard input ends
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc
import numpy as np

from bench.messages import channel
from bench.process import ServerProcess

LIVE = "/inference.GRPCInferenceService/ServerLive"

#: Between two questions of the probe.
_PROBE_SECONDS = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the probe saw, in milliseconds."""

    count: int
    p99: float
    worst: float
    #: The most processor time of the server within one question: what an otherwise idle machine would have
    #: shown, at most. Whatever else ran on the machine is in `worst` alone.
    busiest: float


def _ask(port: int, server: int) -> None:
    """Ask ServerLive until the standard input ends; write what was seen.

    `server` is the number of the server's process.
    """
    # Linux's clock of another process's processor time (clock_getcpuclockid(3)).
    clock = ~server << 3 | 2
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    took: list[float] = []
    used: list[float] = []
    with channel(port) as opened:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(LIVE)
        call(b"", timeout=60)
        print("asking", flush=True)
        while not over.wait(_PROBE_SECONDS):
            began, used_before = time.perf_counter(), time.clock_gettime(clock)
            call(b"", timeout=60)
            took.append(time.perf_counter() - began)
            used.append(min(took[-1], time.clock_gettime(clock) - used_before))
    print(len(took), *(1e3 * value for value in (np.quantile(took, 0.99), max(took), max(used))))


def watched(server: ServerProcess, port: int, work: Callable[[], None]) -> Seen:
    command = [sys.executable, "-m", "bench.stall.probe", str(port), str(server.pid)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        try:
            work()
        finally:
            process.stdin.close()
        count, p99, worst, busiest = process.stdout.read().split()
    return Seen(count=int(count), p99=float(p99), worst=float(worst), busiest=float(busiest))


if __name__ == "__main__":
    _ask(*map(int, sys.argv[1:]))
