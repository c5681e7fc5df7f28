"""The ONNX reference evaluator: the standard's own, in numpy. Slow: prove leaves it out where it would take minutes."""

from __future__ import annotations

import os
from pathlib import Path

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
