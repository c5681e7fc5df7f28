"""The client for asyncio: the same methods as zoo/client/sync.py, awaited."""

from __future__ import annotations

import asyncio
from collections import abc
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

import grpc

from zoo.client import calls, operations
from zoo.client.arrays import Array
from zoo.client.calls import (
    Answer,
    Call,
    Class,
    InferenceRequest,
    ModelMetadata,
    RequestOptions,
)
from zoo.client.connection import MAX_RETRIES, TLS, Connection, Deadline, Retries
from zoo.client.errors import ClientError
from zoo.client.operations import Operation, Outputs
from zoo.client.sequence import SequenceState, StepOptions
from zoo_proto import model_config_pb2
from zoo_proto.grpc_service_pb2_grpc import GRPCInferenceServiceStub

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

T = TypeVar("T")


class AsyncClient:
    """Client's twin for asyncio: the same arguments, the same methods, awaited.

    >>> async with AsyncClient("127.0.0.1:8001") as client:
    ...     await client.infer("dense_iris", [[5.1, 3.5, 1.4, 0.2]])

    One event loop uses it: that of its first call.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        tls: TLS | None = None,
        timeout: float = 10.0,
        retries: int = MAX_RETRIES,
    ) -> None:
        """Check the arguments (ValueError, OSError); the first call makes the connection."""
        self._connection = Connection(
            address=address, token=token, tls=tls, timeout=timeout, retries=retries
        )
        self._channel: Any = None
        self._stub: Any = None
        self._inference = operations.Inference()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        if self._channel is not None:
            await self._channel.close()

    async def ready(
        self, model: str = "", version: str = "", *, timeout: float | None = None
    ) -> bool:
        """Return whether the server, or one of its models, can answer; False if there is none."""
        return await self._run(operations.ready(model, version), timeout)

    async def models(self, *, timeout: float | None = None) -> tuple[str, ...]:
        """Return the names of the models that are ready."""
        return await self._run(operations.single(calls.models()), timeout)

    async def metadata(
        self, model: str, version: str = "", *, timeout: float | None = None
    ) -> ModelMetadata:
        """Return a model's inputs, outputs and versions."""
        return await self._run(operations.single(calls.metadata(model, version)), timeout)

    async def config(
        self, model: str, version: str = "", *, timeout: float | None = None
    ) -> model_config_pb2.ModelConfig:
        """Return a model's configuration: Triton's message, with what people need to know."""
        return await self._run(operations.single(calls.config(model, version)), timeout)

    @overload
    async def infer(
        self,
        model: str,
        inputs: abc.Mapping[str, ArrayLike],
        *,
        timeout: float | None = ...,
        **options: Unpack[RequestOptions],
    ) -> abc.Mapping[str, Array]: ...

    @overload
    async def infer(
        self,
        model: str,
        inputs: ArrayLike,
        *,
        timeout: float | None = ...,
        **options: Unpack[RequestOptions],
    ) -> Array: ...

    async def infer(
        self,
        model: str,
        inputs: ArrayLike | abc.Mapping[str, ArrayLike],
        *,
        timeout: float | None = None,
        **options: Unpack[RequestOptions],
    ) -> Outputs:
        """Return the model's outputs, as Client.infer does, with its options."""
        request = InferenceRequest(model=model, inputs=inputs, **options)
        return await self._run(self._inference.infer(request), timeout)

    async def infer_answer(
        self,
        model: str,
        inputs: ArrayLike | abc.Mapping[str, ArrayLike],
        *,
        timeout: float | None = None,
        **options: Unpack[RequestOptions],
    ) -> Answer:
        """Infer with infer's arguments; return the outputs by name, with version and request id."""
        request = InferenceRequest(model=model, inputs=inputs, **options)
        return await self._run(self._inference.infer_answer(request), timeout)

    async def classify(
        self,
        model: str,
        rows: ArrayLike | abc.Mapping[str, ArrayLike],
        top: int = 3,
        *,
        output: str | None = None,
        version: str = "",
        timeout: float | None = None,
    ) -> list[list[Class]]:
        """Return each row's `top` classes, best first: fewer if the model has fewer."""
        request = InferenceRequest(model=model, inputs=rows, version=version)
        return await self._run(self._inference.classify(request, top, output), timeout)

    def sequence(self, model: str, *, version: str = "") -> AsyncSequence:
        """Return a sequence: requests between which the server keeps the model's state."""
        return AsyncSequence(self, SequenceState(self._inference, model, version))

    async def _run(self, operation: Operation[T], timeout: float | None) -> T:
        """Run an operation to its result; all of its calls share the time."""
        deadline = Deadline(self._connection, timeout)
        with closing(operation):  # one that is interrupted learns of it at once
            try:
                call = next(operation)
                while True:
                    try:
                        answer = await self._send(call, deadline)
                    except ClientError as error:
                        call = operation.throw(error)
                    else:
                        call = operation.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result

    async def _send(self, call: Call[T], deadline: Deadline) -> T:
        if self._channel is None:  # here, for a channel belongs to the loop that is running
            self._channel = self._connection.open(grpc.aio)
            self._stub = GRPCInferenceServiceStub(self._channel)
        method = getattr(self._stub, call.method)
        retries = Retries(self._connection, call, deadline)
        while True:
            try:
                answer = await method(
                    call.request, timeout=deadline.left(), metadata=self._connection.metadata()
                )
            except grpc.RpcError as error:
                seconds = retries.wait_after(error)
                if seconds is None:
                    raise deadline.error(error) from None
                await asyncio.sleep(seconds)
            else:
                return call.read(answer)


class AsyncSequence:
    """Sequence's twin for asyncio: the same methods, awaited; a cancelled step loses the sequence."""

    def __init__(self, client: AsyncClient, state: SequenceState) -> None:
        self._client = client
        self._state = state

    @overload
    async def infer(
        self,
        inputs: abc.Mapping[str, ArrayLike],
        *,
        end: bool = ...,
        timeout: float | None = ...,
        **options: Unpack[StepOptions],
    ) -> abc.Mapping[str, Array]: ...

    @overload
    async def infer(
        self,
        inputs: ArrayLike,
        *,
        end: bool = ...,
        timeout: float | None = ...,
        **options: Unpack[StepOptions],
    ) -> Array: ...

    async def infer(
        self,
        inputs: ArrayLike | abc.Mapping[str, ArrayLike],
        *,
        end: bool = False,
        timeout: float | None = None,
        **options: Unpack[StepOptions],
    ) -> Outputs:
        """Take a step and return its outputs as Client.infer does; `end` makes it the last one.

        Options: `outputs` and `request_id`.
        """
        return await self._client._run(self._state.infer(inputs, end, **options), timeout)

    async def infer_answer(
        self,
        inputs: ArrayLike | abc.Mapping[str, ArrayLike],
        *,
        end: bool = False,
        timeout: float | None = None,
        **options: Unpack[StepOptions],
    ) -> Answer:
        """Take a step with infer's arguments; return the outputs by name, with version and id."""
        return await self._client._run(self._state.infer_answer(inputs, end, **options), timeout)
