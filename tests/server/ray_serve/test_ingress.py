"""What Ray's proxies do with a call, without Ray: a function stands where Ray puts its own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import pytest

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.protocols.grpc.handlers import SERVICE
from zoo_server.ray_serve.ingress import (
    REFUSAL,
    REFUSED,
    add_multiplexed_open_inference,
    add_open_inference,
)

Answer = Callable[[bytes, Any], Awaitable[bytes]]
REQUEST = pb.ModelInferRequest(model_name="m", id="7").SerializeToString()


class Proxy:
    """A server of grpc.aio to which a service is added as Ray's is."""

    def __init__(self, answer: Answer) -> None:
        self.server = grpc.aio.server()
        self._answer = answer

    def add_generic_rpc_handlers(self, added: Sequence[Any]) -> None:
        for handlers in added:
            before = vars(handlers)[
                "_method_handlers"
            ]  # private in generated code, where Ray looks too
            handlers.__dict__["_method_handlers"] = {
                name: handler._replace(unary_unary=self._answer, stream_stream=self._answer)
                for name, handler in before.items()
            }
        self.server.add_generic_rpc_handlers(tuple(added))


def ask(
    answer: Answer,
    method: str = "ModelInfer",
    add: Callable[[object, Any], None] = add_open_inference,
    metadata: Sequence[tuple[str, str]] = (),
) -> bytes | tuple[grpc.StatusCode, str]:
    """Return a call's answer, or its status and details."""

    async def run() -> bytes | tuple[grpc.StatusCode, str]:
        proxy = Proxy(answer)
        add(None, proxy)
        port = proxy.server.add_insecure_port("127.0.0.1:0")
        await proxy.server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                path = f"/{SERVICE.full_name}/{method}"
                if SERVICE.methods_by_name[method].server_streaming:
                    stream = channel.stream_stream(path)([REQUEST], timeout=20)
                    return await stream.code(), await stream.details()
                return await channel.unary_unary(path)(REQUEST, timeout=20, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        finally:
            await proxy.server.stop(0)

    return asyncio.run(run())


def ending(code: grpc.StatusCode, raw: bytes) -> Answer:
    """Return a function that ends a call as Ray ends it: by a status, and bytes beside it."""

    async def answer(request: bytes, context: Any) -> bytes:
        context.set_code(code)
        context.set_details("as it was said")
        return raw

    return answer


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_what_no_replica_answered_is_unavailable(code: grpc.StatusCode) -> None:
    """A replica's own refusal, which has bytes, stays what it is."""
    assert ask(ending(code, b"")) == (grpc.StatusCode.UNAVAILABLE, "as it was said")
    assert ask(ending(code, REFUSAL)) == (code, "as it was said")


def test_other_statuses_of_ray_stay() -> None:
    """A deadline that is over is not tried again."""
    code = grpc.StatusCode.DEADLINE_EXCEEDED
    assert ask(ending(code, b"")) == (code, "as it was said")


@pytest.mark.parametrize("method", REFUSED)
def test_what_needs_one_process_is_refused(method: str) -> None:
    """With the reason, and without a question to any replica."""
    assert ask(ending(grpc.StatusCode.OK, b""), method) == (
        grpc.StatusCode.UNIMPLEMENTED,
        REFUSED[method],
    )


@pytest.mark.parametrize(
    ("add", "method", "own", "models"),
    [
        (add_open_inference, "ModelInfer", (), []),
        (add_multiplexed_open_inference, "ModelInfer", (), ["m"]),
        (add_multiplexed_open_inference, "ModelInfer", ("n",), ["m", "n"]),
        (add_multiplexed_open_inference, "ModelReady", (), []),
    ],
)
def test_a_request_goes_where_its_model_is(
    add: Callable[[object, Any], None], method: str, own: Sequence[str], models: list[str]
) -> None:
    """By the metadata where Ray looks for it; of several it takes the last, a caller's own."""

    async def answer(request: bytes, context: Any) -> bytes:
        assert request == REQUEST
        metadata = context.invocation_metadata()
        return ",".join(v for k, v in metadata if k == "multiplexed_model_id").encode()

    metadata = [("multiplexed_model_id", model) for model in own]
    assert ask(answer, method, add, metadata) == ",".join(models).encode()
