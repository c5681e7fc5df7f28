"""Triton's Python backend running an ONNX file with onnxruntime, one run a batch of requests."""

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ["BENCH_SITE_PACKAGES"])

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One ONNX file with one input and one output; Triton looks for this name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the file."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = Path(args["model_repository"], args["model_version"], "model.onnx")
        self.session = onnxruntime.InferenceSession(str(path), options)
        (self.input,) = [value.name for value in self.session.get_inputs()]
        (self.output,) = [value.name for value in self.session.get_outputs()]
        self.batches = "batch" in str(self.session.get_inputs()[0].shape[0])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests, as Triton has joined them."""
        arrays = [
            pb_utils.get_input_tensor_by_name(request, self.input).as_numpy()
            for request in requests
        ]
        if not self.batches:
            return [self._answer(self._run(array)) for array in arrays]
        y = self._run(np.concatenate(arrays) if len(arrays) > 1 else arrays[0])
        answers, begin = [], 0
        for array in arrays:
            answers.append(self._answer(y[begin : begin + len(array)]))
            begin += len(array)
        return answers

    def _run(self, x: np.ndarray) -> np.ndarray:
        (y,) = self.session.run([self.output], {self.input: x})
        return np.asarray(y)

    def _answer(self, y: np.ndarray) -> Any:
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor(self.output, y)])
