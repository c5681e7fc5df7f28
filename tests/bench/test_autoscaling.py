"""The simulated day: the same each time, and what it must show."""

from dataclasses import replace

from bench.autoscaling import DAY, Policy, Replica, day, simulate

REPLICA = Replica(per_second=50, under_way=8, start_seconds=20)


def test_a_day_is_the_same_each_time():
    """By its seed; another seed is another day."""
    rates = day(500)
    assert rates == day(500)
    assert rates != day(500, seed=1)
    assert len(rates) == DAY
    assert sum(rates[:3600]) < sum(rates[DAY // 2 : DAY // 2 + 3600]) / 4


def test_a_steady_load_needs_what_it_needs():
    """Nothing is late, nothing starts, and the cost is the target's."""
    outcome = simulate([350.0] * 3600, REPLICA, Policy(target=0.7))
    assert (outcome.late, outcome.starts, outcome.most) == (0, 0, 10)
    assert outcome.cost == 10 / 7


def test_a_step_waits_for_the_replicas_that_start():
    """A longer start makes more requests late, and a bound on replicas holds."""
    rates = [100.0] * 600 + [1000.0] * 1800
    policy = Policy(target=0.7, up_delay=0, most=40)
    quick, slow = (
        simulate(rates, replace(REPLICA, start_seconds=seconds), policy) for seconds in (5, 120)
    )
    assert 0 < quick.late < slow.late
    assert quick.slowest < slow.slowest
    assert slow.most == 40


def test_replicas_end_after_the_load():
    """Not before the delay is over."""
    rates = [500.0] * 600 + [50.0] * 3600
    early, never = (
        simulate(rates, REPLICA, Policy(target=0.5, down_delay=delay)) for delay in (60, 1e6)
    )
    assert early.cost < never.cost
    assert early.late == never.late == 0
