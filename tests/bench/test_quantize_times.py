"""The ratio of two times has an interval, and published variants have such ratios."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from bench.quantize import median_interval, variant_times
from zoo.parity.compare import Case
from zoo.parity.vectors import write_vectors


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


def test_published_variants_are_timed_on_the_test_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At both batches, each beside fp32; a version without variants has nothing to time."""
    monkeypatch.setattr("bench.quantize.SECONDS", 0.01)
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
