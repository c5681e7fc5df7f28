"""Sessions that are raced have their turns in every round."""

from collections.abc import Callable, Mapping
from statistics import median

import pytest

from bench.race import LEAST_ROUNDS, ROUND_SECONDS, SESSIONS, race


class Machine:
    """A clock that only calls move; from time to time everything takes thrice as long."""

    def __init__(self, seconds: Mapping[str, float], slow_every: int = 0) -> None:
        self.now = 0.0
        self.calls: list[str] = []
        self.slow_every = slow_every
        self.openers = {name: self._opener(name, taken) for name, taken in seconds.items()}

    def clock(self) -> float:
        return self.now

    def race(self, seconds: float) -> dict[str, list[float]]:
        return race(self.openers, seconds, clock=self.clock)

    def _opener(self, name: str, seconds: float) -> Callable[[], Callable[[], None]]:
        def call() -> None:
            self.calls.append(name)
            slow = self.slow_every and len(self.calls) // 40 % self.slow_every == 0
            self.now += seconds * (3 if slow else 1)

        return lambda: call


def test_seconds_are_those_of_a_call() -> None:
    """By name, one for each round, whatever the others take."""
    times = Machine({"one": 0.002, "half": 0.001, "quick": 1e-5}).race(0.1)

    assert {name: median(t) for name, t in times.items()} == {
        "one": pytest.approx(0.002),
        "half": pytest.approx(0.001),
        "quick": pytest.approx(1e-5),
    }
    assert len({len(t) for t in times.values()}) == 1


def test_everyone_has_a_turn_in_every_round_and_nobody_is_always_first() -> None:
    """So that a machine that slows down for a while slows all alike."""
    machine = Machine(dict.fromkeys("abc", 2 * ROUND_SECONDS))
    machine.race(0)
    turns = machine.calls[-3 * LEAST_ROUNDS :]
    rounds = [turns[i : i + 3] for i in range(0, len(turns), 3)]

    assert all(set(turn) == set("abc") for turn in rounds)
    assert len({turn[0] for turn in rounds[:3]}) == 3


def test_slow_sessions_have_few_rounds_and_quick_ones_many_calls_in_each() -> None:
    """However long a call takes there is something to compare."""
    slow, quick = Machine({"a": 0.5}), Machine({"a": 1e-5})

    assert len(slow.race(1.0)["a"]) == SESSIONS * LEAST_ROUNDS
    assert len(quick.race(0.14)["a"]) == SESSIONS * 10
    assert len(quick.calls) > SESSIONS * 10 * 150


def test_bursts_of_other_work_leave_the_median_of_the_ratios() -> None:
    """Noise that hits some turns decides nothing."""
    times = Machine({"a": 0.001, "b": 0.001}, slow_every=7).race(0.5)
    ratios = [a / b for a, b in zip(times["a"], times["b"], strict=True)]

    assert median(ratios) == pytest.approx(1)
