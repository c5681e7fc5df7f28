"""Autoscaling against a day's requests, simulated: python -m bench.autoscaling.

    python -m bench.autoscaling             seconds; prints the tables of docs/scaling.md

Nothing is measured here: what a replica answers and how long it takes to start are arguments, by default those
that `make bench` and bench.object_store measured last (bench/results/). The same arguments give the same tables.

The day has a step for each second: from an eighth of the peak at midnight to the peak at noon, noise of a tenth,
and six bursts that double the load within seconds for five minutes. Requests are a fluid that is served
first come, first served. The rule is Ray Serve's, and but for names that of a HorizontalPodAutoscaler: the requests
under way, averaged over half a minute, by the target of each replica; followed upwards once that has held for
`up_delay` seconds, downwards once it has for `down_delay`.
"""

import argparse
import json
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

RESULTS = Path(__file__).parent / "results"

DAY = 86_400

#: Seconds over which the rule averages, and that a request may wait before it counts as late.
_LOOK_BACK, _DEADLINE = 30, 1.0

#: Bursts of a day, their seconds, and the seconds in which they rise.
_BURSTS, _BURST_SECONDS, _RISE = 6, 300, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """What one replica can do."""

    per_second: float
    #: Requests under way with which it answers as many.
    under_way: int
    #: From the decision until it answers.
    start_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When replicas start and end."""

    #: Load of a replica that is aimed at, as a part of what it can answer.
    target: float
    up_delay: float = 30
    down_delay: float = 600
    least: int = 1
    #: Replicas at most, `max_replicas`.
    most: int = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a day."""

    #: Part of the requests that waited longer than the deadline.
    late: float
    slowest: float
    most: int
    starts: int
    #: Replica-hours by what would do if replicas started at once and were always busy.
    cost: float


def day(peak: float, seed: int = 0) -> list[float]:
    """Return the requests of each second; the smooth part's most is `peak` a second."""
    source = random.Random(seed)
    starts = sorted(source.sample(range(_BURST_SECONDS, DAY - _BURST_SECONDS), _BURSTS))
    bursts = [0.0] * DAY
    for start in starts:
        for second in range(start, start + _BURST_SECONDS):
            bursts[second] = min(1.0, (second - start) / _RISE)
    noise, rates = 0.0, []
    for second in range(DAY):
        smooth = (1 - 0.875 * (1 + math.cos(2 * math.pi * second / DAY)) / 2) * peak
        noise = 0.99 * noise + source.gauss(0, 0.1 * math.sqrt(1 - 0.99**2))
        rates.append(max(0.0, smooth * (1 + noise) * (1 + bursts[second])))
    return rates


def simulate(rates: Sequence[float], replica: Replica, policy: Policy) -> Outcome:
    """Run a day; replicas that the first second needs are there."""
    ready = max(policy.least, math.ceil(rates[0] / replica.per_second / policy.target))
    starting: deque[float] = deque()
    window: deque[float] = deque(maxlen=_LOOK_BACK)
    backlog = late = slowest = used = total = 0.0
    above = below = starts = 0
    most = ready
    for second, rate in enumerate(rates):
        while starting and starting[0] <= second:
            starting.popleft()
            ready += 1
        capacity = ready * replica.per_second
        backlog = max(0.0, backlog + rate - capacity)
        wait = backlog / capacity
        slowest = max(slowest, wait)
        late += rate if wait > _DEADLINE else 0.0
        used += ready + len(starting)
        if len(window) == _LOOK_BACK:
            total -= window[0]
        # In units of a busy replica: those being answered, by Little's law, and those that wait.
        window.append(min(rate, capacity) / replica.per_second + backlog / replica.under_way)
        total += window[-1]
        desired = math.ceil(total / len(window) / policy.target)
        desired = min(max(policy.least, desired), policy.most)
        have = ready + len(starting)
        above = above + 1 if desired > have else 0
        below = below + 1 if desired < have else 0
        if above > policy.up_delay:
            starting.extend([second + replica.start_seconds] * (desired - have))
            starts += desired - have
            above = 0
        elif below > policy.down_delay:
            ready = max(desired - len(starting), policy.least, 1)
            below = 0
        most = max(most, ready + len(starting))
    busy = sum(rates) / replica.per_second
    return Outcome(
        late=late / sum(rates), slowest=slowest, most=most, starts=starts, cost=used / busy
    )


def last_measurement() -> Replica:
    """Return a replica as it was measured last: on one core, with eight requests under way, started from a store."""
    served = json.loads((RESULTS / "serve.json").read_text())["medians"]
    stored = json.loads((RESULTS / "object_store.json").read_text())["start"]
    return Replica(
        per_second=served["MobileNetV2-sized, 4 x 2"]["ours, fast"]["per second"],
        under_way=8,
        start_seconds=stored["store"]["seconds"],
    )


def table(replica: Replica, peak: int) -> str:
    """Return the outcomes of a day as a Markdown table: one row for each start and policy."""
    rates = day(peak * replica.per_second)
    lines = [
        "| start s | target | `max_replicas` | late | longest wait s | most replicas | cost |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for start in (5.0, replica.start_seconds, 120.0):
        for target, most in ((0.9, 10), (0.7, 10), (0.7, 3), (0.5, 10), (0.5, 3)):
            policy = Policy(target=target, most=most * peak)
            outcome = simulate(rates, replace(replica, start_seconds=start), policy)
            lines.append(
                f"| {start:.3g} | {target} | {most * peak} | {100 * outcome.late:.2f} % "
                f"| {outcome.slowest:.0f} | {outcome.most} | {outcome.cost:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--per-second", type=float, metavar="N", help="requests of a replica")
    parser.add_argument("--start-seconds", type=float, metavar="S", help="start of a replica")
    parser.add_argument("--peak", type=int, default=100, metavar="N", help="busy replicas at noon")
    options = parser.parse_args()
    overrides = {"per_second": options.per_second, "start_seconds": options.start_seconds}
    replica = replace(
        last_measurement(), **{name: value for name, value in overrides.items() if value}
    )
    print(f"{replica.per_second:.0f} requests a second and replica; {options.peak} busy at noon\n")
    print(table(replica, options.peak))


if __name__ == "__main__":
    main()
