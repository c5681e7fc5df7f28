"""Answers the requests of a model, and counts those that failed."""

import time
from collections.abc import Sequence

from zoo_server.inference.execution import Rows
from zoo_server.inference.queued_request import QueuedRequest
from zoo_server.telemetry.requests import RunObserver
from zoo_server.telemetry.statistics import ModelStatistics

#: Outputs of so many bytes are sorted, for their best classes, in about a millisecond.
_SHORT_TO_SORT = 1 << 13

#: What a run comes to for each of its members.
Outcome = Rows | Exception


class CountedAnswers:
    """What becomes of a model's requests (zoo_server.schedulers.scheduler.Answers)."""

    def __init__(self, statistics: ModelStatistics, observer: RunObserver | None = None) -> None:
        """`observer` hears of every request."""
        self.statistics = statistics
        self.observer = observer

    def is_short_to_answer(self, batch: list[QueuedRequest], outcomes: Sequence[Outcome]) -> bool:
        """Tell whether a thread in a hurry may write the answers: few bytes, and no strings."""
        most = batch[0].short_bytes
        for member in batch:
            short = _SHORT_TO_SORT if member.plan.classifies else member.short_bytes
            if short < most:
                most = short
        seen = None
        for outcome in outcomes:
            if isinstance(outcome, Rows) and outcome.run is not seen:
                seen = outcome.run
                size = seen.nbytes
                if size is None or size > most:
                    return False
        return True

    def answer(self, member: QueuedRequest, outcome: Rows) -> None:
        """Give a request its outcome."""
        member.answer(outcome)

    def refuse(self, member: QueuedRequest, error: Exception) -> None:
        """Answer a request with an error."""
        now = time.perf_counter_ns()
        self.statistics.record_failure(now - member.arrived_ns, error)
        if self.observer is not None:
            self.observer.failed(member, error, now)
        member.fail(error)
