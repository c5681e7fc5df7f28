"""Runs sessions in turn, one thread each, in rounds of a few milliseconds.

The order turns every round, and counted is the processor time of the one thread that computes, so that
other processes do not count. What is worth comparing is the ratio within each round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

#: Opens a session, and returns what runs it once.
Opener = Callable[[], Callable[[], Any]]

#: A round runs a file this long, of processor time: less than the scheduler's turn.
ROUND_SECONDS = 0.002

#: However long a call takes, in each session.
LEAST_ROUNDS = 4

#: Where its memory happens to lie makes a session of one file 5 % faster than another of the same:
#: each file is opened so many times, in another order.
SESSIONS = 7


def race(
    openers: Mapping[str, Opener],
    seconds: float,
    *,
    clock: Callable[[], float] = time.thread_time,
) -> dict[str, list[float]]:
    """Run what each opener gives in turn; return the seconds a call in every round, by name."""
    times: dict[str, list[float]] = {name: [] for name in openers}
    order = list(openers)
    for _ in range(SESSIONS):
        calls = {name: openers[name]() for name in order}
        seconds_a_call = {name: _seconds_a_call(call, clock) for name, call in calls.items()}
        counts = {name: max(1, int(ROUND_SECONDS / t)) for name, t in seconds_a_call.items()}
        rounds = max(
            LEAST_ROUNDS, int(seconds / SESSIONS / max(ROUND_SECONDS, *seconds_a_call.values()))
        )
        for _ in range(rounds):
            for name in order:
                call, count = calls[name], counts[name]
                started = clock()
                for _ in range(count):
                    call()
                times[name].append((clock() - started) / count)
            order.append(order.pop(0))
        order.append(order.pop(0))
    return times


def _seconds_a_call(call: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Warm up, and return about how long a call takes."""
    call()
    started = clock()
    done = 0
    while clock() - started < 2 * ROUND_SECONDS:
        call()
        done += 1
    return (clock() - started) / done
