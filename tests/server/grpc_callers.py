"""A server in this process, asked over gRPC."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import grpc_service_pb2_grpc
from zoo_server.backends.onnxruntime.runtime import Runtime
from zoo_server.config import ServerConfig
from zoo_server.datatypes import DATA_TYPES
from zoo_server.models.model_runtime import OpenerFactory
from zoo_server.server import Server, running


class Wire:
    """A running server, and a channel with stubs to it."""

    def __init__(self, server: Server, channel: grpc.Channel) -> None:
        self.server = server
        self.address = server.grpc_address
        self.channel = channel
        self.stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)

    def infer(self, model: str, version: str = "", **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Ask with raw contents; return numeric outputs by name."""
        request = infer_request(model, version, **arrays)
        answer = self.stub.ModelInfer(request)
        dtypes = {row.wire: row.numpy for row in DATA_TYPES}
        return {
            tensor.name: np.frombuffer(raw, dtypes[tensor.datatype]).reshape(tuple(tensor.shape))
            for tensor, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
        }


def infer_request(model: str, version: str = "", **arrays: np.ndarray) -> pb.ModelInferRequest:
    """Build a request with raw contents from numeric arrays."""
    wire = {row.numpy: row.wire for row in reversed(DATA_TYPES) if row.wire != "BF16"}
    request = pb.ModelInferRequest(model_name=model, model_version=version)
    for name, array in arrays.items():
        request.inputs.add(name=name, datatype=wire[array.dtype], shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request


@contextmanager
def serve_grpc(path: Path, opener: OpenerFactory = Runtime, **options: Any) -> Iterator[Wire]:
    """Serve a repository in this process, and connect to it."""
    # HTTP where a test asks for it: its ports would cost each of the others a tenth of a second.
    defaults = {"grpc_port": 0, "http_port": None, "metrics_port": None, "drain_seconds": 2.0}
    config = ServerConfig(repository=path, **{**defaults, **options})
    with running(config, opener) as server, grpc.insecure_channel(server.grpc_address) as channel:
        yield Wire(server, channel)


@contextmanager
def connections(
    address: str, count: int = 16, credentials: grpc.ChannelCredentials | None = None
) -> Iterator[list[grpc.Channel]]:
    """Open connections of their own to a server, with or without TLS."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with ExitStack() as stack:
        channels = [
            stack.enter_context(
                grpc.insecure_channel(address, options)
                if credentials is None
                else grpc.secure_channel(address, credentials, options)
            )
            for _ in range(count)
        ]
        for channel in channels:
            grpc.channel_ready_future(channel).result(timeout=10)
        yield channels
