"""Sequences: ordered requests between which the server keeps the model's state.

Client.sequence and AsyncClient.sequence return two ways to run the same operations.
"""

from __future__ import annotations

import secrets
import threading
from collections import abc
from functools import partial
from typing import TYPE_CHECKING, TypedDict, Unpack

from zoo.client import calls
from zoo.client.calls import Answer, Call, InferenceRequest
from zoo.client.errors import (
    ClientError,
    InvalidArgument,
    NotFound,
    SequenceLost,
    Unauthenticated,
    Unreachable,
)
from zoo.client.operations import Inference, Operation, Outputs, single

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: Failures that leave the state as it was: refused before the model ran, or never sent. Of others it
#: cannot be known. UNAVAILABLE is a full queue, but also a connection that broke after the run;
#: INTERNAL is a run that failed, but also an answer that was lost after one.
_NOT_COUNTED = (InvalidArgument, NotFound, Unauthenticated, Unreachable)

#: Triton's words, and ours, for a step of a sequence that the server does not know (any more).
_FORGOTTEN = "must specify the START flag"


class StepOptions(TypedDict, total=False):
    """What may go with a step, as with an inference (zoo.client.calls.RequestOptions)."""

    outputs: abc.Sequence[str] | None
    request_id: str


class SequenceState:
    """One sequence's operations, and what is known of its state on the server."""

    def __init__(self, inference: Inference, model: str, version: str) -> None:
        self._inference = inference
        self._model = model
        self._version = version
        self._id = _new_id()
        self._is_open = False
        #: Why the state is not known any more.
        self._loss = ""
        self._lock = threading.Lock()

    def infer(
        self,
        inputs: ArrayLike | abc.Mapping[str, ArrayLike],
        end: bool,
        **options: Unpack[StepOptions],
    ) -> Operation[Outputs]:
        """Take a step; the result is a mapping for a mapping and an array for an array."""
        request = self._request(inputs, options)
        return self._inference.infer(request, partial(self._step, end=end))

    def infer_answer(
        self,
        inputs: ArrayLike | abc.Mapping[str, ArrayLike],
        end: bool,
        **options: Unpack[StepOptions],
    ) -> Operation[Answer]:
        """Take a step; the result has the version, too."""
        request = self._request(inputs, options)
        return self._inference.infer_answer(request, partial(self._step, end=end))

    def _request(
        self, inputs: ArrayLike | abc.Mapping[str, ArrayLike], options: StepOptions
    ) -> InferenceRequest:
        return InferenceRequest(model=self._model, version=self._version, inputs=inputs, **options)

    def _step(self, call: Call[Answer], *, end: bool) -> Operation[Answer]:
        """Send a call that fits the model; what does not fit is refused before it comes here."""
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("a sequence takes one step at a time, and another is under way")
        try:
            if self._loss:
                raise self._error()
            step = calls.in_sequence(call, self._id, start=not self._is_open, end=end)
            answer = yield from single(step)
            self._is_open = not end
            if end:
                self._id = _new_id()
            return answer
        except BaseException as error:  # an operation that was closed, too: a task was cancelled
            self._failed(error)
            raise
        finally:
            self._lock.release()

    def _failed(self, error: BaseException) -> None:
        """Note what a failed step means for the state; SequenceLost if the server forgot it."""
        if self._loss or not self._is_open:
            # Nothing was there to lose. START resets whatever the first attempt left, and the same id
            # takes its place, where another would wait for one until that was silent for too long.
            return
        if isinstance(error, InvalidArgument) and _FORGOTTEN in error.message:
            self._loss = (
                "the server has forgotten it, because it was silent for too long or the model was "
                "loaded anew"
            )
            raise self._error() from error
        if not isinstance(error, _NOT_COUNTED):
            why = str(error) if isinstance(error, ClientError) else "it was cancelled"
            self._loss = f"whether the server counted a step that failed is not known ({why})"

    def _error(self) -> SequenceLost:
        # An error, and no new start: answers out of a history with a hole, or out of none, look like
        # any others. Only the caller knows the earlier values, and whether they can be sent again.
        # ABORTED is gRPC's word for it: the caller has to try again, but from further up.
        return SequenceLost(
            "ABORTED",
            f"this sequence of model '{self._model}' is lost, begin another: {self._loss}",
        )


def _new_id() -> int:
    """Return an id that no other client chooses, of those that fit every signed 64 bits; not 0."""
    return secrets.randbelow(2**63 - 1) + 1
