"""OpenVINO on the CPU, in float32.

Where the processor can, its default is bfloat16, which is off by up to 7e-3 on these models: a
comparison of graphs needs the precision that the file states.
"""

from collections.abc import Callable

import numpy as np
import openvino

CORE = openvino.Core()
OPTIONS = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


def version() -> str:
    """Return OpenVINO's release, without the build's number and commit."""
    return str(openvino.__version__).split("-")[0]


def load(path: str, outputs: list[str]) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Compile the file for the CPU."""
    compiled = CORE.compile_model(path, "CPU", OPTIONS)

    def run(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers = compiled(feeds)
        # An output carries the names of all tensors that were folded into it; the results are
        # views of buffers that the next request overwrites.
        return {
            name: answers[output].copy() for output in compiled.outputs for name in output.names
        }

    return run
