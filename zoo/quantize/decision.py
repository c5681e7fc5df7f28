"""Does a smaller variant win? What was measured goes in, a verdict with its reason comes out.

    auto          published if the metric loses no more than the limit, and the file is smaller or
                  its answers come faster
    int8, fp16    asked for by name: published if the metric loses no more than the limit

On tutorial-sized models quantisation usually loses: scales and conversions around each operator
outweigh what they save: 8-bit files are 2.5 to 4 times as large. Only measuring tells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from zoo.errors import UsageError

#: The variants that can be built beside fp32.
KINDS = ("int8", "fp16")

#: What may be asked for: a variant by name, every variant that wins, or none (again).
AUTO, NONE = "auto", "none"
CHOICES = (*KINDS, AUTO, NONE)

#: What the reason begins with where a variant loses little and wins nothing.
NO_GAIN = "no gain"

#: How much of a metric may be lost: percentage points of a share, percent of an error.
MAX_POINTS, MAX_PERCENT = 0.5, 1.0

#: Gains and costs below these shares are none. Sessions of one file differ by some percent in time;
#: a file a twentieth smaller is not worth having twice.
TIME_GAIN, SIZE_GAIN = 0.05, 0.10


def check_wish(asked: str, *, with_rows: bool) -> None:
    """Raise UsageError for an unknown wish, or one for a file without rows to measure on."""
    if asked not in CHOICES:
        raise UsageError(f"quantize={asked!r}: want one of {', '.join(CHOICES)}")
    if asked != NONE and not with_rows:
        raise UsageError(
            "--quantize wants rows of your own data (--samples F.npz): ranges and losses measured "
            "on random rows would say nothing of it"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What answers are judged by, and on how many rows.

    `kind` says how a loss is counted: a "share" from 0 to 1, where more is better, in percentage
    points; an "error", where less is better, in percent of fp32's; a "distance" from fp32's own
    answers, whose fp32 is 0 by definition, in percent as it stands.
    """

    name: str
    kind: str
    rows: int
    units: str = ""

    @property
    def loss_unit(self) -> str:
        """Return what a loss is counted in."""
        return "points" if self.kind == "share" else "%"

    def limit(self, asked: float | None) -> float:
        """Return the largest loss allowed: what was asked for, else the default of the kind."""
        if asked is not None:
            return asked
        return MAX_POINTS if self.kind == "share" else MAX_PERCENT

    def loss(self, base: float, value: float) -> float:
        """Return how much worse `value` is than fp32's, negative if it is better."""
        if self.kind == "share":
            return (base - value) * 100
        if self.kind == "distance":
            return value * 100
        if base == 0:
            return 0.0 if value == 0 else math.inf
        return (value - base) / base * 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A time in units of fp32's: the median over rounds, and its interval of 95 % or more."""

    median: float
    low: float
    high: float

    @property
    def faster(self) -> bool:
        """Whether it is faster than fp32 beyond noise."""
        return self.high < 1 and self.median <= 1 - TIME_GAIN

    @property
    def slower(self) -> bool:
        """Whether it is slower than fp32 beyond noise."""
        return self.low > 1 and self.median >= 1 + TIME_GAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One variant's figures beside fp32's: `size` in units of fp32's bytes, `times` by batch."""

    loss: float
    size: float
    times: Mapping[int, Ratio]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a variant is published, and why, in words."""

    published: bool
    reason: str


def decide(asked: str, metric: Metric, measured: Measured, max_loss: float | None) -> Verdict:
    """Judge one variant; `asked` is `auto` or the variant's own name.

    A loss that is not a number is more than any limit.
    """
    limit = metric.limit(max_loss)
    if not measured.loss <= limit:
        return Verdict(False, _too_bad(metric, measured.loss, limit))
    gains, costs = _gains(measured), _costs(measured)
    if asked != AUTO:
        told = "; ".join(filter(None, (", ".join(gains), ", ".join(costs))))
        return Verdict(True, f"asked for: {told or 'no larger, smaller, faster or slower'}")
    if gains:
        return Verdict(True, ", ".join(gains) + (f"; but {', '.join(costs)}" if costs else ""))
    return Verdict(False, f"{NO_GAIN}: {', '.join(costs) or 'as large and as fast as fp32'}")


def _too_bad(metric: Metric, loss: float, limit: float) -> str:
    unit = " points" if metric.kind == "share" else " %"
    if not math.isfinite(loss):
        return f"{metric.name} is lost altogether: answers are not finite, or fp32 makes no error"
    verb = "falls" if metric.kind == "share" else "grows"
    if metric.kind == "distance":
        return f"{metric.name} is {loss:.3g}{unit}, and {limit:g}{unit} are allowed"
    return f"{metric.name} {verb} by {loss:.3g}{unit}, and {limit:g}{unit} are allowed"


def _gains(measured: Measured) -> list[str]:
    """Name what is better; a time that is better at one batch and worse at another is no gain."""
    gains = [f"{measured.size:.2g} × the bytes"] if measured.size <= 1 - SIZE_GAIN else []
    if not any(ratio.slower for ratio in measured.times.values()):
        gains += _named(measured, "faster")
    return gains


def _costs(measured: Measured) -> list[str]:
    costs = [f"{measured.size:.2g} × the bytes"] if measured.size >= 1 + SIZE_GAIN else []
    return costs + _named(measured, "slower")


def _named(measured: Measured, word: str) -> list[str]:
    return [
        f"{ratio.median:.2f} × the time at batch {batch}"
        for batch, ratio in sorted(measured.times.items())
        if getattr(ratio, word)
    ]
