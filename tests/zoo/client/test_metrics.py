"""A server's metrics page as figures: percentiles, and what came between two readings."""

import pytest

from zoo.client.errors import ClientError
from zoo.client.metrics import parse_metrics
from zoo.commands.top import rows

PAGE = """\
# TYPE nv_inference_request_success counter
nv_inference_request_success{{model="m",version="1"}} {all}
# TYPE nv_inference_request_failure counter
nv_inference_request_failure{{model="m",version="1",reason="OTHER"}} 1
nv_inference_request_failure{{model="m",version="1",reason="BACKEND"}} 2
# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count{{model="m",version="1"}} 4
# TYPE nv_model_memory_bytes gauge
nv_model_memory_bytes{{model="m",version="1"}} 2e6
nv_model_memory_bytes{{model="idle",version="3"}} 1e6
# TYPE nv_model_provider_nodes gauge
nv_model_provider_nodes{{model="m",version="1",provider="cpu"}} 2
nv_model_provider_nodes{{model="m",version="1",provider="openvino"}} 7
nv_model_provider_nodes{{model="m",version="1",provider="xnnpack"}} 0
# TYPE nv_inference_request_histogram_us histogram
nv_inference_request_histogram_us_bucket{{model="m",version="1",le="100"}} {fast}
nv_inference_request_histogram_us_bucket{{model="m",version="1",le="200"}} {all}
nv_inference_request_histogram_us_bucket{{model="m",version="1",le="+Inf"}} {all}
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 5e7
"""


def test_percentiles_are_within_their_bucket() -> None:
    """Of ten requests five took up to 100 us, and five up to 200."""
    metrics = parse_metrics(PAGE.format(all=10, fast=5), 0.0)
    figures = metrics.models["m", "1"]

    assert (figures.requests, figures.failures, figures.pending) == (10, 3, 4)
    assert [figures.percentile(share) for share in (0.25, 0.5, 0.75)] == [50, 100, 150]
    assert metrics.models["idle", "3"].percentile(0.5) is None
    assert metrics.memory == 5e7
    assert figures.provider == "openvino+cpu"
    assert metrics.models["idle", "3"].provider == "cpu"


@pytest.mark.parametrize(
    ("before", "rate", "p50"), [((10, 5), "5.0", "0.15"), ((99, 9), "10.0", "0.13")]
)
def test_what_is_shown_is_of_the_interval_and_a_new_server_counts_from_nothing(
    before: tuple[int, int], rate: str, p50: str
) -> None:
    """The idle model comes last; there are two seconds between the readings."""
    first = parse_metrics(PAGE.format(all=before[0], fast=before[1]), 10.0)
    shown = rows(first, parse_metrics(PAGE.format(all=20, fast=5), 12.0))

    assert [row[0] for row in shown] == ["m", "idle"]
    assert (shown[0][2], shown[0][4]) == (rate, p50)
    assert shown[1][4] == "-"
    assert [row[-1] for row in shown] == ["openvino+cpu", "cpu"]


def test_a_page_of_something_else_is_refused() -> None:
    """Another program may listen there."""
    with pytest.raises(ClientError, match="cannot be read"):
        parse_metrics("<html>{nothing</html>", 0.0)
