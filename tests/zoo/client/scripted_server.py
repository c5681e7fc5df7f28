"""A scripted server, and a client for asyncio that is used like the one for threads."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np

from zoo.client import AsyncClient
from zoo_proto import grpc_service_pb2 as pb

Status = grpc.StatusCode
SERVICE = "inference.GRPCInferenceService"


class FakeServer:
    """Doubles its one FP32 input, after the failures that a test scripts.

    `script`: what each ModelInfer does in turn: a status, an Event to wait for, or None to answer.
    """

    def __init__(self, credentials: Any = None, port: int = 0) -> None:
        self.script: list[Status | threading.Event | None] = []
        #: The metadata of each attempt.
        self.attempts: list[dict[str, str]] = []
        #: When each attempt came, and the seconds that it had left.
        self.times: list[tuple[float, float]] = []
        self.methods: list[str] = []
        #: The requests of each ModelInfer.
        self.requests: list[pb.ModelInferRequest] = []
        self.typed = False
        #: What goes with each failure as grpc-retry-pushback-ms.
        self.pushback: str | None = None
        self.wants_certificate = False
        self._server = grpc.server(ThreadPoolExecutor(4))
        handlers = {
            "ModelMetadata": self._handler(self._metadata, pb.ModelMetadataRequest),
            "ModelInfer": self._handler(self._infer, pb.ModelInferRequest),
            "ServerReady": self._handler(self._ready, pb.ServerReadyRequest),
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        if credentials is None:
            self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        else:
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()

    def _handler(self, behaviour: Any, kind: Any) -> grpc.RpcMethodHandler:
        def recorded(request: Any, context: grpc.ServicerContext) -> Any:
            self.methods.append(kind.__name__.removesuffix("Request"))
            return behaviour(request, context)

        return grpc.unary_unary_rpc_method_handler(
            recorded, kind.FromString, lambda message: message.SerializeToString()
        )

    def _metadata(self, request: Any, _: grpc.ServicerContext) -> Any:
        answer = pb.ModelMetadataResponse(name=request.name, versions=["1"], platform="fake")
        answer.inputs.add(name="x", datatype="FP32", shape=[-1, 2])
        answer.outputs.add(name="y", datatype="FP32", shape=[-1, 2])
        if request.name == "pair":
            answer.inputs.add(name="z", datatype="INT8", shape=[-1])
            answer.outputs.add(name="w", datatype="BYTES", shape=[-1])
        return answer

    def _ready(self, _: Any, context: grpc.ServicerContext) -> Any:
        self._next(context)
        return pb.ServerReadyResponse(ready=True)

    def _infer(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        self._next(context)
        array = np.frombuffer(request.raw_input_contents[0], "<f4") * 2
        answer = pb.ModelInferResponse(
            model_name=request.model_name, model_version="1", id=request.id
        )
        tensor = answer.outputs.add(name="y", datatype="FP32", shape=request.inputs[0].shape)
        if self.typed:
            tensor.contents.fp32_contents.extend(array.tolist())
        else:
            answer.raw_output_contents.append(array.tobytes())
        return answer

    def _next(self, context: grpc.ServicerContext) -> None:
        self.attempts.append(dict(context.invocation_metadata()))
        self.times.append((time.monotonic(), context.time_remaining()))
        step = self.script.pop(0) if self.script else None
        if isinstance(step, threading.Event):
            step.wait(20)
        elif step is not None:
            if self.pushback is not None:
                context.set_trailing_metadata((("grpc-retry-pushback-ms", self.pushback),))
            context.abort(step, f"scripted {step.name}")


class Blocking:
    """AsyncClient, or a sequence of it, as if it were for threads: a test of one is then of both."""

    def __init__(self, twin: Any, runner: asyncio.Runner) -> None:
        self._twin = twin
        self._runner = runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            answer = getattr(self._twin, name)(*arguments, **options)
            return (
                self._run(answer) if inspect.isawaitable(answer) else Blocking(answer, self._runner)
            )

        return call

    def _run(self, awaitable: Any) -> Any:
        async def awaited() -> Any:
            return await awaitable

        return self._runner.run(awaited())


@contextmanager
def blocking(address: str, **options: Any) -> Iterator[Any]:
    """Connect a client for asyncio, for a test that knows Client's methods only."""
    with asyncio.Runner() as runner:
        client = Blocking(AsyncClient(address, **options), runner)
        yield client
        client.close()
