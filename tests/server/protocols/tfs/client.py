"""A client of TensorFlow Serving's protocol, and requests for it; no TensorFlow anywhere."""

from typing import Any

import grpc
import pytest

from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_proto import tensorflow_serving_pb2 as pb
from zoo_proto import tensorflow_serving_pb2_grpc

LABELS = 'parameters { key: "version_labels" value { string_value: "stable=1, canary=3" } }'


class Client:
    """Both services' stubs, and requests from arrays."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.prediction = tensorflow_serving_pb2_grpc.PredictionServiceStub(channel)
        self.model = tensorflow_serving_pb2_grpc.ModelServiceStub(channel)

    def predict(self, request: pb.PredictRequest) -> pb.PredictResponse:
        return self.prediction.Predict(request)

    def refused(self, request: Any, method: str = "Predict") -> tuple[str, str]:
        """Return the status and the text of a call that must fail."""
        stub = self.model if hasattr(self.model, method) else self.prediction
        with pytest.raises(grpc.RpcError) as caught:
            getattr(stub, method)(request)
        return caught.value.code().name, caught.value.details()


def tensor(
    kind: int, shape: tuple[int, ...], content: bytes = b"", **values: Any
) -> tf.TensorProto:
    """Build a TensorProto of which only what is given is set."""
    dims = [tf.TensorShapeProto.Dim(size=size) for size in shape]
    return tf.TensorProto(
        dtype=kind,
        tensor_shape=tf.TensorShapeProto(dim=dims),
        tensor_content=content,
        **values,
    )


def request(model: str, **inputs: tf.TensorProto) -> pb.PredictRequest:
    return pb.PredictRequest(model_spec=pb.ModelSpec(name=model), inputs=inputs)


FLOATS = tensor(tf.DT_FLOAT, (1, 4), float_val=[1, 2, 3, 4])
