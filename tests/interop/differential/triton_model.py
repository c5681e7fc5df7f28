"""Triton's Python backend running the ONNX file beside it, a request at a time."""

import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ["DIFFERENTIAL_SITE_PACKAGES"])

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        folder = Path(args["model_repository"], args["model_version"])
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        values = [*self.session.get_inputs(), *self.session.get_overridable_initializers()]
        self.inputs = [value.name for value in values]

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        feeds = {}
        for name in self.inputs:
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is not None:
                array = tensor.as_numpy()
                if array.dtype == np.object_:
                    flat = [element.decode() for element in array.reshape(-1)]
                    array = np.array(flat, dtype=np.object_).reshape(array.shape)
                feeds[name] = array
        # In the order of the graph, as Triton's own backends answer; the request keeps none.
        requested = request.requested_output_names()
        names = [value.name for value in self.session.get_outputs() if value.name in requested]
        tensors = []
        for name, array in zip(names, self.session.run(names, feeds), strict=True):
            if array.dtype == np.object_:
                flat = [str(element).encode() for element in array.reshape(-1)]
                array = np.array(flat, dtype=np.object_).reshape(array.shape)
            tensors.append(pb_utils.Tensor(name, array))
        return pb_utils.InferenceResponse(output_tensors=tensors)
