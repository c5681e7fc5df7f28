"""Builds generic handlers from a servicer, by the names in the service's descriptor.

Registering under the wire's names (and not through the generated `add_…_to_server`) keeps our stubs'
descriptors out of grpc's way, and shows every RPC of the service: those without a method answer
UNIMPLEMENTED in words, where gRPC itself would say "Method not found!".
"""

from collections.abc import Callable, Iterator, Set
from contextlib import AbstractContextManager
from typing import NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from zoo_proto import grpc_service_pb2
from zoo_server.errors import Unsupported
from zoo_server.protocols.behaviour import Behaviour, burst_behaviour
from zoo_server.protocols.grpc.infer import InferPath
from zoo_server.protocols.grpc.stream import InferStreams
from zoo_server.protocols.interceptor import Context, guarded_unary

SERVICE = grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]

#: Methods that read a little of what is in memory: a transport that can may answer them without a
#: thread. Those that may speak of every model or region, or unmap memory, take one.
_IN_PLACE = frozenset(
    {
        "ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelConfig",
        "TraceSetting", "LogSettings",
    }
)  # fmt: skip


def inference_handlers(
    servicer: object,
    path: InferPath,
    streams: InferStreams,
    in_flight: AbstractContextManager[None],
    blocking: Set[str] = frozenset(),
) -> grpc.GenericRpcHandler:
    """Return the handlers of inference.GRPCInferenceService: each RPC is a method of the servicer.

    `blocking` names methods that ask others before they answer, and so need a thread.
    """
    handlers = {
        method.name: _handler(method, servicer, in_flight, in_place=_IN_PLACE - blocking)
        for method in SERVICE.methods
        if not method.server_streaming
    }
    handlers["ModelInfer"] = grpc.unary_unary_rpc_method_handler(burst_behaviour(path))
    handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
        _stream_infer(path, streams)
    )
    return grpc.method_handlers_generic_handler(SERVICE.full_name, handlers)


def _stream_infer(path: InferPath, streams: InferStreams) -> Behaviour:
    """ModelStreamInfer, for a transport that gives iterators and for one that calls back."""

    def blocking(requests: Iterator[bytes], context: Context) -> Iterator[bytes]:
        return streams.iterate(requests, context)

    return Behaviour(function=blocking, burst=path.answer, on_stream=streams.serve)


def _handler(
    method: MethodDescriptor,
    servicer: object,
    in_flight: AbstractContextManager[None],
    *,
    in_place: Set[str],
) -> "grpc.RpcMethodHandler[bytes, bytes]":
    handler = getattr(servicer, method.name, None)
    if handler is None:
        handler = _refuse(method.name)
    function = guarded_unary(method.name, handler, in_flight, GetMessageClass(method.input_type))
    return grpc.unary_unary_rpc_method_handler(
        Behaviour(function=function, in_place=method.name in in_place)
    )


def _refuse(name: str) -> Callable[[Message], NoReturn]:
    def handler(_: Message) -> NoReturn:
        raise Unsupported(f"{name} is not served by this release")

    return handler
