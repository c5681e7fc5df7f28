"""The ONNX reference evaluator: the standard's own, in numpy. Slow: prove leaves it out where it would take minutes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from zoo.parity.compare import Arrays, Session
from zoo.version import installed_version


class OnnxReference:
    """onnx.reference.ReferenceEvaluator."""

    name = "onnx-reference"

    def version(self) -> str | None:
        """Return the version of the onnx package."""
        return installed_version("onnx")

    def load(self, model: Path) -> Session:
        """Load the graph; its outputs come back by name."""
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(os.fspath(model))
        names = list(evaluator.output_names)

        def run(feeds: Arrays) -> Arrays:
            return dict(zip(names, evaluator.run(names, dict(feeds)), strict=True))

        return run


def pools_nan(model: Path, feeds: Arrays) -> bool:
    """Tell whether a NaN arrives at a MaxPool of the graph when the evaluator runs these feeds.

    Infinities become NaN on the way (Inf - Inf), where neither the row nor the answer has one.
    """
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(os.fspath(model))
    pooled = [node.input[0] for node in evaluator.proto_.graph.node if node.op_type == "MaxPool"]
    if not pooled:
        return False
    with np.errstate(all="ignore"):
        values = evaluator.run(pooled, dict(feeds))
    return any(bool(np.isnan(value).any()) for value in values)
