"""Replicas are replaced under load, as the Deployment has Kubernetes do it."""

import pytest

from bench.rolling_update import update


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("pause", [pytest.param(None, marks=pytest.mark.slow), 0])
def test_no_request_fails_while_replicas_are_replaced(pause):
    """With the manifest's pause before SIGTERM, and without: callers that send again what is UNAVAILABLE hear of nothing."""
    outcome = update(callers=4, updates=2, pause=pause)

    assert outcome["failures"] == []
    assert outcome["exit statuses"] == [0, 0]
    assert outcome["answered"] > 600
