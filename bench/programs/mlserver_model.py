"""MLServer's custom runtime around onnxruntime, as its documentation shows."""

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class OnnxModel(MLModel):  # type: ignore[misc]  # a library of the peer's environment only
    """One ONNX file with one input and one output."""

    async def load(self) -> bool:
        """Open the file."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        (self.output,) = [value.name for value in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request."""
        (tensor,) = payload.inputs
        x = np.asarray(self.decode(tensor), np.float32).reshape(tensor.shape)
        (y,) = self.session.run([self.output], {tensor.name: x})
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                ResponseOutput(
                    name=self.output, shape=list(y.shape), datatype="FP32", data=y.ravel().tolist()
                )
            ],
        )
