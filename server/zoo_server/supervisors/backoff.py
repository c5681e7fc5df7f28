"""Restart backoff: a dead worker is replaced at once, then after growing delays, and finally not at all."""

from dataclasses import dataclass

#: Seconds before each further attempt; after the last one there is no other.
_DELAYS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)

#: A worker that has served for so long did not die of how it was started.
_HEALTHY_SECONDS = 60.0


@dataclass(slots=True)
class Backoff:
    """The deaths in a row of the workers of one place."""

    deaths: int = 0

    def after(self, served_seconds: float) -> float | None:
        """Return how long to wait before the next attempt; None to give up.

        `served_seconds` is how long the worker that has died had served.
        """
        if served_seconds >= _HEALTHY_SECONDS:
            self.deaths = 0
        self.deaths += 1
        return _DELAYS[self.deaths - 1] if self.deaths <= len(_DELAYS) else None
