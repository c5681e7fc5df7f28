"""What is learnt from runs: how long the next takes, and whether joining pays."""

from zoo_server.schedulers.latency_model import ALL_ROWS, LatencyModel

#: Microseconds in ns.
US = 1000


def ran(cost, rows, ns, times=4):
    for _ in range(times):
        cost.learn(rows, ns)


def test_a_run_usually_takes_what_its_like_took():
    """The nearest smaller size tells, row by row; of an unknown model nothing is said."""
    cost = LatencyModel()
    unknown = cost.usual_ns(1)
    ran(cost, 1, 100 * US)
    ran(cost, 4, 160 * US)

    assert unknown == 0
    assert cost.usual_ns(1) == 100 * US
    assert cost.usual_ns(3) == 300 * US
    assert cost.usual_ns(4) == 160 * US
    assert cost.usual_ns(16) == 640 * US


def test_what_was_not_measured_may_take_a_day():
    """Other shapes, more rows than twice the most that were run; fewer take no longer than more."""
    cost = LatencyModel()
    cost.learn(0, 1, "no size")
    ran(cost, 4, 160 * US)

    assert cost.measured_ns(4, None) == 160 * US
    assert cost.measured_ns(7, None) == 280 * US
    assert cost.measured_ns(1, None) == 320 * US  # as of the most that the next larger may have
    for unknown in ((8, None), (4, "other shapes"), (0, "no size")):
        assert cost.measured_ns(*unknown) > 10**13


def test_one_long_run_is_expected_again():
    """What a run takes may depend on its data, and the next may be as long."""
    cost = LatencyModel()
    cost.begin(1, 50 * US)
    cost.learn(1, 1_600_000 * US)

    assert cost.measured_ns(1, None) > 200_000 * US
    assert cost.usual_ns(1) < 60 * US


def test_a_run_that_was_held_up_bounds_nothing():
    """A first run also allocates, and any run may meet a neighbour."""
    cost = LatencyModel()
    cost.begin(1, 4000 * US)
    cost.learn(8, 8 * 9000 * US)
    ran(cost, 8, 8 * 3500 * US, 10)
    cost.learn(8, 8 * 90_000 * US)
    ran(cost, 8, 8 * 3500 * US, 60)

    assert cost.most_rows == ALL_ROWS


def test_small_models_are_joined_without_a_bound():
    """Eight rows take little longer than one."""
    cost = LatencyModel()
    for rows, ns in ((1, 8 * US), (8, 15 * US), (64, 72 * US), (512, 430 * US)):
        ran(cost, rows, ns)

    assert cost.most_rows == ALL_ROWS


def test_a_model_that_loses_by_joining_is_run_singly():
    """Eight rows in one run take longer than eight runs, and so do four and two."""
    cost = LatencyModel()
    cost.begin(1, 4700 * US)
    for rows, most in ((8, 7), (4, 3), (2, 1)):
        ran(cost, rows, rows * 5300 * US, 3)
        assert cost.most_rows > most  # too few runs to judge by

        cost.learn(rows, rows * 5300 * US)
        assert cost.most_rows == most


def test_the_bound_is_the_largest_size_that_pays():
    """Four rows may pay where eight do not; a difference within noise bounds nothing."""
    cost, near = LatencyModel(), LatencyModel()
    cost.begin(1, 3950 * US)
    ran(cost, 8, 8 * 4150 * US)
    ran(cost, 5, 5 * 3740 * US, 100)
    near.begin(1, 4000 * US)
    ran(near, 8, 8 * 4100 * US, 100)

    assert cost.most_rows == 7
    assert near.most_rows == ALL_ROWS


def test_all_sizes_are_tried_again():
    """What was measured may have been a neighbour's doing."""
    cost = LatencyModel()
    cost.begin(1, 4000 * US)
    ran(cost, 2, 2 * 5000 * US)
    assert cost.most_rows == 1

    ran(cost, 1, 4000 * US, 2048)
    assert cost.most_rows == ALL_ROWS
    ran(cost, 2, 2 * 3000 * US, 100)
    assert cost.most_rows == ALL_ROWS


def test_a_caller_may_send_more_rows_than_are_joined():
    """Also in the run after which all sizes are tried again, whichever that is: it fails nothing."""
    for before in range(16):
        cost = LatencyModel()
        ran(cost, 2, 2 * 4000 * US)
        ran(cost, 4, 4 * 5000 * US)
        assert cost.most_rows == 3
        ran(cost, 2, 2 * 4000 * US, before)
        ran(cost, 4, 4 * 5000 * US, 400)
        assert cost.most_rows == ALL_ROWS


def test_rows_of_different_sizes_tell_nothing():
    """A run may be long because its rows are."""
    cost = LatencyModel(comparable=False)
    cost.begin(1, 100 * US)
    ran(cost, 8, 8 * 900 * US, 100)

    assert cost.most_rows == ALL_ROWS
    assert cost.usual_ns(8) == 7200 * US
