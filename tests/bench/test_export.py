"""bench.export: what it compares, and when it says that a bar is missed."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "bench/export.py"
RESULTS = SCRIPT.parent / "results/export.json"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The script, which imports no framework by itself."""
    specification = importlib.util.spec_from_file_location("bench_export", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def _row(bench: ModuleType, model: str, share: float, seconds: float = 0.1) -> dict[str, Any]:
    """A model of which ours takes `share` of the time of tf2onnx, the better peer."""
    times = {bench.OURS: [share, share, share], bench.KERAS: [2.0] * 3, bench.TF2ONNX: [1.0] * 3}
    return {
        "model": model,
        "exporters": {bench.OURS: {"export_seconds": seconds}},
        "batches": {"1": bench.comparison_of(times)},
    }


def test_ratios_are_taken_round_by_round(bench: ModuleType) -> None:
    """A round in which everything was slow does not count against anyone."""
    comparison = bench.comparison_of(
        {bench.OURS: [1, 10, 1], bench.KERAS: [2, 20, 2], bench.TF2ONNX: [4, 40, 4]}
    )

    assert comparison["ratio"][bench.KERAS]["median"] == 0.5
    assert comparison["ratio"][bench.TF2ONNX]["quartiles"] == [0.25, 0.25]
    assert comparison["better_peer"] == bench.KERAS


@pytest.mark.parametrize(
    ("model", "share", "seconds", "words"),
    [
        ("dense_relu", 1.02, 0.1, None),
        ("dense_relu", 1.1, 0.1, "1.10 of tf2onnx"),
        ("cnn", 0.8, 0.1, None),
        ("cnn", 0.9, 0.1, "0.90 of tf2onnx, not 0.85"),
        ("gru", 0.19, 0.1, None),
        ("gru", 0.3, 0.1, "0.30 of tf2onnx, not 0.2"),
        ("lstm", 0.7, 0.9, "exported in 0.90 s, not 0.5"),
        ("mobilenet_v2", 1.0, 9.0, None),
    ],
)
def test_a_missed_bar_is_said(
    bench: ModuleType, model: str, share: float, seconds: float, words: str | None
) -> None:
    """Slower than the better peer, not as much faster as promised, or too long in the making."""
    lines = bench.shortfalls(_row(bench, model, share, seconds))

    assert (not lines) if words is None else words in lines[0]


def test_the_last_results_miss_nothing(bench: ModuleType) -> None:
    """The committed figures are of every model, and every bar is met."""
    values = json.loads(RESULTS.read_text())

    assert values["missed"] == []
    assert set(bench.BARS) <= {row["model"] for row in values["models"]}
    page = bench.page(values["models"], values["versions"])
    assert page == RESULTS.with_suffix(".md").read_text()
