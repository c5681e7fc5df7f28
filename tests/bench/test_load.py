"""Reading h2load: its summary, its log, and what makes a drive a failure."""

import pytest

from bench.load import LoadError, parse, quantile, slope

SUMMARY = """\
starting benchmark...
Application protocol: h2c

finished in {took}, {rate} req/s, 457.61KB/s
requests: {done} total, {done} started, {done} done, {good} succeeded, {bad} failed, 0 errored, 0 timeout
status codes: {good} 2xx, 0 3xx, {bad} 4xx, 0 5xx
traffic: 457.61KB (468597) total, 31.35KB (32103) headers (space savings 96.23%), 564B ({data}) data
                     min         max         mean         sd        +/- sd
time for request:      513us     79.39ms     13.95ms      9.82ms    79.38%
"""


def summary(done=4, bad=0, took="2.00s", rate="2.00", data=220):
    return SUMMARY.format(done=done, good=done - bad, bad=bad, took=took, rate=rate, data=data)


def log(*rows):
    return "".join(f"{start}\t200\t{took}\n" for start, took in rows)


FOUR = log((1_000_000, 500_000), (1_500_000, 500_000), (2_000_000, 500_000), (2_500_000, 500_000))


@pytest.mark.parametrize("took", ["2.00s", "812.30ms", "95us"])
def test_a_summary_and_its_log_become_figures(took):
    """Counts come from the summary, times from the log, in milliseconds; any unit of time is read."""
    measured = parse(summary(took=took), FOUR)

    assert measured.answered == 4
    assert measured.data_bytes == 220
    assert (measured.p50, measured.p99) == (500.0, 500.0)
    assert pytest.approx(2.0) == measured.per_second


def test_one_failed_request_fails_the_drive():
    """A figure over answers of which some were refused is no figure."""
    with pytest.raises(LoadError, match="1 failed"):
        parse(summary(bad=1), FOUR)


def test_a_drive_without_an_answer_fails():
    """Nothing came within the time."""
    with pytest.raises(LoadError, match="0 done"):
        parse(summary(done=0), "")


def test_a_log_that_disagrees_with_the_summary_is_refused():
    """One of the two is not understood."""
    with pytest.raises(LoadError, match="counts 4 requests, and its log has 3"):
        parse(summary(), "\n".join(FOUR.splitlines()[:3]))


def test_unknown_output_is_quoted():
    """Another h2load may write otherwise."""
    with pytest.raises(LoadError, match="not understood: 'value error'"):
        parse("value error", "")


def test_batches_cut_off_at_the_end_do_not_count_double():
    """Eight answers every second are eight a second, wherever the drive ends."""
    ends = [second * 1_000_000 for second in range(1, 9) for _ in range(8)]

    assert slope(ends) == pytest.approx(8, rel=0.03)
    assert slope([1, 1, 2]) is None


@pytest.mark.parametrize(("part", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_quantiles_are_nearest_ranks(part, value):
    """The p99 of a hundred values is the ninety-ninth."""
    assert value == quantile(list(range(1, 101)), part)
