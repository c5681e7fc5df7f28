"""A smaller variant is published where it wins within the limit, and the reason is said either way."""

import math

import pytest

from zoo.quantize.decision import Metric, decide

ACCURACY = Metric(name="accuracy", kind="share", rows=200)
ERROR = Metric(name="mean absolute error", kind="error", rows=64, units="sunspots")
DISTANCE = Metric(name="distance from fp32", kind="distance", rows=64)


@pytest.mark.parametrize(
    ("loss", "size", "published", "reason"),
    [
        (0.0, 0.27, True, "0.27 × the bytes"),
        (0.5, 0.5, True, "0.5 × the bytes"),
        (-3.0, 0.5, True, "0.5 × the bytes"),
        (0.51, 0.1, False, "accuracy falls by 0.51 points, and 0.5 points are allowed"),
        (math.nan, 0.1, False, "accuracy is lost altogether"),
        (0.0, 1.0, False, "no gain: as large as fp32"),
        (0.0, 0.91, False, "no gain: as large as fp32"),
        (0.0, 4.0, False, "no gain: 4 × the bytes"),
    ],
)
def test_auto_publishes_what_is_smaller(
    loss: float, size: float, published: bool, reason: str
) -> None:
    """Within the limit of the metric; the reason is said either way."""
    verdict = decide("auto", ACCURACY, loss=loss, size=size, max_loss=None)

    assert verdict.published is published
    assert verdict.reason.startswith(reason)


@pytest.mark.parametrize(
    ("loss", "size", "published", "reason"),
    [
        (0.0, 4.0, True, "requested by name: 4 × the bytes"),
        (0.0, 0.3, True, "requested by name: 0.3 × the bytes"),
        (0.0, 1.0, True, "requested by name: as large as fp32"),
        (2.0, 0.3, False, "accuracy falls by 2 points"),
    ],
)
def test_a_variant_requested_by_name_needs_only_the_metric(
    loss: float, size: float, published: bool, reason: str
) -> None:
    """Its size is said, and decides nothing."""
    verdict = decide("int8", ACCURACY, loss=loss, size=size, max_loss=None)

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
    assert decide("auto", metric, loss=loss, size=0.5, max_loss=max_loss).published is published
