"""Medians, ratios, promises and tables, from figures made by hand."""

import pytest

from bench.bars import BARS, Bar, better
from bench.report import (
    BEGIN,
    END,
    ReportError,
    bars,
    into_page,
    medians,
    overview,
    ratios,
    tables,
)
from bench.run import rotated
from bench.scenarios import CPU, EIGHT, P50, PER_SECOND
from bench.servers import BARE, FAST, KSERVE_PYTHON, MLSERVER_PYTHON

FOUND = {
    EIGHT.name: {
        FAST: {PER_SECOND: 300.0, P50: 2.0, CPU: 20.0},
        KSERVE_PYTHON: {PER_SECOND: 20.0, P50: 8.0, CPU: 500.0},
        MLSERVER_PYTHON: {PER_SECOND: 25.0, P50: 10.0, CPU: 400.0},
    }
}


def test_the_median_is_of_each_figure_by_itself():
    """One disturbed repeat changes nothing."""
    repeats = {"s": {"a": {PER_SECOND: [10, 1, 12], P50: [5, 50, 4]}}}

    assert medians(repeats) == {"s": {"a": {PER_SECOND: 10, P50: 5}}}


@pytest.mark.parametrize(
    ("figure", "times"), [(PER_SECOND, 0.5), (P50, 2.0), (CPU, 2.0), ("memory MB", 2.0)]
)
def test_better_means_more_requests_and_less_of_everything_else(figure, times):
    """Above one, ours is ahead."""
    assert times == better(figure, 10, 20)
    assert better(figure, 0, 20) is None


def test_ratios_are_against_every_other_server():
    """Ours against itself is left out."""
    compared = ratios(FOUND)[EIGHT.name]

    assert {KSERVE_PYTHON, MLSERVER_PYTHON} == set(compared)
    assert compared[KSERVE_PYTHON] == {PER_SECOND: 15.0, P50: 4.0, CPU: 25.0}


def promise(**more):
    return Bar(
        text="t", scenario=EIGHT.name, against=(KSERVE_PYTHON, MLSERVER_PYTHON), **more
    )  # fmt: skip


def test_a_promise_is_held_against_the_best_of_the_others():
    """The faster one for throughput, the quicker one for time."""
    rate, time = promise(figure=PER_SECOND, bound=12), promise(figure=P50, bound=0.2)

    assert rate.value(FOUND) == 12.0
    assert rate.met(12.0)
    assert not rate.met(11.9)
    assert rate.by_cpu(FOUND) == 20.0
    assert time.value(FOUND) == 0.25
    assert not time.met(0.25)
    assert time.by_cpu(FOUND) is None


def test_a_promise_without_figures_is_not_kept():
    """Nothing measured is said, not passed over."""
    missing = Bar(text="t", scenario=EIGHT.name, figure=PER_SECOND, bound=1, against=(BARE,))

    assert missing.value(FOUND) is None
    assert missing.value({}) is None
    table = bars(FOUND)
    assert len(BARS) == table.count("not measured") + table.count("| yes |") + table.count("**no**")
    assert table.count("| yes |") == 1


def test_tables_say_where_ours_is_behind():
    """A ratio below one is printed like any other."""
    behind = {"s": {FAST: {PER_SECOND: 50.0}, "other": {PER_SECOND: 100.0}}}

    assert "| other | 100 | 0.5× |" in tables(behind)


FACTS = {
    **dict.fromkeys(("cpu", "kernel", "python", "onnxruntime", "grpcio", "date"), "?"),
    "cores": 2,
    "load average": [0.3, 0.2, 0.1],
}


def test_the_overview_lists_servers_by_throughput():
    """Best first, and what is missing is an empty cell."""
    names = [line.split(" | ")[0] for line in overview(FOUND, FACTS).splitlines()[4:]]

    assert [f"| {FAST}", f"| {MLSERVER_PYTHON}", f"| {KSERVE_PYTHON}"] == names


def test_the_page_keeps_everything_outside_the_markers(tmp_path):
    """Only what lies between them is replaced."""
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")

    into_page(page, "new\n")

    assert f"before\n{BEGIN}\nnew\n{END}\nafter\n" == page.read_text()


def test_a_page_without_markers_is_left_alone(tmp_path):
    """The line says which markers are wanted."""
    page = tmp_path / "performance.md"
    page.write_text("text\n")

    with pytest.raises(ReportError, match="bench: begin"):
        into_page(page, "new\n")
    assert page.read_text() == "text\n"


def test_turns_begin_with_another_server_each_time():
    """Nobody is always measured first."""
    assert rotated(["a", "b", "c"], 4) == ["b", "c", "a"]
    assert rotated([], 3) == []


def test_the_overview_says_when_the_machine_was_busy():
    """Figures taken beside other work are not to be quoted."""
    busy = {**FACTS, "load average": [7.5, 1, 1]}

    assert "load average 7.5" in overview(FOUND, busy)
    assert "load average" not in overview(FOUND, FACTS)
