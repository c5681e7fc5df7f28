"""The Open Inference Protocol in Ray's proxies: what they pass on as bytes, and what they refuse.

    client ──> Ray's proxy: add_open_inference ──> a replica (server/zoo_server/ray_serve/replica.py)
                   └─ what needs one process: UNIMPLEMENTED

Ray imports a function of this file by its name, from gRPCOptions.grpc_servicer_functions, and puts functions of
its own in the place of each method's handler. The generated function would do as well, but have every proxy
parse each request, and know nothing of the statuses that clients try again.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor

from zoo_server.protocols.grpc.handlers import SERVICE
from zoo_server.protocols.grpc.infer import METHOD as INFER
from zoo_server.protocols.grpc.unparsed_request import model_name

#: What no replica can answer for the others, and what to do instead.
REFUSED: Mapping[str, str] = {
    "ModelStreamInfer": "streams are not served behind Ray: call ModelInfer",
    "RepositoryModelLoad": "a load would reach one replica of several: change the repository, with "
    "model_control_mode=poll",
    "RepositoryModelUnload": "an unload would reach one replica of several: change the repository, "
    "with model_control_mode=poll",
    "TraceSetting": "trace settings are those of one replica of several, and not served behind Ray",
    "LogSettings": "log settings are those of one replica of several: give log_level to the "
    "application",
} | {
    f"{kind}SharedMemory{action}": "a replica may be on another machine: send the tensors"
    for kind in ("System", "Cuda")
    for action in ("Status", "Register", "Unregister")
}

#: What a replica's answer is if it is no message: Ray answers a failure of its own with no bytes at all.
REFUSAL = b"-"

#: What Ray says of a replica that died, and of a full queue. Clients try again what is UNAVAILABLE.
_LOST = (grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED)

#: The metadata by which Ray routes to a replica that has a model.
_MODEL_KEY = "multiplexed_model_id"

#: A method as grpc.aio calls it: from a request's bytes to the answer's.
Method = Callable[[bytes, Any], Awaitable[bytes]]


class OpenInferenceHandlers(grpc.GenericRpcHandler):
    """The handlers of inference.GRPCInferenceService, for Ray to fill in.

    Ray replaces the functions in `_method_handlers`, as it does with those of generated code.
    """

    def __init__(self, *, by_model: bool) -> None:
        """`by_model`: prefer the replicas that have a request's model in memory."""
        self._by_model = by_model
        self._method_handlers = {
            f"/{SERVICE.full_name}/{method.name}": _unfilled(method) for method in SERVICE.methods
        }

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a call, None for a method that is none of ours."""
        handler = self._method_handlers.get(handler_call_details.method)
        if handler is None:
            return None
        name = handler_call_details.method.rpartition("/")[2]
        if name in REFUSED:
            return _refusing(handler, REFUSED[name])
        method = handler.unary_unary
        if self._by_model and name == INFER:
            method = _routed_by_model(method)
        return handler._replace(unary_unary=_retryable(method))


def add_open_inference(_: object, server: Any) -> None:
    """Add the service to the gRPC server of one of Ray's proxies."""
    server.add_generic_rpc_handlers((OpenInferenceHandlers(by_model=False),))


def add_multiplexed_open_inference(_: object, server: Any) -> None:
    """Add the service, for replicas that have not all models in memory."""
    server.add_generic_rpc_handlers((OpenInferenceHandlers(by_model=True),))


def _unfilled(method: MethodDescriptor) -> Any:
    """Return a handler of bytes whose function Ray replaces."""
    if method.server_streaming:
        return grpc.stream_stream_rpc_method_handler(_replaced)
    return grpc.unary_unary_rpc_method_handler(_replaced)


def _replaced(request: object, context: object) -> Any:
    raise NotImplementedError("Ray puts a function of its own here")


def _retryable(method: Method) -> Method:
    """Wrap a method: what no replica has answered is UNAVAILABLE."""

    async def answer(request: bytes, context: Any) -> bytes:
        response = await method(request, context)
        if not response and context.code() in _LOST:
            context.set_code(grpc.StatusCode.UNAVAILABLE)
        return response

    return answer


class _ContextOfModel:
    """A call's context whose metadata name the model: Ray looks there for it."""

    def __init__(self, context: Any, model: str) -> None:
        self._context = context
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Return what came with the call, and the model before it: what a caller says itself counts."""
        return ((_MODEL_KEY, self._model), *self._context.invocation_metadata())


def _routed_by_model(method: Method) -> Method:
    async def answer(request: bytes, context: Any) -> bytes:
        model = model_name(request).decode(errors="replace")
        return await method(request, _ContextOfModel(context, model) if model else context)

    return answer


def _refusing(handler: Any, reason: str) -> Any:
    """Return a handler that answers UNIMPLEMENTED."""

    async def refuse(_: object, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, reason)

    return handler._replace(unary_unary=refuse, stream_stream=refuse)
