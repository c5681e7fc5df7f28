"""Servicers become generic handlers, by the names in the service's descriptor.

Registering under the wire's names (and not through the generated `add_…_to_server`) keeps our stubs'
descriptors out of grpc's way, and shows every RPC of the service: those without a method answer
UNIMPLEMENTED in words, where gRPC itself would say "Method not found!".
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from zoo_proto import grpc_service_pb2

from server.api.interceptor import guarded_unary, refused_stream
from server.errors import Unsupported

SERVICE = grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]

#: Methods that take the message's bytes and give the answer's, because parsing is part of their cost.
_BYTES_TO_BYTES = frozenset({"ModelInfer"})


def inference_handlers(
    servicers: Sequence[object], admission: AbstractContextManager[None]
) -> grpc.GenericRpcHandler:
    """Return the handlers of inference.GRPCInferenceService: each RPC is a method of one servicer."""
    return grpc.method_handlers_generic_handler(
        SERVICE.full_name,
        {method.name: _handler(method, servicers, admission) for method in SERVICE.methods},
    )


def _handler(
    method: Any, servicers: Sequence[object], admission: AbstractContextManager[None]
) -> grpc.RpcMethodHandler:
    if method.client_streaming or method.server_streaming:
        return grpc.stream_stream_rpc_method_handler(
            refused_stream(method.name, _unsupported(method.name))
        )
    owners = [servicer for servicer in servicers if hasattr(servicer, method.name)]
    handler = getattr(owners[0], method.name) if owners else _refuse(method.name)
    request_type = None if method.name in _BYTES_TO_BYTES else GetMessageClass(method.input_type)
    return grpc.unary_unary_rpc_method_handler(
        guarded_unary(method.name, handler, admission, request_type)
    )


def _refuse(name: str) -> Any:
    def handler(_: Any) -> Any:
        raise _unsupported(name)

    return handler


def _unsupported(name: str) -> Unsupported:
    return Unsupported(f"{name} is not served by this release")
