"""KServe's Python model server around onnxruntime, as its documentation shows.

Usage: kserve_model.py REPOSITORY HTTP_PORT GRPC_PORT
"""

import sys
from pathlib import Path
from typing import Any

import kserve
import onnxruntime


class OnnxModel(kserve.Model):  # type: ignore[misc]  # a library of the peer's environment only
    """One ONNX file with one input and one output."""

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options)
        (self.output,) = [value.name for value in self.session.get_outputs()]
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Answer one request."""
        (tensor,) = payload.inputs
        (y,) = self.session.run([self.output], {tensor.name: tensor.as_numpy()})
        output = kserve.InferOutput(self.output, list(y.shape), "FP32")
        output.set_data_from_numpy(y)
        return kserve.InferResponse(payload.id or "0", self.name, [output])


if __name__ == "__main__":
    repository = Path(sys.argv.pop(1))
    kserve.ModelServer(http_port=int(sys.argv.pop(1)), grpc_port=int(sys.argv.pop(1))).start(
        [OnnxModel(path.parts[-3], path) for path in sorted(repository.glob("*/1/model.onnx"))]
    )
