"""Calls of the slow model: as long as a test needs, over both protocols."""

import numpy as np

from tests.server.slow_runs import trips_for
from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import (
    tensorflow_framework_pb2,
    tensorflow_serving_pb2,
    tensorflow_serving_pb2_grpc,
)


def trips(stub, seconds):
    return trips_for(seconds, lambda count: ask(stub, count).result())


def until_busy(process, start):
    """Wait until the process works on what `start` sends; return what that returns."""
    before = process.cpu_ticks()
    started = start()
    until(lambda: process.cpu_ticks() > before + 5)
    return started


def counting(count):
    request = pb.ModelInferRequest(model_name="slow")
    request.inputs.add(name="n", datatype="INT64", shape=[1])
    request.raw_input_contents.append(np.array([count], np.int64).tobytes())
    return request


def ask(stub, count):
    return stub.ModelInfer.future(counting(count))


def predict(channel, count):
    """Ask the same of TensorFlow Serving's protocol."""
    request = tensorflow_serving_pb2.PredictRequest()
    request.model_spec.name = "slow"
    tensor = request.inputs["n"]
    tensor.dtype = tensorflow_framework_pb2.DT_INT64
    tensor.tensor_shape.dim.add(size=1)
    tensor.int64_val.append(count)
    stub = tensorflow_serving_pb2_grpc.PredictionServiceStub(channel)
    return stub.Predict.future(request, timeout=30)
