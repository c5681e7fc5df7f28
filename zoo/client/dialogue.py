"""What a client says, in order: generators that yield a Call, get its answer, and return a result.

A dialogue knows neither sockets nor threads nor event loops, so that Client and AsyncClient are two
ways to drive the same ones (`sent` and its twin), and no rule is written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from zoo.client import calls
from zoo.client.arrays import Array
from zoo.client.calls import Answer, Call, Class, ModelMetadata, Question
from zoo.client.errors import ClientError, Unavailable

T = TypeVar("T")

Dialogue = Generator[Call[Any], Any, T]
Send = Callable[[Call[Answer]], Dialogue[Answer]]

#: One array, or arrays by name.
Outputs = Array | Mapping[str, Array]


def single(call: Call[T]) -> Dialogue[T]:
    """One call, and its answer is the result."""
    answer: T = yield call
    return answer


def ready(model: str, version: str) -> Dialogue[bool]:
    """Readiness of the server or of a model; nobody who answers is not ready."""
    try:
        answer: bool = yield calls.model_ready(model, version) if model else calls.server_ready()
    except Unavailable:
        return False
    return answer


class Inference:
    """Inference needs to know what the model takes: asked once, and again after a refusal.

    `send` says how a call is sent once it is known to fit, and what is learnt from its outcome.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], ModelMetadata] = {}

    def ask(self, question: Question, send: Send = single) -> Dialogue[Answer]:
        """Infer; the result says who answered."""
        known = yield from self._metadata(question)
        return (yield from self._run(calls.infer(known, question), question, send))

    def infer(self, question: Question, send: Send = single) -> Dialogue[Outputs]:
        """Infer; the result is a mapping for a mapping and an array for an array."""
        known = yield from self._metadata(question)
        by_name = isinstance(question.inputs, Mapping)
        name = None if by_name else calls.only_output(known, question.outputs)
        answer = yield from self._run(calls.infer(known, question), question, send)
        return answer.outputs if name is None else answer.outputs[name]

    def classify(
        self, question: Question, top: int, output: str | None
    ) -> Dialogue[list[list[Class]]]:
        """Ask for the best classes of each row."""
        known = yield from self._metadata(question)
        name = calls.only_output(known, None if output is None else [output])
        question = replace(question, outputs=[name])
        call = calls.infer(known, question, classes=top)
        answer = yield from self._run(call, question, single)
        return calls.classes_of(answer.outputs[name])

    def _metadata(self, question: Question) -> Dialogue[ModelMetadata]:
        key = question.model, question.version
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = yield calls.metadata(*key)
        return known

    def _run(self, call: Call[Answer], question: Question, send: Send) -> Dialogue[Answer]:
        try:
            return (yield from send(call))
        except ClientError:
            # The model may have changed.
            self._known.pop((question.model, question.version), None)
            raise
