"""Small graphs in ONNX's text form, and a pass run over them with its promise held: equal answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, numpy_helper

from zoo.convert.passes.dead import drop_dead
from zoo.convert.passes.view import View

Pass = Callable[[View], bool]


def parsed(text: str, opset: int = 17, **constants: Any) -> ModelProto:
    """Return a graph from `(inputs) => (outputs) { nodes }` and its constants by name."""
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}, "ai.onnx.ml" : 2]> graph {text}'
    )
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    onnx.checker.check_model(model)
    return model


def run(model: ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return onnxruntime's answers, its own rewriting switched off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    answers: list[np.ndarray] = session.run(None, feeds)
    return answers


@dataclass
class Lab:
    """What the tests of passes need."""

    parse: Callable[..., ModelProto] = parsed
    run: Callable[..., list[np.ndarray]] = run

    def apply(self, rewrite: Pass, model: ModelProto, *feeds: dict[str, np.ndarray]) -> bool:
        """Run a pass to its end and say whether it did anything.

        Whatever it did, the graph is valid and answers as before, with the same shapes and types.
        """
        before = [self.run(model, feed) for feed in feeds]
        view = View(model)
        changed = False
        while rewrite(view):
            changed = True
            view.refresh()
        drop_dead(model)
        onnx.checker.check_model(model, full_check=True)
        for feed, expected in zip(feeds, before, strict=True):
            for left, right in zip(expected, self.run(model, feed), strict=True):
                assert (left.shape, left.dtype) == (right.shape, right.dtype)
                np.testing.assert_allclose(right, left, rtol=1e-5, atol=1e-5)
        return changed

    def operators(self, model: ModelProto) -> list[str]:
        """Return what is left, in order."""
        return [node.op_type for node in model.graph.node]


@pytest.fixture(scope="session")
def lab() -> Lab:
    """Parser, runner and judge."""
    return Lab()
