"""Measures how long a model takes for one row on the machine that builds the site, and says what machine that is."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from zoo.parity.runtimes import OnnxRuntime

#: How long each model is asked, after some runs that are thrown away.
SECONDS, WARM_UP = 0.2, 20

CPUS = Path("/proc/cpuinfo")


def latency(run: Callable[[Any], Any], row: Mapping[str, Any]) -> float:
    """Return the median milliseconds of a run with one row, with nothing else in the way."""
    for _ in range(WARM_UP):
        run(row)
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        run(row)
        times.append(time.perf_counter() - begin)
    return median(times) * 1000


def conditions() -> dict[str, str]:
    """Return what a reader needs to judge the figures."""
    cpu = platform.machine()
    for line in CPUS.read_text().splitlines() if CPUS.is_file() else ():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "runtime": f"onnxruntime {OnnxRuntime().version()}",
        "date": datetime.now(UTC).date().isoformat(),
    }
