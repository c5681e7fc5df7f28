"""onnx2torch: the graph as a torch module, on the CPU."""

import sys
import types
from collections.abc import Callable
from importlib import metadata
from typing import Any, NoReturn

import numpy as np
import onnx
import torch


def _no_region_operators(*_: object, **__: object) -> NoReturn:
    raise NotImplementedError("operators on regions of interest need torchvision")


# onnx2torch imports torchvision for two operators on regions of interest, and torchvision's wheel
# does not load beside a torch built without CUDA: a module without them stands in for it.
_operators: Any = types.ModuleType("torchvision.ops")
_operators.nms = _operators.roi_align = _operators.box_convert = _no_region_operators
_vision: Any = types.ModuleType("torchvision")
_vision.ops = _operators
sys.modules |= {"torchvision": _vision, "torchvision.ops": _operators}
import onnx2torch  # noqa: E402


def version() -> str:
    """Return onnx2torch's version."""
    return metadata.version("onnx2torch")


def load(path: str, outputs: list[str]) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Convert the file; its inputs are positional, in the graph's order."""
    graph = onnx.load(path).graph
    initializers = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in initializers]
    torch.set_num_threads(1)
    module = onnx2torch.convert(path).eval()

    def run(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            answers = module(*(torch.from_numpy(feeds[name]) for name in inputs))
        several = answers if isinstance(answers, (tuple, list)) else (answers,)
        return {name: value.numpy() for name, value in zip(outputs, several, strict=True)}

    return run
