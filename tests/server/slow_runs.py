"""Runs of the slow model that take as long as a test needs."""

import time
from collections.abc import Callable

_PROBE_TRIPS, _PROBES = 20_000, 5


def trips_for(seconds: float, run: Callable[[int], object]) -> int:
    """Return how many trips of the slow model's loop take about that long, or longer.

    `run` runs the model for so many trips. The fastest of several runs counts: whatever else the
    machine does makes them slower, and a test that counted on a slow one would find its own over.
    """
    times = []
    for _ in range(_PROBES):  # the first warms up
        began = time.perf_counter()
        run(_PROBE_TRIPS)
        times.append(time.perf_counter() - began)
    return int(_PROBE_TRIPS * seconds / min(times))
