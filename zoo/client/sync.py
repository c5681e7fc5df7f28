"""The synchronous client; threads can share one."""

from __future__ import annotations

import time
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


class Client:
    """A connection to one server; a context manager, or `close()` it.

    `token` goes as a bearer token with every call; `tls` holds the files for TLS and mTLS; `timeout`
    is the seconds that a method may take, `retries` on UNAVAILABLE (0 to 20) included: as many as
    fit into it, and so it has to be longer than a restart that is to be outlasted. Each method takes a
    `timeout` of its own, and raises a ClientError.

    >>> with Client("127.0.0.1:8001") as client:
    ...     client.infer("dense_iris", [[5.1, 3.5, 1.4, 0.2]])
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
        self._channel = self._connection.open(grpc)
        self._stub: Any = GRPCInferenceServiceStub(self._channel)
        self._inference = operations.Inference()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        self._channel.close()

    def ready(self, model: str = "", version: str = "", *, timeout: float | None = None) -> bool:
        """Return whether the server, or one of its models, can answer; False if there is none."""
        return self._run(operations.ready(model, version), timeout)

    def models(self, *, timeout: float | None = None) -> tuple[str, ...]:
        """Return the names of the models that are ready."""
        return self._run(operations.single(calls.models()), timeout)

    def metadata(
        self, model: str, version: str = "", *, timeout: float | None = None
    ) -> ModelMetadata:
        """Return a model's inputs, outputs and versions."""
        return self._run(operations.single(calls.metadata(model, version)), timeout)

    def config(
        self, model: str, version: str = "", *, timeout: float | None = None
    ) -> model_config_pb2.ModelConfig:
        """Return a model's configuration: Triton's message, with what people need to know."""
        return self._run(operations.single(calls.config(model, version)), timeout)

    @overload
    def infer(
        self,
        model: str,
        inputs: abc.Mapping[str, ArrayLike],
        *,
        timeout: float | None = ...,
        **options: Unpack[RequestOptions],
    ) -> abc.Mapping[str, Array]: ...

    @overload
    def infer(
        self,
        model: str,
        inputs: ArrayLike,
        *,
        timeout: float | None = ...,
        **options: Unpack[RequestOptions],
    ) -> Array: ...

    def infer(
        self,
        model: str,
        inputs: ArrayLike | abc.Mapping[str, ArrayLike],
        *,
        timeout: float | None = None,
        **options: Unpack[RequestOptions],
    ) -> Outputs:
        """Return the model's outputs: by name for inputs by name, one array for one array.

        The first dimension is the batch where the model batches. Values are converted to the
        input's datatype where nothing but precision can be lost. Options: `version`; `outputs`, the
        names of those wanted; `request_id`; `parameters` that go with the request: `priority`,
        `timeout` (the microseconds it may wait in the server's queue), and others as the server
        takes them.
        """
        request = InferenceRequest(model=model, inputs=inputs, **options)
        return self._run(self._inference.infer(request), timeout)

    def infer_answer(
        self,
        model: str,
        inputs: ArrayLike | abc.Mapping[str, ArrayLike],
        *,
        timeout: float | None = None,
        **options: Unpack[RequestOptions],
    ) -> Answer:
        """Infer with infer's arguments; return the outputs by name, with version and request id."""
        request = InferenceRequest(model=model, inputs=inputs, **options)
        return self._run(self._inference.infer_answer(request), timeout)

    def classify(
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
        return self._run(self._inference.classify(request, top, output), timeout)

    def sequence(self, model: str, *, version: str = "") -> Sequence:
        """Return a sequence: requests between which the server keeps the model's state."""
        return Sequence(self, SequenceState(self._inference, model, version))

    def _run(self, operation: Operation[T], timeout: float | None) -> T:
        """Run an operation to its result; all of its calls share the time."""
        deadline = Deadline(self._connection, timeout)
        with closing(operation):  # one that is interrupted learns of it at once
            try:
                call = next(operation)
                while True:
                    try:
                        answer = self._send(call, deadline)
                    except ClientError as error:
                        call = operation.throw(error)
                    else:
                        call = operation.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result

    def _send(self, call: Call[T], deadline: Deadline) -> T:
        method = getattr(self._stub, call.method)
        retries = Retries(self._connection, call, deadline)
        while True:
            try:
                answer = method(
                    call.request, timeout=deadline.left(), metadata=self._connection.metadata()
                )
            except grpc.RpcError as error:
                seconds = retries.wait_after(error)
                if seconds is None:
                    raise deadline.error(error) from None
                time.sleep(seconds)
            else:
                return call.read(answer)


class Sequence:
    """Steps of one model in order, with the state that the server keeps between them.

    >>> steps = client.sequence("lstm_sunspots_step")
    >>> for value in (104.0, 67.0, 65.0, 46.0):
    ...     forecast = steps.infer([[[value]]])

    The first step starts a sequence on the server; `end=True` ends it there, and the next step starts
    another. One that is not ended is forgotten there after a silence, whose length is the model's
    `max_sequence_idle_microseconds` (Triton's default is a second).

    A step is sent once, never retried, and one that raises was not counted, with one exception: where
    that cannot be known (no answer in time, UNAVAILABLE, the server failed) the sequence is lost.
    Each further step raises SequenceLost then; so does the first one after the server has forgotten
    the sequence. Begin another with the client, and send it what the model has to know. A first step
    that failed lost nothing: it may be repeated.

    One step at a time (else RuntimeError); any number of sequences share a client. Ids have 63 bits:
    a model whose graph takes the id as fewer refuses them.
    """

    def __init__(self, client: Client, state: SequenceState) -> None:
        self._client = client
        self._state = state

    @overload
    def infer(
        self,
        inputs: abc.Mapping[str, ArrayLike],
        *,
        end: bool = ...,
        timeout: float | None = ...,
        **options: Unpack[StepOptions],
    ) -> abc.Mapping[str, Array]: ...

    @overload
    def infer(
        self,
        inputs: ArrayLike,
        *,
        end: bool = ...,
        timeout: float | None = ...,
        **options: Unpack[StepOptions],
    ) -> Array: ...

    def infer(
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
        return self._client._run(self._state.infer(inputs, end, **options), timeout)

    def infer_answer(
        self,
        inputs: ArrayLike | abc.Mapping[str, ArrayLike],
        *,
        end: bool = False,
        timeout: float | None = None,
        **options: Unpack[StepOptions],
    ) -> Answer:
        """Take a step with infer's arguments; return the outputs by name, with version and id."""
        return self._client._run(self._state.infer_answer(inputs, end, **options), timeout)
