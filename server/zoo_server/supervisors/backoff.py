"""Restart backoff: a dead worker is replaced at once, then after delays that grow to a bound."""

from dataclasses import dataclass

#: Seconds before each further attempt; the last one is that of all that follow.
_DELAYS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)

#: A worker that has served for so long did not die of how it was started.
_HEALTHY_SECONDS = 60.0


@dataclass(slots=True)
class Backoff:
    """The deaths in a row of the workers of one place."""

    deaths: int = 0

    @property
    def is_lasting(self) -> bool:
        """Whether every delay has been tried: what is wrong does not pass by itself."""
        return self.deaths >= len(_DELAYS)

    def after(self, served_seconds: float) -> float:
        """Return how long to wait before the next attempt.

        `served_seconds` is how long the worker that has died had served.
        """
        if served_seconds >= _HEALTHY_SECONDS:
            self.deaths = 0
        self.deaths += 1
        return _DELAYS[min(self.deaths, len(_DELAYS)) - 1]
