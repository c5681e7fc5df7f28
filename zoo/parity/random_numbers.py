"""Runs a file that draws random numbers: that it does, and answers in the shapes that Keras does.

What it computes from them is proven before, with the numbers as inputs (zoo/convert/draws.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoo.errors import CheckFailed
from zoo.parity.compare import Case, Refusal
from zoo.parity.external_data import read_graph
from zoo.parity.prove import run_cases
from zoo.parity.runtimes import DECISIVE, all_runtimes


def check_drawn(path: Path, cases: Sequence[Case]) -> None:
    """Raise CheckFailed if onnxruntime refuses a file, or answers in other shapes than Keras did."""
    graph = read_graph(path)
    assert graph is not None  # onnx wrote the file
    inputs = [value.name for value in graph.input]
    outputs = [value.name for value in graph.output]
    own_cases = [
        Case(
            name=case.name,
            feeds={name: case.feeds[name] for name in inputs},
            expected={name: case.expected[name] for name in outputs},
        )
        for case in cases
    ]
    (runtime,) = [runtime for runtime in all_runtimes() if runtime.name == DECISIVE]
    for case, answers in zip(own_cases, run_cases(runtime, path, own_cases), strict=True):
        if isinstance(answers, Refusal):
            raise CheckFailed(f"{path.name}: {DECISIVE} refuses the graph: {answers.reason}")
        for name, expected in case.expected.items():
            if answers[name].shape != expected.shape:
                raise CheckFailed(
                    f"{path.name}: {DECISIVE} gives {name} of {list(answers[name].shape)} and "
                    f"Keras of {list(expected.shape)} ({case.name})"
                )
