"""A servicer becomes generic handlers, by the names in the service's descriptor.

Registering under the wire's names (and not through the generated `add_…_to_server`) keeps our stubs'
descriptors out of grpc's way, and shows every RPC of the service: those without a method answer
UNIMPLEMENTED in words, where gRPC itself would say "Method not found!".
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from zoo_proto import grpc_service_pb2

from server.api.infer_path import BurstPath, InferPath
from server.api.infer_stream import InferStreams
from server.api.interceptor import BlockingCall, Context, guarded_unary
from server.errors import Unsupported

SERVICE = grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]

#: Methods that read what is in memory: a transport that can may answer them without a thread. Where
#: such a method asks others all the same, it says so with an attribute `waits`.
_IN_PLACE = frozenset(
    {
        "ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelConfig",
        "ModelStatistics", "SystemSharedMemoryStatus", "CudaSharedMemoryStatus",
        "SystemSharedMemoryUnregister", "CudaSharedMemoryUnregister", "TraceSetting", "LogSettings",
    }
)  # fmt: skip


def inference_handlers(
    servicer: object,
    path: InferPath,
    streams: InferStreams,
    admission: AbstractContextManager[None],
) -> grpc.GenericRpcHandler:
    """Return the handlers of inference.GRPCInferenceService: each RPC is a method of the servicer."""
    handlers = {
        method.name: _handler(method, servicer, admission)
        for method in SERVICE.methods
        if not method.server_streaming
    }
    handlers["ModelInfer"] = grpc.unary_unary_rpc_method_handler(burst_behaviour(path))
    handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
        _stream_infer(path, streams)
    )
    return grpc.method_handlers_generic_handler(SERVICE.full_name, handlers)


def one_servicer(*parts: object) -> object:
    """Return several servicers as one: each RPC is the method of the first part that has it."""
    names = [method.name for method in SERVICE.methods]
    return SimpleNamespace(
        **{
            name: getattr(part, name)
            for part in reversed(parts)
            for name in names
            if hasattr(part, name)
        }
    )


def burst_behaviour(path: BurstPath) -> Any:
    """A hot call, for a transport that calls once a request and for one that hands over bursts."""

    def behaviour(raw: bytes, context: Context) -> bytes:
        call = BlockingCall(raw, context)
        path.answer([call])
        return call.wait()

    behaviour.burst = path.answer  # type: ignore[attr-defined]  # server/transport/fast.py reads it
    return behaviour


def _stream_infer(path: InferPath, streams: InferStreams) -> Any:
    """ModelStreamInfer, for a transport that gives iterators and for one that calls back."""

    def behaviour(requests: Iterator[bytes], context: Context) -> Iterator[bytes]:
        return streams.iterate(requests, context)

    behaviour.on_stream = streams.serve  # type: ignore[attr-defined]
    behaviour.burst = path.answer  # type: ignore[attr-defined]
    return behaviour


def _handler(
    method: Any, servicer: object, admission: AbstractContextManager[None]
) -> grpc.RpcMethodHandler:
    handler = getattr(servicer, method.name, None)
    if handler is None:
        handler = _refuse(method.name)
    behaviour = guarded_unary(method.name, handler, admission, GetMessageClass(method.input_type))
    in_place = method.name in _IN_PLACE and not getattr(handler, "waits", False)
    behaviour.in_place = in_place  # type: ignore[attr-defined]
    return grpc.unary_unary_rpc_method_handler(behaviour)


def _refuse(name: str) -> Any:
    def handler(_: Any) -> Any:
        raise unsupported(name)

    return handler


def unsupported(name: str) -> Unsupported:
    return Unsupported(f"{name} is not served by this release")
