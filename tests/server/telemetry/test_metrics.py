"""Prometheus: Triton's names, figures that agree with the statistics, histograms that add up."""

import http.client
import json

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from zoo_server import errors
from zoo_server.telemetry.metrics import Metrics
from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.statistics import BOUNDS_NS, Execution, Histogram, ModelStatistics, Reason

#: docs/protocol.md 1b, those that a CPU server without a cache has.
NAMES = {
    "nv_inference_request_success": "counter",
    "nv_inference_request_failure": "counter",
    "nv_inference_count": "counter",
    "nv_inference_exec_count": "counter",
    "nv_inference_request_duration_us": "counter",
    "nv_inference_queue_duration_us": "counter",
    "nv_inference_compute_input_duration_us": "counter",
    "nv_inference_compute_infer_duration_us": "counter",
    "nv_inference_compute_output_duration_us": "counter",
    "nv_inference_pending_request_count": "gauge",
    "nv_model_load_duration_secs": "gauge",
    "nv_inference_first_response_histogram_ms": "histogram",
    "nv_inference_request_histogram_us": "histogram",
    "nv_inference_queue_histogram_us": "histogram",
    "nv_inference_compute_infer_histogram_us": "histogram",
    "nv_cpu_utilization": "gauge",
    "nv_cpu_memory_total_bytes": "gauge",
    "nv_cpu_memory_used_bytes": "gauge",
}


def samples(page):
    """Return each sample's value by its name and labels; the reader adds _total to counters."""
    return {
        (sample.name.removesuffix("_total"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def value(page, name, model, **labels):
    return samples(page)[name, tuple(sorted({"model": model, "version": "1", **labels}.items()))]


def test_names_and_types_are_tritons(rest):
    """Each name stands in the page as it is written, with its type and without a suffix."""
    lines = rest.metrics().splitlines()
    types = dict(line.split()[2:4] for line in lines if line.startswith("# TYPE "))
    helped = {line.split()[2] for line in lines if line.startswith("# HELP ")}

    assert {name: types.get(name) for name in NAMES} == NAMES
    assert helped >= set(NAMES)
    assert types["process_resident_memory_bytes"] == "gauge"


def test_figures_are_those_of_the_statistics(rest):
    """Rows, requests and times rise with what was asked, on either wire."""
    body = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [3, 4], "data": [[0.5] * 4] * 3}]}
    before = rest.metrics()
    for _ in range(5):
        assert rest.infer("identity_fp64", body).status == 200
    after = rest.metrics()

    def rise(name, **labels):
        return value(after, name, "identity_fp64", **labels) - value(
            before, name, "identity_fp64", **labels
        )

    assert rise("nv_inference_request_success") == 5
    assert rise("nv_inference_count") == 15
    assert rise("nv_inference_exec_count") == 5
    assert rise("nv_inference_request_histogram_us_count") == 5
    assert rise("nv_inference_first_response_histogram_ms_bucket", le="+Inf") == 5
    assert rise("nv_inference_compute_infer_histogram_us_count") == 5
    (stats,) = rest.get("/v2/models/identity_fp64/stats").json["model_stats"]
    whole = stats["inference_stats"]["success"]["ns"]
    assert value(after, "nv_inference_request_duration_us", "identity_fp64") == whole // 1000
    assert value(after, "nv_inference_request_histogram_us_sum", "identity_fp64") == pytest.approx(
        whole / 1000
    )
    assert value(after, "nv_model_load_duration_secs", "identity_fp64") > 0
    assert value(after, "nv_inference_pending_request_count", "identity_fp64") == 0


def test_a_failure_has_a_reason(rest):
    """A graph that fails counts as BACKEND, and not among the successes."""
    bad = {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1, 1], "data": [99]}]}
    before = rest.metrics()
    assert rest.infer("fails", bad).status == 500
    after = rest.metrics()

    for reason in Reason:
        name, labels = "nv_inference_request_failure", {"reason": str(reason)}
        rise = value(after, name, "fails", **labels) - value(before, name, "fails", **labels)
        assert rise == (reason is Reason.BACKEND)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.QueueFull, Reason.REJECTED), (errors.QueueTimeout, Reason.REJECTED),
        (errors.Cancelled, Reason.CANCELED), (errors.DeadlineExpired, Reason.CANCELED),
        (errors.ExecutionError, Reason.BACKEND), (KeyError, Reason.OTHER),
    ],
)  # fmt: skip
def test_reasons(error, reason):
    """Each error counts under one of Triton's four words."""
    statistics = ModelStatistics()
    statistics.record_failure(1000, error("text"))
    sums = statistics.snapshot()

    assert {key for key, count in sums.failures.items() if count} == {reason}
    assert (sums.fail.count, sums.fail.ns) == (1, 1000)


def test_a_duration_counts_within_its_bound():
    """A bound includes what equals it; what is beyond the last counts too."""
    histogram = Histogram()
    for ns in (0, 10_000, 10_001, BOUNDS_NS[-1], BOUNDS_NS[-1] + 1):
        histogram.add(ns)

    assert (histogram.counts[0], histogram.counts[1]) == (2, 1)
    assert (histogram.counts[-2], histogram.counts[-1]) == (1, 1)
    assert list(BOUNDS_NS) == sorted(set(BOUNDS_NS))


def test_each_request_of_a_batch_has_its_own_times():
    """Sums stay Triton's, and the histogram knows who waited long."""
    statistics = ModelStatistics()
    ms = 1_000_000
    run = Execution(
        requests=2, rows=3, arrived_ns=[0, 8 * ms], queued_ns=[0, 8 * ms], started_ns=9 * ms,
        ready_ns=9 * ms, inferred_ns=10 * ms, finished_ns=10 * ms,
    )  # fmt: skip
    statistics.record_run(run)
    sums = statistics.snapshot()

    assert (sums.success.count, sums.success.ns) == (2, 12 * ms)
    assert (sums.queue.count, sums.queue.ns) == (2, 10 * ms)
    bounds = [
        bound for bound, count in zip(BOUNDS_NS, sums.request_times.counts, strict=False) if count
    ]
    assert bounds == [2 * ms, 10 * ms]
    assert sum(sums.run_times.counts) == 1


def test_histograms_are_cumulative():
    """Buckets never fall, and the last one is the count."""
    rng = np.random.default_rng(0)
    statistics = ModelStatistics()
    for took in (10 ** rng.uniform(3, 11, 500)).astype(int).tolist():
        statistics.record_run(
            Execution(requests=1, rows=1, arrived_ns=[0], queued_ns=[0], started_ns=0, ready_ns=0,
                      inferred_ns=took, finished_ns=took)
        )  # fmt: skip
    reading = ModelReading(
        name='na"me\\',
        version=1,
        sums=statistics.snapshot(),
        pending=3,
        load_seconds=0.5,
        memory_bytes=2,
        loaded_ns=1,
    )
    page = Metrics(lambda: [reading]).page().decode()
    name = "nv_inference_request_histogram_us_bucket"
    buckets = {
        float(dict(labels)["le"]): count
        for (sample, labels), count in samples(page).items()
        if sample == name
    }

    ordered = [buckets[bound] for bound in sorted(buckets)]
    assert ordered == sorted(ordered)
    assert ordered[-1] == 500
    assert min(buckets) == 10
    assert value(page, "nv_inference_pending_request_count", 'na"me\\') == 3


def test_the_page_alone_is_answered(rest):
    """Other paths are 404, other methods 405, and the REST port has no metrics."""
    connection = http.client.HTTPConnection(rest.server.metrics_address, timeout=10)
    for method, path, status in (("GET", "/", 404), ("POST", "/metrics", 405)):
        connection.request(method, path)
        answer = connection.getresponse()
        assert (answer.status, set(json.loads(answer.read()))) == (status, {"error"})
    connection.close()
    assert rest.get("/metrics").status == 404
