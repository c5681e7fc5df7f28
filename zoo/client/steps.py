"""Sequences: steps that belong together, between which the server keeps the model's state.

Steps            what is sent, and what is known of the state    (both twins)
Sequence         Client.sequence returns it                      (threads)
AsyncSequence    AsyncClient.sequence returns it                 (asyncio)
"""

from __future__ import annotations

import secrets
import threading
from collections import abc
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar, overload

from zoo.client import calls
from zoo.client.arrays import Array
from zoo.client.calls import Answer, Call, Question
from zoo.client.dialogue import Dialogue, Inference, Outputs, single
from zoo.client.errors import (
    ClientError,
    InvalidArgument,
    NotFound,
    SequenceLost,
    Unauthenticated,
    Unreachable,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

T = TypeVar("T")

#: Failures that leave the state as it was: refused before the model ran, or never sent. Of others it
#: cannot be known. UNAVAILABLE is a full queue, but also a connection that broke after the run;
#: INTERNAL is a run that failed, but also an answer that was lost after one.
_UNCOUNTED = (InvalidArgument, NotFound, Unauthenticated, Unreachable)

#: Triton's words, and ours, for a step of a sequence that the server does not know (any more).
_FORGOTTEN = "must specify the START flag"


class Steps:
    """One sequence's dialogues, and what is known of its state on the server."""

    def __init__(self, inference: Inference, model: str, version: str) -> None:
        self._inference = inference
        self._model = model
        self._version = version
        self._id = _new_id()
        self._begun = False
        #: Why nobody knows the state any more.
        self._lost = ""
        self._one = threading.Lock()

    def infer(self, question: Question, end: bool) -> Dialogue[Outputs]:
        """One step; the result is a mapping for a mapping and an array for an array."""
        return self._inference.infer(question, partial(self._step, end=end))

    def ask(self, question: Question, end: bool) -> Dialogue[Answer]:
        """One step; the result says who answered."""
        return self._inference.ask(question, partial(self._step, end=end))

    def question(
        self,
        inputs: ArrayLike | abc.Mapping[str, ArrayLike],
        outputs: abc.Sequence[str] | None,
        request_id: str,
    ) -> Question:
        """Return what a step asks of the sequence's model."""
        return Question(
            model=self._model,
            version=self._version,
            inputs=inputs,
            outputs=outputs,
            request_id=request_id,
        )

    def _step(self, call: Call[Answer], *, end: bool) -> Dialogue[Answer]:
        """Send a call that fits the model; whatever was wrong with it before did not come here."""
        if not self._one.acquire(blocking=False):
            raise RuntimeError("a sequence takes one step at a time, and another is under way")
        try:
            if self._lost:
                raise self._error()
            step = calls.in_sequence(call, self._id, start=not self._begun, end=end)
            answer = yield from single(step)
            self._begun = not end
            if end:
                self._id = _new_id()
            return answer
        except BaseException as error:  # a dialogue that was given up, too: a task was cancelled
            self._failed(error)
            raise
        finally:
            self._one.release()

    def _failed(self, error: BaseException) -> None:
        """Draw the conclusion from a step that failed; SequenceLost if the server said so."""
        if self._lost or not self._begun:
            # Nothing was there to lose. START resets whatever the first attempt left, and the same id
            # takes its place, where another would wait for one until that was silent for too long.
            return
        if isinstance(error, InvalidArgument) and _FORGOTTEN in error.message:
            self._lost = (
                "the server has forgotten it, because it was silent for too long or the model was "
                "loaded anew"
            )
            raise self._error() from error
        if not isinstance(error, _UNCOUNTED):
            why = str(error) if isinstance(error, ClientError) else "it was given up"
            self._lost = f"whether the server counted a step that failed is not known ({why})"

    def _error(self) -> SequenceLost:
        # An error, and no new start: answers out of a history with a hole, or out of none, look like
        # any others. Only the caller knows the earlier values, and whether they can be sent again.
        # ABORTED is gRPC's word for it: the caller has to try again, but from further up.
        return SequenceLost(
            "ABORTED",
            f"this sequence of model '{self._model}' is lost, begin another: {self._lost}",
        )


def _new_id() -> int:
    """Return an id that no other client chooses, of those that fit every signed 64 bits; not 0."""
    return secrets.randbelow(2**63 - 1) + 1


class _Sent(Protocol):
    def __call__(self, said: Dialogue[T], timeout: float | None) -> T: ...


class _AsyncSent(Protocol):
    async def __call__(self, said: Dialogue[T], timeout: float | None) -> T: ...


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

    def __init__(self, steps: Steps, sent: _Sent) -> None:
        self._steps = steps
        self._sent = sent

    @overload
    def infer(
        self,
        inputs: abc.Mapping[str, ArrayLike],
        *,
        end: bool = ...,
        outputs: abc.Sequence[str] | None = ...,
        timeout: float | None = ...,
        request_id: str = ...,
    ) -> abc.Mapping[str, Array]: ...

    @overload
    def infer(
        self,
        inputs: ArrayLike,
        *,
        end: bool = ...,
        outputs: abc.Sequence[str] | None = ...,
        timeout: float | None = ...,
        request_id: str = ...,
    ) -> Array: ...

    def infer(
        self,
        inputs: ArrayLike | abc.Mapping[str, ArrayLike],
        *,
        end: bool = False,
        outputs: abc.Sequence[str] | None = None,
        timeout: float | None = None,
        request_id: str = "",
    ) -> Outputs:
        """Take a step and return its outputs as Client.infer does; `end` makes it the last one."""
        question = self._steps.question(inputs, outputs, request_id)
        return self._sent(self._steps.infer(question, end), timeout)

    def ask(
        self,
        inputs: ArrayLike | abc.Mapping[str, ArrayLike],
        *,
        end: bool = False,
        outputs: abc.Sequence[str] | None = None,
        timeout: float | None = None,
        request_id: str = "",
    ) -> Answer:
        """Take a step, and say also which version answered."""
        question = self._steps.question(inputs, outputs, request_id)
        return self._sent(self._steps.ask(question, end), timeout)


class AsyncSequence:
    """Sequence's twin for asyncio: the same methods, awaited; a cancelled step loses the sequence."""

    def __init__(self, steps: Steps, sent: _AsyncSent) -> None:
        self._steps = steps
        self._sent = sent

    @overload
    async def infer(
        self,
        inputs: abc.Mapping[str, ArrayLike],
        *,
        end: bool = ...,
        outputs: abc.Sequence[str] | None = ...,
        timeout: float | None = ...,
        request_id: str = ...,
    ) -> abc.Mapping[str, Array]: ...

    @overload
    async def infer(
        self,
        inputs: ArrayLike,
        *,
        end: bool = ...,
        outputs: abc.Sequence[str] | None = ...,
        timeout: float | None = ...,
        request_id: str = ...,
    ) -> Array: ...

    async def infer(
        self,
        inputs: ArrayLike | abc.Mapping[str, ArrayLike],
        *,
        end: bool = False,
        outputs: abc.Sequence[str] | None = None,
        timeout: float | None = None,
        request_id: str = "",
    ) -> Outputs:
        """Take a step and return its outputs as Client.infer does; `end` makes it the last one."""
        question = self._steps.question(inputs, outputs, request_id)
        return await self._sent(self._steps.infer(question, end), timeout)

    async def ask(
        self,
        inputs: ArrayLike | abc.Mapping[str, ArrayLike],
        *,
        end: bool = False,
        outputs: abc.Sequence[str] | None = None,
        timeout: float | None = None,
        request_id: str = "",
    ) -> Answer:
        """Take a step, and say also which version answered."""
        question = self._steps.question(inputs, outputs, request_id)
        return await self._sent(self._steps.ask(question, end), timeout)
