"""The operations behind the clients' methods: generators that yield a Call and receive its answer.

An operation knows neither sockets nor threads nor event loops: Client and AsyncClient are two ways to
run the same ones, so that no rule is written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from zoo.client import calls
from zoo.client.arrays import Array
from zoo.client.calls import Answer, Call, Class, InferenceRequest, ModelMetadata
from zoo.client.errors import ClientError, Unavailable

T = TypeVar("T")

Operation = Generator[Call[Any], Any, T]
Send = Callable[[Call[Answer]], Operation[Answer]]

#: One array, or arrays by name.
Outputs = Array | Mapping[str, Array]


def single(call: Call[T]) -> Operation[T]:
    """Send one call, whose answer is the result."""
    answer: T = yield call
    return answer


def ready(model: str, version: str) -> Operation[bool]:
    """Return whether the server or a model is ready; a server that cannot be reached is not."""
    try:
        answer: bool = yield calls.model_ready(model, version) if model else calls.server_ready()
    except Unavailable:
        return False
    return answer


class Inference:
    """Inference, for which a model's metadata is fetched once, and again after a refusal.

    `send` says how a call that fits the model is sent, and what follows from its outcome.
    """

    def __init__(self) -> None:
        self._metadata: dict[tuple[str, str], ModelMetadata] = {}

    def infer(self, request: InferenceRequest, send: Send = single) -> Operation[Outputs]:
        """Return a mapping for inputs by name, and one array for one array."""
        if isinstance(request.inputs, Mapping):
            return (yield from self.infer_answer(request, send)).outputs
        name = calls.only_output((yield from self._metadata_of(request)), request.outputs)
        return (yield from self.infer_answer(request, send)).outputs[name]

    def classify(
        self, request: InferenceRequest, top: int, output: str | None
    ) -> Operation[list[list[Class]]]:
        """Return the best classes of each row."""
        known = yield from self._metadata_of(request)
        name = calls.only_output(known, None if output is None else [output])
        answer = yield from self.infer_answer(replace(request, outputs=[name], classes=top))
        return calls.classes_of(answer.outputs[name])

    def infer_answer(self, request: InferenceRequest, send: Send = single) -> Operation[Answer]:
        """Return all outputs by name, with the version that gave them."""
        call = calls.infer((yield from self._metadata_of(request)), request)
        try:
            return (yield from send(call))
        except ClientError:
            # The model may have changed.
            self._metadata.pop((request.model, request.version), None)
            raise

    def _metadata_of(self, request: InferenceRequest) -> Operation[ModelMetadata]:
        key = request.model, request.version
        known = self._metadata.get(key)
        if known is None:
            known = self._metadata[key] = yield calls.metadata(*key)
        return known
