"""jaxonnxruntime: the graph as JAX operations, on the CPU."""

import os
from collections.abc import Callable
from importlib import metadata

os.environ.setdefault("JAX_PLATFORMS", "cpu")
import numpy as np
import onnx
from jaxonnxruntime import call_onnx


def version() -> str:
    """Return jaxonnxruntime's version."""
    return metadata.version("jaxonnxruntime")


def load(path: str, outputs: list[str]) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Read the file; each run traces it for its feeds, as the package demands."""
    model = onnx.load(path)

    def run(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        function, weights = call_onnx.call_onnx_model(model, feeds)
        answers = function(weights, feeds)
        return dict(zip(outputs, map(np.asarray, answers), strict=True))

    return run
