"""A small client of the gRPC endpoint: numpy in, numpy out.

It speaks the Open Inference Protocol with our own stubs, so any server of that protocol will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
from server import tensors
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import grpc_service_pb2_grpc, model_config_pb2

#: tritonclient's own limit; grpcio's default of 4 MB is too small for tensors.
MAX_MESSAGE_BYTES = 2**31 - 1


class ClientError(Exception):
    """The server refused the request, or there is none."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One inference's outputs by name, and the version that gave them."""

    model: str
    version: str
    outputs: Mapping[str, np.ndarray]


class Client:
    """A connection to one server; use it as a context manager.

    >>> with Client("127.0.0.1:8001") as client:
    ...     client.infer("dense_iris", {"measurements": rows}).outputs["probabilities"]
    """

    def __init__(self, address: str, *, timeout_seconds: float = 10.0) -> None:
        self._address = address
        self._timeout = timeout_seconds
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ]
        self._channel = grpc.insecure_channel(address, options=options)
        self._stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def config(self, model: str, version: str = "") -> model_config_pb2.ModelConfig:
        """Return a model's configuration: inputs, outputs, and what people need to know."""
        request = pb.ModelConfigRequest(name=model, version=version)
        config: model_config_pb2.ModelConfig = self._call("ModelConfig", request).config
        return config

    def models(self) -> tuple[str, ...]:
        """Return the names of the models that are ready."""
        index = self._call("RepositoryIndex", pb.RepositoryIndexRequest(ready=True))
        return tuple(sorted({entry.name for entry in index.models}))

    def infer(self, model: str, inputs: Mapping[str, np.ndarray], version: str = "") -> Answer:
        """Return the model's outputs; the first dimension is the batch where the model batches.

        Raises ClientError with the server's words, or if no server answers in time.
        """
        request = pb.ModelInferRequest(model_name=model, model_version=version)
        for name, array in inputs.items():
            wire = tensors.by_numpy(array.dtype)
            request.inputs.add(name=name, datatype=wire.wire, shape=array.shape)
            request.raw_input_contents.append(tensors.to_raw(wire, array))
        response = self._call("ModelInfer", request)
        outputs = {}
        for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=True):
            wire = tensors.by_wire(tensor.datatype)
            outputs[tensor.name] = tensors.from_raw(wire, tuple(tensor.shape), raw)
        return Answer(model=response.model_name, version=response.model_version, outputs=outputs)

    def _call(self, method: str, request: Any) -> Any:
        """Call one procedure; grpc's error becomes ours."""
        try:
            return getattr(self._stub, method)(request, timeout=self._timeout)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
            # grpcio reports its own failure to connect with the address and a C-core message.
            if code == "UNAVAILABLE" and "connect" in details.lower():
                details = f"no server answers at {self._address}: start one with `zoo serve`"
            raise ClientError(code, details) from error
