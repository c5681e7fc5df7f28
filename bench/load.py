"""The load: h2load for small messages, one plain channel for large ones.

h2load writes gRPC bodies that were prepared, on any number of connections and streams, from one
core. Its log has one line a request: when it began (µs since the epoch), its HTTP status, and the
microseconds until its end.
"""

import os
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import numpy as np

from bench import messages

#: With fewer requests than this, filling up and running dry would weigh in a plain count.
_FEW = 2000

#: Fewer different moments than this make no line.
_MOMENTS = 8

#: The first try's requests, how often to try for the right number, and the part of the time that
#: will do.
_FIRST, _TRIES, _ENOUGH = 32, 5, 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The figures of one drive."""

    #: Requests that were answered.
    answered: int
    per_second: float
    #: Milliseconds from a request's first byte to its answer's last.
    p50: float
    p99: float
    #: Bytes of the answers' bodies.
    data_bytes: int
    #: Seconds from the first request to the last answer.
    elapsed: float
    #: What the drive's meter counted meanwhile.
    used: float = 0.0


class LoadError(RuntimeError):
    """The load could not be run, or requests failed."""


def generator_missing() -> str | None:
    """Return why h2load cannot be used, None if it can."""
    if shutil.which("h2load"):
        return None
    return "h2load is not installed: apt-get install nghttp2-client"


def generator_version() -> str:
    """Return what h2load calls itself."""
    done = subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """Connections × streams requests in flight, the same body again and again."""

    port: int
    body: Path
    connections: int
    streams: int
    seconds: float
    method: str = messages.INFER

    @property
    def in_flight(self) -> int:
        """Requests under way at a time."""
        return self.connections * self.streams

    def run(self, log: Path, meter: Callable[[], float] = lambda: 0.0) -> Measured:
        """Send as much as takes about so long; LoadError if any request failed.

        Requests are counted, not timed, so that none is cut off: what a server does with calls whose
        client has gone is another matter. How many fit into the time is tried out, which also warms
        the server up. What the meter shows more after the counted requests than before them is
        `used`.
        """
        count = max(2 * self.in_flight, _FIRST)
        for _ in range(_TRIES):
            before = meter()
            measured = self.send(log, count)
            if measured.elapsed >= _ENOUGH * self.seconds:
                break
            count = max(count, round(measured.answered / measured.elapsed * self.seconds))
        return replace(measured, used=meter() - before)

    def send(self, log: Path, count: int) -> Measured:
        """Send so many requests; LoadError if any failed."""
        log.unlink(missing_ok=True)
        output = self._h2load("-n", str(count), "--log-file", str(log))
        return parse(output, log.read_text())

    def rate(self) -> float:
        """Return the requests a second while all connections are busy; LoadError if any failed.

        A count is dealt out to the connections beforehand: where they lead to several processes, and
        not the same number to each, one process is idle at the end. By the clock none is.
        """
        output = self._h2load("-D", str(round(self.seconds)), "--warm-up-time", "1")
        match = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", output)
        rate = float(match.group(1)) if match else 0.0
        # By the clock, requests that were never answered are not said to have failed.
        if not rate or "0 failed, 0 errored, 0 timeout" not in output:
            raise LoadError(f"requests failed: {output.strip()[-200:]}")
        return rate

    def _h2load(self, *options: str) -> str:
        """Run it and return what it says; LoadError if it fails or does not end."""
        command = [
            "h2load", "-t", "1", "-c", str(self.connections), "-m", str(self.streams),
            "-d", str(self.body), "-H", "content-type: application/grpc", "-H", "te: trailers",
            *options, f"http://127.0.0.1:{self.port}{self.method}",
        ]  # fmt: skip
        limit = 10 * self.seconds + 60
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=limit
            )
        except subprocess.TimeoutExpired:
            raise LoadError(f"h2load did not end within {limit:g} s") from None
        if done.returncode:
            raise LoadError(f"h2load failed: {(done.stderr or done.stdout).strip()[-200:]}")
        return done.stdout


def parse(output: str, log: str) -> Measured:
    """Read h2load's summary and its log; LoadError unless every request was answered with 2xx."""
    counts = re.search(
        r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output
    )
    rate = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", output)
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    data = re.search(r"\((\d+)\) data", output)
    if counts is None or rate is None or codes is None or data is None:
        raise LoadError(f"h2load's output is not understood: {output.strip()[-200:]!r}")
    done, succeeded, *wrong = map(int, counts.groups())
    if not done or succeeded != done or any(wrong) or any(map(int, codes.groups()[1:])):
        raise LoadError(f"requests failed: {counts.group(0)}; {codes.group(0)}")
    rows = [[int(cell) for cell in line.split("\t")[:3]] for line in log.splitlines() if line]
    if len(rows) != done:
        raise LoadError(f"h2load counts {done} requests, and its log has {len(rows)}")
    took = sorted(row[2] for row in rows)
    per_second = float(rate.group(1))
    if done < _FEW:  # the first and the last batch of a few are not full
        per_second = slope([row[0] + row[2] for row in rows]) or per_second
    return Measured(
        answered=done,
        per_second=per_second,
        p50=quantile(took, 0.50) / 1000,
        p99=quantile(took, 0.99) / 1000,
        data_bytes=int(data.group(1)),
        elapsed=done / float(rate.group(1)),
    )


def slope(ends: Sequence[int]) -> float | None:
    """Return answers a second, by least squares through the moments (µs) when they ended.

    Of thousands of requests the beginning and the end weigh nothing, but of sixty that come in
    batches of eight each is an eighth. None with too few different moments for a line.
    """
    moments = np.sort(np.array(ends, np.float64)) / 1e6
    if len(np.unique(moments)) < _MOMENTS:
        return None
    return float(np.polyfit(moments - moments[0], np.arange(len(moments)), 1)[0])


def quantile(ordered: Sequence[float], part: float) -> float:
    """Return the nearest-rank quantile of values in ascending order, not empty."""
    return float(ordered[max(0, -int(-part * len(ordered) // 1) - 1)])


def one_by_one(port: int, message: bytes, count: int, seconds: float) -> float:
    """Ask one after the other on one channel, at most so often and (after once) so long.

    Returns the median milliseconds.
    """
    took: list[float] = []
    with messages.channel(port) as channel:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(messages.INFER)
        ask(message, timeout=20)
        while len(took) < count and (not took or sum(took) < seconds * 1000):
            began = time.perf_counter()
            ask(message, timeout=20)
            took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def split_cores() -> tuple[int, int]:
    """Return the server's core and the load's; LoadError with fewer than two to use."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise LoadError("two cores are needed, one for the server and one for the load; have 1")
    return cores[0], cores[-1]
