"""The times of smaller variants are compared in rounds in which each has its turn."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from bench.quantize import FEW_ROUNDS, ROUNDS, median_interval, timed, variant_times
from zoo.parity.compare import Case
from zoo.parity.vectors import write_vectors

Arrays = Mapping[str, np.ndarray]
FEEDS = {"x": np.zeros((1, 2), np.float32)}


class Machine:
    """A clock that only sessions move; from time to time everything takes thrice as long."""

    def __init__(self, seconds: Mapping[str, float], slow_every: int = 0) -> None:
        self.now = 0.0
        self.runs: list[str] = []
        self.slow_every = slow_every
        self.sessions = {kind: self._session(kind, s) for kind, s in seconds.items()}

    def clock(self) -> float:
        return self.now

    def _session(self, kind: str, seconds: float):
        def run(feeds: Arrays) -> Arrays:
            self.runs.append(kind)
            turn = len(self.runs) // 40
            slow = self.slow_every and turn % self.slow_every == 0
            self.now += seconds * (3 if slow else 1)
            return feeds

        return run


def test_times_are_ratios_within_a_round() -> None:
    """A variant that needs half the time needs half the time; fp32 is its own unit."""
    machine = Machine({"fp32": 0.002, "int8": 0.001, "fp16": 0.003})
    times = timed(machine.sessions, FEEDS, machine.clock)

    assert times["int8"].ratio.median == pytest.approx(0.5)
    assert times["int8"].ratio.high < 1
    assert times["fp16"].ratio.low > 1
    assert times["fp32"].ratio.median == 1
    assert times["fp16"].microseconds == pytest.approx(3000)


def test_everyone_has_a_turn_in_every_round_and_nobody_is_always_first() -> None:
    """So that a machine that slows down for a while slows all alike."""
    machine = Machine({"fp32": 0.004, "int8": 0.004, "fp16": 0.004})
    timed(machine.sessions, FEEDS, machine.clock)
    turns = machine.runs[-3 * ROUNDS :]
    rounds = [turns[i : i + 3] for i in range(0, len(turns), 3)]

    assert all(set(turn) == set(machine.sessions) for turn in rounds)
    assert [turn[0] for turn in rounds[:3]] == ["fp32", "int8", "fp16"]


def test_slow_models_have_fewer_rounds_and_quick_ones_more_runs_in_each() -> None:
    """A run of 0.1 s is timed seven times; one of 10 µs two hundred times a turn."""
    slow, quick = Machine({"fp32": 0.1}), Machine({"fp32": 1e-5})
    timed(slow.sessions, FEEDS, slow.clock)
    timed(quick.sessions, FEEDS, quick.clock)

    assert len(slow.runs) - 3 == FEW_ROUNDS
    assert len(quick.runs) - 3 == ROUNDS * 200


def test_bursts_of_other_work_widen_the_interval_and_leave_the_median() -> None:
    """Noise that hits some turns decides nothing."""
    machine = Machine({"fp32": 0.001, "int8": 0.001}, slow_every=7)
    ratio = timed(machine.sessions, FEEDS, machine.clock)["int8"].ratio

    assert ratio.low <= 1 <= ratio.high


@pytest.mark.parametrize(
    ("count", "at"),
    [(15, (3, 11)), (7, (0, 6)), (6, (0, 5)), (3, (0, 2)), (1, (0, 0)), (101, (40, 60))],
)
def test_the_interval_is_the_sign_tests(count: int, at: tuple[int, int]) -> None:
    """Order statistics between which the median lies in 95 of 100 repetitions or more.

    The places for 15 and 101 values are those of the usual tables (4th, and 41st, from either
    end); below 6 values no interval is that sure, and the whole range stands for it.
    """
    values = [float(v) for v in np.random.default_rng(1).permutation(count)]
    ratio = median_interval(values)

    assert (ratio.low, ratio.high) == (float(at[0]), float(at[1]))
    assert ratio.median == (count - 1) / 2


def test_published_variants_are_timed_on_the_test_vectors(tmp_path: Path) -> None:
    """At both batches, each beside fp32; a version without variants has nothing to time."""
    value = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 2]) for name in "xy"
    ]
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "identity", value[:1], value[1:])
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    rows = {"x": np.ones((3, 2), np.float32)}
    write_vectors(tmp_path, [Case(name="a", feeds=rows, expected={"y": rows["x"]})])
    assert variant_times(tmp_path) == []

    onnx.save(model, tmp_path / "model.fp16.onnx")
    records = variant_times(tmp_path)

    assert [(record["variant"], record["batch"]) for record in records] == [
        ("fp16", 1),
        ("fp16", 64),
    ]
    assert all(record["ratio"]["median"] > 0 for record in records)
