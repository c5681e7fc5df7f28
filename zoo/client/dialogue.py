"""What a client says, in order: generators that yield a Call, get its answer, and return a result.

A dialogue knows neither sockets nor threads nor event loops, so that Client and AsyncClient are two
ways to drive the same ones (`sent` and its twin), and no rule is written twice.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.client import calls
from zoo.client.arrays import Array
from zoo.client.calls import Answer, Call, Class, ModelMetadata
from zoo.client.errors import ClientError, Unavailable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

T = TypeVar("T")

Dialogue = Generator[Call[Any], Any, T]


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
    """Inference needs to know what the model takes: asked once, and again after a refusal."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], ModelMetadata] = {}

    def ask(
        self,
        model: str,
        inputs: ArrayLike | Mapping[str, ArrayLike],
        *,
        version: str,
        outputs: Sequence[str] | None,
        request_id: str,
    ) -> Dialogue[Answer]:
        """Infer; the result says who answered."""
        known = yield from self._metadata(model, version)
        call = calls.infer(known, inputs, version=version, outputs=outputs, request_id=request_id)
        return (yield from self._run(call, model, version))

    def infer(
        self,
        model: str,
        inputs: ArrayLike | Mapping[str, ArrayLike],
        *,
        version: str,
        outputs: Sequence[str] | None,
        request_id: str,
    ) -> Dialogue[Array | Mapping[str, Array]]:
        """Infer; the result is a mapping for a mapping and an array for an array."""
        known = yield from self._metadata(model, version)
        name = None if isinstance(inputs, Mapping) else calls.only_output(known, outputs)
        call = calls.infer(known, inputs, version=version, outputs=outputs, request_id=request_id)
        answer = yield from self._run(call, model, version)
        return answer.outputs if name is None else answer.outputs[name]

    def classify(
        self,
        model: str,
        rows: ArrayLike | Mapping[str, ArrayLike],
        top: int,
        *,
        output: str | None,
        version: str,
    ) -> Dialogue[list[list[Class]]]:
        """Ask for the best classes of each row."""
        known = yield from self._metadata(model, version)
        name = calls.only_output(known, None if output is None else [output])
        call = calls.infer(known, rows, version=version, outputs=[name], classes=top)
        answer = yield from self._run(call, model, version)
        return calls.classes_of(answer.outputs[name])

    def _metadata(self, model: str, version: str) -> Dialogue[ModelMetadata]:
        key = model, version
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = yield calls.metadata(model, version)
        return known

    def _run(self, call: Call[Answer], model: str, version: str) -> Dialogue[Answer]:
        try:
            answer: Answer = yield call
        except ClientError:
            self._known.pop((model, version), None)  # the model may have changed
            raise
        return answer
