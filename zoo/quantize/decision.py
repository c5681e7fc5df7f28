"""Decides whether a variant is published, from its loss and size, with the reason.

    auto          published if the metric loses no more than the limit, and the file is smaller
    int8, w4 …    requested by name: published if the metric loses no more than the limit

Time decides nothing: what is published depends on the recipe, the data and the libraries' versions
alone. On tutorial-sized models quantisation usually loses: scales and conversions around each
operator outweigh what they save. `python -m bench.quantize` times what is published.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from zoo.errors import UsageError

#: The variants that can be built beside fp32.
KINDS = ("int8", "fp16", "w8", "w4")

#: What may be requested: a variant by name, every variant that gains, or none.
AUTO, NONE = "auto", "none"
CHOICES = (*KINDS, AUTO, NONE)

#: What the reason begins with where a variant is accurate enough and no smaller.
NO_GAIN = "no gain"

#: How much of a metric may be lost: percentage points of a share, percent of an error.
MAX_POINTS, MAX_PERCENT = 0.5, 1.0

#: A file smaller by less than this share is not worth having twice.
SIZE_GAIN = 0.10


def check_requested(requested: str, *, with_rows: bool) -> None:
    """Raise UsageError for an unknown choice, or one for a file without rows to measure on."""
    if requested not in CHOICES:
        raise UsageError(f"quantize={requested!r}: want one of {', '.join(CHOICES)}")
    if requested != NONE and not with_rows:
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

    def limit(self, max_loss: float | None) -> float:
        """Return the largest loss allowed: `max_loss`, or the default of the kind for None."""
        if max_loss is not None:
            return max_loss
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a variant is published, and why, in words."""

    published: bool
    reason: str


def decide(
    requested: str, metric: Metric, *, loss: float, size: float, max_loss: float | None
) -> Verdict:
    """Judge one variant; `requested` is `auto` or the variant's own name.

    `loss` is in the metric's unit, and one that is not a number is more than any limit; `size` is
    in units of fp32's bytes.
    """
    limit = metric.limit(max_loss)
    if not loss <= limit:
        return Verdict(False, _beyond_limit(metric, loss, limit))
    bytes_ = "as large as fp32"
    if not 1 - SIZE_GAIN < size < 1 + SIZE_GAIN:
        bytes_ = f"{size:.2g} × the bytes"
    if requested != AUTO:
        return Verdict(True, f"requested by name: {bytes_}")
    if size <= 1 - SIZE_GAIN:
        return Verdict(True, bytes_)
    return Verdict(False, f"{NO_GAIN}: {bytes_}")


def _beyond_limit(metric: Metric, loss: float, limit: float) -> str:
    unit = " points" if metric.kind == "share" else " %"
    if not math.isfinite(loss):
        return f"{metric.name} is lost altogether: answers are not finite, or fp32 makes no error"
    verb = "falls" if metric.kind == "share" else "grows"
    if metric.kind == "distance":
        return f"{metric.name} is {loss:.3g}{unit}, and {limit:g}{unit} are allowed"
    return f"{metric.name} {verb} by {loss:.3g}{unit}, and {limit:g}{unit} are allowed"
