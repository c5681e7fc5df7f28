"""How the tests of several workers ask them."""

import numpy as np

from zoo_proto import grpc_service_pb2_grpc

#: As many as `connected` opens.
CONNECTIONS = 16

CHANGES = ("--model-control-mode", "explicit", "--load-model", "m", "--allow-shared-memory")


def stub_of(channel):
    return grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)


def infers(channel, make_request, model="m"):
    answer = stub_of(channel).ModelInfer(make_request(model, x=np.ones((1, 4), np.float32)))
    return np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [1.0] * 4
