"""Apache TVM: the relax frontend, compiled for this CPU by LLVM.

Each shape of feeds gets a program of its own, since kernels for known sizes are what TVM is for.
"""

from collections.abc import Callable

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx


def version() -> str:
    """Return TVM's version."""
    return str(tvm.__version__)


def load(path: str, outputs: list[str]) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Read the file; each run compiles it for its feeds' shapes."""
    model = onnx.load(path)

    def run(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        module = from_onnx(
            model,
            shape_dict={name: list(array.shape) for name, array in feeds.items()},
            dtype_dict={name: array.dtype.name for name, array in feeds.items()},
        )
        machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
        answers = machine["main"](*(tvm.runtime.tensor(array) for array in feeds.values()))
        several = [answers] if hasattr(answers, "numpy") else list(answers)
        return dict(zip(outputs, (answer.numpy() for answer in several), strict=True))

    return run
