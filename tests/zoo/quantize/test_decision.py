"""A smaller variant is published where it wins within the limit, and the reason is said either way."""

import math

import pytest

from zoo.quantize.decision import Measured, Metric, Ratio, decide

ACCURACY = Metric(name="accuracy", kind="share", rows=200)
ERROR = Metric(name="mean absolute error", kind="error", rows=64, units="sunspots")
DISTANCE = Metric(name="distance from fp32", kind="distance", rows=64)

SAME = Ratio(median=1.0, low=0.98, high=1.02)
FASTER = Ratio(median=0.5, low=0.45, high=0.55)
SLOWER = Ratio(median=1.5, low=1.4, high=1.6)
#: Half the time in the middle, but rounds that say otherwise.
NOISY = Ratio(median=0.5, low=0.3, high=1.1)
#: Surely faster, by a hair.
HAIR = Ratio(median=0.97, low=0.96, high=0.98)


def _measured(
    loss: float = 0.0, size: float = 1.0, one: Ratio = SAME, many: Ratio = SAME
) -> Measured:
    return Measured(loss=loss, size=size, times={1: one, 64: many})


@pytest.mark.parametrize(
    ("measured", "published", "reason"),
    [
        (_measured(size=0.27), True, "0.27 × the bytes"),
        (_measured(one=FASTER), True, "0.50 × the time at batch 1"),
        (_measured(many=FASTER), True, "0.50 × the time at batch 64"),
        (
            _measured(size=0.27, one=FASTER, many=FASTER),
            True,
            "0.27 × the bytes, 0.50 × the time at batch 1, 0.50 × the time at batch 64",
        ),
        (_measured(size=0.5, one=SLOWER), True, "0.5 × the bytes; but 1.50 × the time at batch 1"),
        (_measured(size=3.0, one=FASTER), True, "0.50 × the time at batch 1; but 3 × the bytes"),
        (_measured(loss=0.5, size=0.5), True, "0.5 × the bytes"),
        (_measured(loss=-3.0, size=0.5), True, "0.5 × the bytes"),
        (
            _measured(loss=0.51, size=0.1, one=FASTER),
            False,
            "accuracy falls by 0.51 points, and 0.5 points are allowed",
        ),
        (_measured(loss=math.nan, size=0.1), False, "accuracy is lost altogether"),
        (_measured(), False, "no gain: as large and as fast as fp32"),
        (_measured(size=0.91), False, "no gain"),
        (_measured(one=NOISY), False, "no gain"),
        (_measured(one=HAIR), False, "no gain"),
        (_measured(one=FASTER, many=SLOWER), False, "no gain: 1.50 × the time at batch 64"),
        (
            _measured(size=4.0, one=SLOWER, many=SLOWER),
            False,
            "no gain: 4 × the bytes, 1.50 × the time at batch 1, 1.50 × the time at batch 64",
        ),
    ],
)
def test_auto_publishes_what_wins(measured: Measured, published: bool, reason: str) -> None:
    """Within the limit, and smaller or faster beyond noise; what it costs is said beside it."""
    verdict = decide("auto", ACCURACY, measured, None)

    assert verdict.published is published
    assert verdict.reason.startswith(reason)


@pytest.mark.parametrize(
    ("measured", "published", "reason"),
    [
        (_measured(size=4.0, one=SLOWER), True, "asked for: 4 × the bytes, 1.50 × the time"),
        (_measured(size=0.3, many=SLOWER), True, "asked for: 0.3 × the bytes; 1.50 × the time"),
        (_measured(), True, "asked for: no larger, smaller, faster or slower"),
        (_measured(loss=2.0, size=0.3), False, "accuracy falls by 2 points"),
    ],
)
def test_a_variant_asked_for_by_name_needs_only_the_metric(
    measured: Measured, published: bool, reason: str
) -> None:
    """Size and time are the asker's to weigh, and are said."""
    verdict = decide("int8", ACCURACY, measured, None)

    assert verdict.published is published
    assert verdict.reason.startswith(reason)


@pytest.mark.parametrize(
    ("metric", "base", "value", "loss"),
    [
        (ACCURACY, 0.98, 0.97, 1.0),
        (ACCURACY, 0.97, 0.98, -1.0),
        (ERROR, 20.0, 20.1, 0.5),
        (ERROR, 20.0, 19.0, -5.0),
        (ERROR, 0.0, 0.0, 0.0),
        (ERROR, 0.0, 1e-9, math.inf),
        (DISTANCE, 0.0, 0.004, 0.4),
    ],
)
def test_a_loss_is_counted_in_the_metrics_own_way(
    metric: Metric, base: float, value: float, loss: float
) -> None:
    """Points of a share; percent of an error, whatever its unit; a distance as it stands."""
    assert metric.loss(base, value) == pytest.approx(loss)


@pytest.mark.parametrize(
    ("metric", "loss", "max_loss", "published"),
    [
        (ACCURACY, 0.5, None, True),
        (ERROR, 1.0, None, True),
        (ERROR, 1.01, None, False),
        (DISTANCE, 1.01, None, False),
        (ERROR, 4.0, 5.0, True),
        (ACCURACY, 0.1, 0.0, False),
        (ACCURACY, 0.0, 0.0, True),
        (ERROR, math.inf, 1e9, False),
    ],
)
def test_the_limit_is_half_a_point_or_one_percent_unless_given(
    metric: Metric, loss: float, max_loss: float | None, published: bool
) -> None:
    """One number, read in the unit of the metric's loss; what is lost altogether passes none."""
    assert decide("auto", metric, _measured(loss=loss, size=0.5), max_loss).published is published
