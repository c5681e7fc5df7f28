"""A replica: the server without ports, which answers the calls that Ray's proxies pass on.

    bytes ──> in the way of a request: ModelInfer, on the server's own threads
         └──> from message to message: everything else

A method is named like its RPC, as Ray calls it. An error is a status in Ray's context, never an exception: Ray
logs those with their traces.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from zoo_server.config import ServerConfig
from zoo_server.errors import ServerError
from zoo_server.protocols.grpc.handlers import SERVICE
from zoo_server.protocols.grpc.infer import METHOD as INFER
from zoo_server.protocols.grpc.model_repository import ModelRepository
from zoo_server.protocols.grpc.service import OpenInference
from zoo_server.protocols.interceptor import Answer, WrittenAnswer, parse
from zoo_server.protocols.status import RETRY_KEY, status_of
from zoo_server.ray_serve.embedded import OneOfMany, Portless
from zoo_server.ray_serve.ingress import REFUSAL, REFUSED
from zoo_server.server import Server

#: How long Ray's loop may be held by one request; what takes longer is a worker's.
_INLINE_BUDGET_NS = 500_000

#: Makes Ray's cache of so many models from what loads one by its name (`serve.multiplexed`).
Multiplexer = Callable[[Callable[[str], Awaitable["Resident"]]], Callable[[str], Awaitable[object]]]


class Servicer(OpenInference, ModelRepository):
    """The RPCs that a replica answers from message to message."""


class ReplicaCall:
    """One ModelInfer call of Ray's (zoo_server.protocols.unary.Call), answered on its loop."""

    def __init__(self, message: bytes, context: Any) -> None:
        """`context` is a ray.serve.grpc_util.RayServegRPCContext."""
        self.message = message
        self._context = context
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[WrittenAnswer] = self._loop.create_future()

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """What came with the call besides the message."""
        return tuple(self._context.invocation_metadata())

    def peer(self) -> str:
        """Return "": a proxy of Ray's has the caller's connection."""
        return ""

    def is_gone(self) -> bool:
        """Tell whether the caller no longer waits: Ray then cancels the method, which waits for the answer."""
        return self.answer.cancelled()

    def time_remaining(self) -> float:
        """Return infinity: Ray cancels a call at its deadline, and does not tell it."""
        return math.inf

    def reply(self, answer: bytes) -> None:
        """Send the answer; from any thread."""
        self._resolve(WrittenAnswer(answer))

    def abort(
        self, code: grpc.StatusCode, details: str, retry_ms: int = 0, *, waiting: int = 0
    ) -> None:
        """End the call with another status; from any thread."""
        self._resolve(refusal(self._context, code, details, retry_ms))

    def _resolve(self, answer: WrittenAnswer) -> None:
        with suppress(RuntimeError):  # the loop is closed: the replica ends
            self._loop.call_soon_threadsafe(self._set, answer)

    def _set(self, answer: WrittenAnswer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class Resident:
    """A model in this replica's memory, as Ray's cache holds it: `__del__` is its call to let go."""

    def __init__(self, name: str, evict: Callable[[str], None]) -> None:
        self._name = name
        self._evict: Callable[[str], None] | None = evict

    def __del__(self) -> None:
        evict, self._evict = self._evict, None  # Python calls it once more
        if evict is not None:
            evict(self._name)


class Replica:
    """The server in one of Ray's actors; its methods named like RPCs are added below."""

    def __init__(self, config: ServerConfig, multiplexer: Multiplexer | None = None) -> None:
        """Load the models, or none yet if `multiplexer` says when; OperatorError if it cannot run."""
        self._server = Server(config, OneOfMany, entry_points=Portless)
        self._server.start()
        self._dataplane = self._server.dataplane
        self._servicer = Servicer(self._dataplane)
        self._make_resident = None if multiplexer is None else multiplexer(self._load)

    def __del__(self) -> None:
        """Ray's call to end, once the requests under way are answered."""
        if server := self.__dict__.get("_server"):
            server.stop(server.config.drain_seconds)

    async def infer(self, raw: bytes, grpc_context: Any) -> WrittenAnswer:
        """Answer ModelInfer."""
        if self._make_resident is not None:
            name = self._server.path.model_name(raw).decode(errors="replace")
            if self._dataplane.entries(name):
                with suppress(ServerError):  # the request itself hears of it
                    await self._make_resident(name)
        call = ReplicaCall(raw, grpc_context)
        self._server.path.answer([call], _INLINE_BUDGET_NS)
        return await call.answer

    async def unary(
        self, name: str, request_type: type[Message], raw: bytes, grpc_context: Any
    ) -> WrittenAnswer:
        """Answer one of the others; on a thread, since a model may have to be loaded for it."""

        def answer() -> bytes:
            with self._server.in_flight:
                handler: Callable[[Message], Answer] = getattr(self._servicer, name)
                return handler(parse(request_type, raw)).SerializeToString()

        try:
            return WrittenAnswer(await asyncio.to_thread(answer))
        except Exception as error:
            return refusal(grpc_context, *status_of(error, name))

    async def _load(self, name: str) -> Resident:
        residency = self._server.control.residency
        assert residency is not None  # as the options of a multiplexed replica ask for
        await asyncio.to_thread(self._dataplane.find, name, "")
        return Resident(name, residency.evict)


def refusal(context: Any, code: grpc.StatusCode, details: str, retry_ms: int = 0) -> WrittenAnswer:
    """Put a status into Ray's context, and return what takes the answer's place."""
    context.set_code(code)
    context.set_details(details)
    if retry_ms:
        context.set_trailing_metadata([(RETRY_KEY, str(retry_ms))])
    return WrittenAnswer(REFUSAL)


def _rpc(name: str, request_type: type[Message]) -> Any:
    async def method(self: Replica, raw: bytes, grpc_context: Any) -> WrittenAnswer:
        if name == INFER:
            return await self.infer(raw, grpc_context)
        return await self.unary(name, request_type, raw, grpc_context)

    return method


for _method in SERVICE.methods:
    if _method.name not in REFUSED:
        setattr(Replica, _method.name, _rpc(_method.name, GetMessageClass(_method.input_type)))
