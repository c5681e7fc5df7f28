"""The client for asyncio: the same methods as zoo/client/sync.py, awaited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, overload

import grpc

from zoo.client import calls, dialogue, steps
from zoo.client.arrays import Array
from zoo.client.calls import Answer, Call, Class, ModelMetadata, Question
from zoo.client.connection import MAX_RETRIES, TLS, Channels, Connection, Deadline
from zoo.client.dialogue import Dialogue
from zoo.client.errors import ClientError
from zoo.client.parameters import Parameter
from zoo_proto import model_config_pb2

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
        self._channels: Channels | None = None
        self._inference = dialogue.Inference()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        if self._channels is not None:
            for channel in self._channels.opened:
                await channel.close()

    async def ready(
        self, model: str = "", version: str = "", *, timeout: float | None = None
    ) -> bool:
        """Tell whether the server, or one of its models, can answer; False if there is none."""
        return await self._sent(dialogue.ready(model, version), timeout)

    async def models(self, *, timeout: float | None = None) -> tuple[str, ...]:
        """Return the names of the models that are ready."""
        return await self._sent(dialogue.single(calls.models()), timeout)

    async def metadata(
        self, model: str, version: str = "", *, timeout: float | None = None
    ) -> ModelMetadata:
        """Return what a model takes and gives."""
        return await self._sent(dialogue.single(calls.metadata(model, version)), timeout)

    async def config(
        self, model: str, version: str = "", *, timeout: float | None = None
    ) -> model_config_pb2.ModelConfig:
        """Return a model's configuration: Triton's message, with what people need to know."""
        return await self._sent(dialogue.single(calls.config(model, version)), timeout)

    @overload
    async def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: str = ...,
        outputs: Sequence[str] | None = ...,
        timeout: float | None = ...,
        request_id: str = ...,
        parameters: Mapping[str, Parameter] | None = ...,
    ) -> Mapping[str, Array]: ...

    @overload
    async def infer(
        self,
        model: str,
        inputs: ArrayLike,
        *,
        version: str = ...,
        outputs: Sequence[str] | None = ...,
        timeout: float | None = ...,
        request_id: str = ...,
        parameters: Mapping[str, Parameter] | None = ...,
    ) -> Array: ...

    async def infer(
        self,
        model: str,
        inputs: ArrayLike | Mapping[str, ArrayLike],
        *,
        version: str = "",
        outputs: Sequence[str] | None = None,
        timeout: float | None = None,
        request_id: str = "",
        parameters: Mapping[str, Parameter] | None = None,
    ) -> Array | Mapping[str, Array]:
        """Return the model's outputs: by name for inputs by name, one array for one array.

        The first dimension is the batch where the model batches. Values are converted to the
        input's datatype where nothing but precision can be lost. `outputs` names those wanted.
        `parameters` go with the request: `priority`, `timeout` (the microseconds it may wait in the
        server's queue), and others as the server takes them.
        """
        question = Question(
            model=model,
            inputs=inputs,
            version=version,
            outputs=outputs,
            request_id=request_id,
            parameters=parameters,
        )
        return await self._sent(self._inference.infer(question), timeout)

    async def ask(
        self,
        model: str,
        inputs: ArrayLike | Mapping[str, ArrayLike],
        *,
        version: str = "",
        outputs: Sequence[str] | None = None,
        timeout: float | None = None,
        request_id: str = "",
        parameters: Mapping[str, Parameter] | None = None,
    ) -> Answer:
        """Infer, and say also which version answered."""
        question = Question(
            model=model,
            inputs=inputs,
            version=version,
            outputs=outputs,
            request_id=request_id,
            parameters=parameters,
        )
        return await self._sent(self._inference.ask(question), timeout)

    async def classify(
        self,
        model: str,
        rows: ArrayLike | Mapping[str, ArrayLike],
        top: int = 3,
        *,
        output: str | None = None,
        version: str = "",
        timeout: float | None = None,
    ) -> list[list[Class]]:
        """Return each row's `top` classes, best first: fewer if the model has fewer."""
        question = Question(model=model, inputs=rows, version=version)
        return await self._sent(self._inference.classify(question, top, output), timeout)

    def sequence(self, model: str, *, version: str = "") -> steps.AsyncSequence:
        """Return a sequence: requests between which the server keeps the model's state."""
        return steps.AsyncSequence(steps.Steps(self._inference, model, version), self._sent)

    async def _sent(self, said: Dialogue[T], timeout: float | None) -> T:
        """Drive a dialogue to its result; all of its calls share the time."""
        deadline = Deadline(self._connection, timeout)
        with closing(said):  # a dialogue that is given up learns of it at once
            try:
                call = next(said)
                while True:
                    try:
                        answer = await self._send(call, deadline)
                    except ClientError as error:
                        call = said.throw(error)
                    else:
                        call = said.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result

    async def _send(self, call: Call[T], deadline: Deadline) -> T:
        if self._channels is None:  # here, for a channel belongs to the loop that is running
            self._channels = Channels(self._connection, grpc.aio)
        method = self._channels.method(call.method, once=call.once)
        seconds = deadline.left()
        try:
            answer = await method(
                call.request, timeout=seconds, metadata=self._connection.metadata()
            )
        except grpc.RpcError as error:
            raise deadline.error(error) from None
        return call.read(answer)
