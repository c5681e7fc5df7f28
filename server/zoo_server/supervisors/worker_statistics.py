"""What the workers have counted, those included that have ended: the whole's counters never fall.

    worker says ──> kept, by worker ──┐
                        │ ends        ├──> added up
                        └──> gone ────┘

What is gone counts for as long as its version is served. A version that no worker has any more, or
that one has loaded anew, begins again at nothing, as it does in a server of one process.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from zoo_server.telemetry import readings
from zoo_server.telemetry.readings import ModelReading

_Version = tuple[str, int]


class Counts:
    """What every worker last said, and what those that ended had said."""

    def __init__(self) -> None:
        self._said: dict[int, dict[_Version, ModelReading]] = {}
        self._gone: dict[_Version, ModelReading] = {}

    def say(self, worker: int, said: Sequence[ModelReading]) -> None:
        """Keep what a worker says, in the place of what it said before."""
        before = self._said.get(worker, {})
        self._said[worker] = now = _by_version(said)
        anew = {
            version
            for version in before.keys() & now.keys()
            if before[version].loaded_ns != now[version].loaded_ns
        }
        served = {version for each in self._said.values() for version in each} - anew
        self._gone = {
            version: counted for version, counted in self._gone.items() if version in served
        }

    def end(self, worker: int) -> None:
        """Count what a worker has said among what is gone; nothing waits in it or is loaded in it."""
        ended = self._said.pop(worker, {})
        self._gone = _by_version(
            replace(one, pending=0, load_seconds=0.0, loaded_ns=0)
            for one in readings.total([*self._gone.values(), *ended.values()])
        )

    def whole(self) -> list[ModelReading]:
        """Return the sums of each version, by name and then version."""
        living = [one for said in self._said.values() for one in said.values()]
        return readings.total([*living, *self._gone.values()])


def _by_version(said: Iterable[ModelReading]) -> dict[_Version, ModelReading]:
    return {(one.name, one.version): one for one in said}
