"""The interface of every scheduler, between the protocols and a loaded model.

    protocol ──submit──> Scheduler ──execute──> Runner (the graph) ──answer──> each request

A scheduler decides who runs together, when, and on which thread; a Runner is what it drives. A loaded
model knows its scheduler by this interface only; who loads it decides which one it gets.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

#: The budget of a thread that may be held as long as it takes.
UNBOUNDED = 2**63

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)


class WouldWait(Exception):
    """A run that must not wait would have to: the threads that it computes with are taken."""


class Scheduler(Protocol[M_contra]):
    """Turns the requests of one model into runs; used by any number of threads at once."""

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""

    @property
    def running(self) -> int:
        """How many runs are under way."""

    def submit(
        self, members: Sequence[M_contra], inline_budget_ns: int = UNBOUNDED, *, stays: bool = False
    ) -> None:
        """Take requests that arrived together, and run what can be run now.

        Each is answered exactly once, by any thread. `inline_budget_ns`: how long this thread may be
        held; what is not known to be over by then is a worker's. `stays`: whether it may go on with
        requests that others brought meanwhile.
        """

    def check(self, member: M_contra) -> None:
        """Raise what a request would be refused with if it came now, though nothing of it is read.

        Only `deadline_ns` is looked at, and that nothing else is known: what may be refused as well
        once it is read passes.
        """


class Answers(Protocol[M, R_contra]):
    """What becomes of a model's requests once their outcomes are there."""

    def is_short_to_answer(self, batch: list[M], outcomes: Sequence[R_contra | Exception]) -> bool:
        """Tell whether the answers are so small that a thread in a hurry may write them."""

    def answer(self, member: M, outcome: R_contra) -> None:
        """Give one member what came of it."""

    def refuse(self, member: M, error: Exception) -> None:
        """Answer one member with an error."""


class Runner(Answers[M, R], Protocol[M, R]):
    """What a scheduler drives: the runs of one model."""

    def execute(self, batch: list[M], *, waits: bool) -> Sequence[R | Exception]:
        """Run a batch; return what comes of it for each member, in order.

        Without `waits`, WouldWait if the run could not begin at once.
        """
