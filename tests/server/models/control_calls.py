"""Load, unload and index as the tests of model control call them, and what opens their graphs."""

import grpc
import numpy as np

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.backends.onnxruntime.runtime import Runtime

ROW = np.array([[1, 2, 3, 4]], np.float32)


def load(wire, name, **parameters):
    """Load with parameters given as Python values; return the error's code name and text, if any."""
    request = pb.RepositoryModelLoadRequest(model_name=name)
    for key, value in parameters.items():
        field = {bytes: "bytes_param", str: "string_param", int: "int64_param"}[type(value)]
        setattr(request.parameters[key], field, value)
    return outcome(wire.stub.RepositoryModelLoad, request)


def unload(wire, name):
    return outcome(
        wire.stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest(model_name=name)
    )


def outcome(method, request):
    try:
        method(request)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return None


def index(wire, ready=False):
    answer = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=ready))
    return [(model.name, model.version, model.state, model.reason) for model in answer.models]


def at_once(open_graph):
    return open_graph()


class Opener:
    """What opens graphs for a server, and what a test does around it at any moment."""

    def __init__(self):
        self.around = at_once

    def __call__(self, *, provider, threads):
        self._runtime = Runtime(provider=provider, threads=threads)
        self.version, self.threads = self._runtime.version, threads
        return self

    def open(self, *arguments):
        return self.around(lambda: self._runtime.open(*arguments))

    def close(self):
        self._runtime.close()
