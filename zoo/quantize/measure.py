"""What a variant costs and what it is worth: answers on held-out rows, and time in onnxruntime.

Times are taken in rounds in which every variant has its turn, so that whatever else the machine does
meets all alike; what is reported of a variant is its time in units of fp32's of the same round.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.parity.compare import Arrays, Session
from zoo.quantize.decision import Ratio

#: The variant that others are held against.
BASE = "fp32"

#: Rounds of quick models and of slow ones; the latter's one run is far longer than the clock's and
#: the scheduler's grain. With 7 rounds the interval is the whole range of the ratios seen.
ROUNDS, FEW_ROUNDS = 15, 7
SLOW_SECONDS = 0.05

#: One turn lasts at least about this long, or is one run.
TURN_SECONDS = 0.002
MOST_RUNS = 200

#: Share of repetitions in which the interval of a ratio is to hold the true median.
CONFIDENCE = 0.95

#: Rows asked at once: bounds the memory that answers to a large held-out split take.
CHUNK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The median time of one run in microseconds, and its ratio to fp32's."""

    microseconds: float
    ratio: Ratio


def timed(
    sessions: Mapping[str, Session], feeds: Arrays, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Timing]:
    """Time one run of each session on the same feeds, in interleaved rounds."""
    runs, rounds = _plan(sessions[BASE], feeds, clock)
    for session in sessions.values():
        session(feeds)  # what onnxruntime does once for a shape
    taken: dict[str, list[float]] = {kind: [] for kind in sessions}
    order = list(sessions)
    for _ in range(rounds):
        for kind in order:
            taken[kind].append(_turn(sessions[kind], feeds, runs, clock))
        order.append(order.pop(0))  # nobody is always first
    base = taken[BASE]
    return {
        kind: Timing(
            microseconds=statistics.median(seconds) * 1e6,
            ratio=median_interval([a / b for a, b in zip(seconds, base, strict=True)]),
        )
        for kind, seconds in taken.items()
    }


def _turn(session: Session, feeds: Arrays, runs: int, clock: Callable[[], float]) -> float:
    """Return the median of some runs: one during which another process had the core is no matter."""
    seconds = []
    for _ in range(runs):
        begun = clock()
        session(feeds)
        seconds.append(clock() - begun)
    return statistics.median(seconds)


def _plan(session: Session, feeds: Arrays, clock: Callable[[], float]) -> tuple[int, int]:
    """Return how many runs a turn has, and how many rounds there are."""
    session(feeds)
    begun = clock()
    session(feeds)
    once = max(clock() - begun, 1e-7)
    runs = min(MOST_RUNS, math.ceil(TURN_SECONDS / once))
    return runs, FEW_ROUNDS if once > SLOW_SECONDS else ROUNDS


def median_interval(values: Sequence[float]) -> Ratio:
    """Return the median and an interval that holds the true one, without assuming a distribution.

    Between the k-th smallest and the k-th largest of n values the true median lies unless fewer
    than k fall on one side of it: a binomial chance (the sign test's interval).
    """
    ordered, n = sorted(values), len(values)
    outside, k = 0.0, 0
    while k < n // 2:
        outside += 2 * math.comb(n, k) / 2**n
        if outside > 1 - CONFIDENCE:
            break
        k += 1
    at = max(k - 1, 0)
    return Ratio(median=statistics.median(ordered), low=ordered[at], high=ordered[n - 1 - at])


def answers(session: Session, rows: Arrays, batch: int | None = None) -> dict[str, np.ndarray]:
    """Return a session's answers to all rows, a bounded number at a time.

    With `batch`, the size that the graph fixes, rows that do not fill one are left out.
    """
    count = min(len(array) for array in rows.values())
    step = batch or CHUNK
    end = count - count % batch if batch else count
    parts = [
        session({name: array[i : i + step] for name, array in rows.items()})
        for i in range(0, end, step)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def spoiled(base: Arrays, given: Arrays) -> bool:
    """Whether a variant answers NaN or infinity where fp32 answers a number."""
    return any(
        bool(np.any(np.isfinite(array) & ~np.isfinite(given[name])))
        for name, array in base.items()
        if array.dtype.kind == "f"
    )


def largest_difference(base: Arrays, given: Arrays) -> float:
    """Return max|Δ| over all outputs, infinite where only one of the two is a number."""
    deltas = [0.0]
    for name, array in base.items():
        if array.dtype.kind not in "fiu":
            continue
        both = np.isfinite(array) & np.isfinite(given[name])
        if np.any(np.isfinite(array) != np.isfinite(given[name])):
            return math.inf
        delta = np.abs(array[both].astype(np.float64) - given[name][both].astype(np.float64))
        deltas.append(float(delta.max(initial=0.0)))
    return max(deltas)


def flips(base: np.ndarray, given: np.ndarray, task: str) -> int:
    """Count the rows that decide for another class; 0 for a task without classes."""
    if task == "multiclass":
        return int(np.count_nonzero(base.argmax(axis=-1) != given.argmax(axis=-1)))
    if task == "binary":
        return int(np.count_nonzero((base >= 0.5) != (given >= 0.5)))
    return 0


def looks_like_classes(array: np.ndarray) -> bool:
    """Whether answers are probabilities of two classes or more: rows of the last axis sum to 1."""
    if array.dtype.kind != "f" or array.ndim < 2 or array.shape[-1] < 2:
        return False
    return bool(np.all(array >= 0) and np.allclose(array.sum(axis=-1), 1.0, atol=1e-3))


def agreement(base: np.ndarray, given: np.ndarray) -> float:
    """Return the share of rows that decide for fp32's class."""
    return float(np.mean(base.argmax(axis=-1) == given.argmax(axis=-1)))


def distance(base: Arrays, given: Arrays) -> float:
    """Return the largest root mean square of the differences, in units of fp32's own spread.

    Of each output that holds numbers; the spread is the standard deviation of its elements, or
    where that is 0 the root mean square.
    """
    worst = 0.0
    for name, array in base.items():
        if array.dtype.kind not in "fiu" or array.size == 0:
            continue
        reference = array.astype(np.float64)
        delta = float(np.sqrt(np.mean((reference - given[name]) ** 2)))
        spread = float(reference.std()) or float(np.sqrt(np.mean(reference**2)))
        worst = max(worst, delta / spread if spread else (0.0 if delta == 0 else math.inf))
    return worst
