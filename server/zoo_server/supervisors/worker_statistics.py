"""The sum of all workers' counts, including ended workers, so that counters never fall.

What an ended worker has counted of a version stays for as long as that is served. A version that no
worker has any more, or that one has loaded anew, begins again at nothing, as in a server of one process.
"""

from collections.abc import Iterable
from dataclasses import replace

from zoo_server.telemetry import readings
from zoo_server.telemetry.readings import ModelReading

_Version = tuple[str, int]


class WorkerStatistics:
    """The last readings of each worker, and the sums of those that have ended."""

    def __init__(self) -> None:
        self._running: dict[str, dict[_Version, ModelReading]] = {}
        self._ended: dict[_Version, ModelReading] = {}

    def update(self, worker: str, latest: Iterable[ModelReading]) -> None:
        """Take a worker's readings in the place of its earlier ones."""
        before = self._running.get(worker, {})
        now = self._running[worker] = _by_version(latest)
        reloaded = {
            version
            for version in before.keys() & now.keys()
            if before[version].loaded_ns != now[version].loaded_ns
        }
        served = {version for each in self._running.values() for version in each} - reloaded
        self._ended = {version: sums for version, sums in self._ended.items() if version in served}

    def end(self, worker: str) -> None:
        """Keep the sums of a worker that has ended; nothing waits in it or is loaded in it."""
        last = self._running.pop(worker, {})
        self._ended = _by_version(
            replace(sums, pending=0, memory_bytes=0, load_seconds=0.0, loaded_ns=0)
            for sums in readings.total([*self._ended.values(), *last.values()])
        )

    def total(self) -> list[ModelReading]:
        """Return the sums of each version, by name and then version."""
        running = [reading for each in self._running.values() for reading in each.values()]
        return readings.total([*running, *self._ended.values()])


def _by_version(several: Iterable[ModelReading]) -> dict[_Version, ModelReading]:
    return {(reading.name, reading.version): reading for reading in several}
