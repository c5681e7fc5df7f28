"""One request as schedulers see it, and what a queue decides about some: pure."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from zoo_server.errors import Cancelled, DeadlineExpired

#: A deadline that is further away than any run is not held against what a run takes.
_SOON_NS = 60 * 10**9


class Member(Protocol):
    """One request that waits; times are nanoseconds of one monotonic clock."""

    rows: int
    #: What a run's time is expected to grow with (latency_model.py); 0 where nothing tells.
    size: int
    #: Only members of equal keys may share a run.
    key: Hashable
    #: 0 takes the model's default level.
    level: int
    #: The request's own limit on its time in the queue, 0 for none.
    timeout_ns: int
    #: The moment at which its caller gives up, 0 if never.
    deadline_ns: int
    #: What its message takes in memory while it waits.
    nbytes: int
    #: Set by the queue.
    queued_ns: int
    expires_ns: int

    def is_gone(self) -> bool:
        """Tell whether the caller no longer waits for the answer."""


M = TypeVar("M", bound=Member)


@dataclass(slots=True)
class Decision(Generic[M]):
    """What to do now: at most one of `batch` and `ask_again_ns` is there."""

    batch: list[M] = field(default_factory=list)
    refused: list[tuple[M, Exception]] = field(default_factory=list)
    ask_again_ns: int | None = None


def lost_because(member: Member, now: int, run_ns: int) -> Exception | None:
    """Return why a member need not be run any more, None if it is to be.

    `run_ns` is what its run takes; 0 where no others wait, for this one may show that it is less.
    """
    deadline = member.deadline_ns
    if deadline and deadline - now < _SOON_NS and now + run_ns >= deadline:
        return DeadlineExpired("the deadline passed before the request was run")
    if member.is_gone():
        return Cancelled("the caller hung up before the request was run")
    return None


def units_of(member: Member) -> int:
    """Return what a member counts where work is added up."""
    return member.size or 1


def preferred_count(chosen: Sequence[Member], preferred: frozenset[int]) -> int:
    """Return how many members make the largest preferred number of rows, 0 if none do."""
    best = rows = 0
    for count, member in enumerate(chosen, 1):
        rows += member.rows
        if rows in preferred:
            best = count
    return best


def rows_of(members: Sequence[Member]) -> int:
    """Return how many rows members have together."""
    return sum(member.rows for member in members)
