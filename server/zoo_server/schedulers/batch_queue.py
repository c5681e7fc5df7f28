"""The queue of one model, and the decision what to run next. Pure: no threads, no clock, no I/O.

    push(member, now)    QueueFull if its level's queue is full, QueueTimeout if it would wait too long
    take(now)        ──> Decision: what to run, whom to refuse, or when to ask again

The rules are Triton's dynamic batcher's:

- A level whose policy gives no bound has the server's (`most_waiting`); so have the bytes that wait.
- Members leave by priority, then in order of arrival; those whose time in the queue ran out are
  refused, or under `rejects=False` wait on behind everybody of their level.
- Who hung up, or can no longer be answered before the deadline, is refused and not run.
- A batch holds members of one key (like shapes) and at most `max_rows` rows; the first member that
  does not fit ends it. Where nothing else is asked for, it also ends where joining has been seen not
  to pay (latency_model.py).
- A preferred number of rows is run at once. Else the batch is run when it can grow no more, when its
  oldest member has waited for `delay_ns`, or at once where there is no delay.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic

from zoo_server.errors import Overloaded, QueueFull, QueueTimeout
from zoo_server.model_config import Batching
from zoo_server.schedulers.latency_model import ALL_ROWS
from zoo_server.schedulers.member import (
    Decision,
    M,
    lost_because,
    preferred_count,
    rows_of,
    units_of,
)

#: The bytes of messages that may wait for one model; a single message may have more.
_MOST_BYTES = 1 << 28


class RequestQueue(Generic[M]):
    """Those who wait for one model."""

    def __init__(
        self,
        batching: Batching,
        most_waiting: int = 0,
        run_ns: Callable[[int], int] = lambda size: 0,
    ) -> None:
        """`most_waiting`: the bound of a level whose policy has none, 0 for none.

        `run_ns` returns what a run of a size usually takes, 0 if that is not known.
        """
        self._batching = batching
        self._most_waiting = most_waiting
        self._run_ns = run_ns
        self._nbytes = 0
        #: The sizes of those who wait, added up, by level.
        self._units: dict[int, int] = {}
        #: The levels in use, most urgent first: those who wait, and those who were postponed.
        self._levels: dict[int, tuple[deque[M], deque[M]]] = {}
        if not batching.levels:
            self._levels[0] = (deque(), deque())
        #: What the common case touches: one level, nobody postponed.
        self._only = self._levels[0][0] if not batching.levels else None
        self._largest = max(batching.preferred, default=batching.max_rows)
        #: Whether all that is to decide is who fits: no delay, priority, timeout or preferred size.
        self.is_simple = (
            self._only is not None
            and not batching.preferred
            and not batching.delay_ns
            and not batching.default_policy.timeout_ns
            and not batching.default_policy.allows_override
        )

    def __len__(self) -> int:
        if self._only is not None and not self._levels[0][1]:
            return len(self._only)
        return sum(len(ready) + len(late) for ready, late in self._levels.values())

    def units_before(self, member: M) -> int:
        """Return the sizes of those who leave before a newcomer, added up (units_of)."""
        if not self._batching.levels:
            return self._units.get(0, 0)
        level = self._level(member)
        return sum([units for other, units in self._units.items() if other <= level])

    def push(self, member: M, now: int, wait_ns: int = 0) -> None:
        """Let one wait; QueueFull if its level's queue has reached its bound.

        QueueTimeout if it is expected to wait (`wait_ns`) for longer than it may.
        """
        level = self._level(member)
        policy = self._batching.policy(level)
        ready = self._ready(level)
        most = policy.max_size or self._most_waiting
        if most and len(ready) >= most:
            raise QueueFull("Exceeds maximum queue size")
        if self._nbytes and self._nbytes + member.nbytes > _MOST_BYTES:
            raise QueueFull(f"Exceeds maximum queue size: {_MOST_BYTES} bytes of requests")
        limit = policy.timeout_ns
        if (
            policy.allows_override
            and member.timeout_ns
            and (not limit or member.timeout_ns < limit)
        ):
            limit = member.timeout_ns
        if limit and policy.rejects and wait_ns > limit:
            raise QueueTimeout("Request timeout expired")
        member.level = level
        member.queued_ns = now
        member.expires_ns = now + limit if limit else 0
        ready.append(member)
        self._units[level] = self._units.get(level, 0) + units_of(member)
        self._nbytes += member.nbytes

    def push_all(self, members: Sequence[M], now: int) -> bool:
        """Let several wait in a simple queue, if all of them find room; else do nothing."""
        waiting = self._only
        assert waiting is not None
        most = self._batching.policy(0).max_size or self._most_waiting
        nbytes = sum([member.nbytes for member in members])
        if (most and len(waiting) + len(members) > most) or self._nbytes + nbytes > _MOST_BYTES:
            return False
        units = 0
        for member in members:
            member.level = member.expires_ns = 0
            member.queued_ns = now
            units += member.size or 1
        waiting.extend(members)
        self._units[0] = self._units.get(0, 0) + units
        self._nbytes += nbytes
        return True

    def first_deadline_ns(self) -> int:
        """Return when the caller of the one who leaves next gives up; 0 if never, or none waits."""
        if self._only:
            return self._only[0].deadline_ns
        first = next(self._in_order(), None)
        return 0 if first is None else first.deadline_ns

    def remove_lost(self, now: int) -> list[tuple[M, Exception]]:
        """Take out those who need not be run any more, and return why."""
        decision: Decision[M] = Decision()
        self._expire(now, decision)
        return decision.refused

    def _level(self, member: M) -> int:
        levels = self._batching.levels
        if not levels:
            return 0
        return member.level if 0 < member.level <= levels else self._batching.default_level

    def _left(self, member: M) -> M:
        """Account for one that has left."""
        self._units[member.level] -= units_of(member)
        self._nbytes -= member.nbytes
        return member

    def _ready(self, level: int) -> deque[M]:
        """Return the queue of a level, which begins with its first member."""
        if level not in self._levels:
            self._levels[level] = (deque(), deque())
            self._levels = dict(sorted(self._levels.items()))
        return self._levels[level][0]

    def take(
        self,
        now: int,
        most_rows: int = ALL_ROWS,
        units_in_time: Callable[[int, int], int] = lambda ns, now: ALL_ROWS,
        most_known: int = ALL_ROWS,
    ) -> Decision[M]:
        """Decide; what is in the decision has left the queue.

        More than `most_rows` are not joined, nor more units than are done in the time that the most
        urgent of the batch has left (`units_in_time`), nor, where one has a deadline, than `most_known`:
        unless preferred sizes or a delay say what is wanted.
        """
        if self.is_simple:
            return self._take_waiting(now, most_rows, units_in_time, most_known)
        decision: Decision[M] = Decision()
        self._expire(now, decision)
        chosen, closed = self._grow()
        if not chosen:
            return decision
        batching = self._batching
        best = preferred_count(chosen, batching.preferred)
        oldest = min(member.queued_ns for member in chosen)
        due = oldest + batching.delay_ns
        if best and (now < due or not batching.delay_ns):
            chosen = chosen[:best]
        elif not closed and rows_of(chosen) < self._largest and now < due:
            decision.ask_again_ns = min(
                [due, *(member.expires_ns for member in chosen if member.expires_ns)]
            )
            return decision
        self._remove(chosen)
        decision.batch = chosen
        return decision

    def _take_waiting(
        self,
        now: int,
        most_rows: int,
        units_in_time: Callable[[int, int], int],
        most_known: int,
    ) -> Decision[M]:
        """The common case: everybody who waits and fits, in order of arrival."""
        waiting = self._only
        assert waiting is not None
        decision: Decision[M] = Decision()
        batch, limit = decision.batch, min(self._batching.max_rows, most_rows)
        joins = self._batching.joins
        rows = units = left_units = nbytes = run_ns = 0
        known = -1
        most_units = tightest = ALL_ROWS
        while waiting:
            member = waiting[0]
            size = member.size or 1
            if batch and (
                not joins
                or rows + member.rows > limit
                or member.key != batch[0].key
                or units + size > most_units
            ):
                break
            waiting.popleft()
            # Accounted for together (_left): this is a part of what every request costs.
            left_units += size
            nbytes += member.nbytes
            within, deadline_ns = most_units, member.deadline_ns
            if deadline_ns and member.size != known:
                known = member.size
                run_ns = self._run_ns(known)
            lost = lost_because(member, now, run_ns if waiting else 0)
            if lost is None and joins and 0 < deadline_ns < tightest:
                within = units_in_time(deadline_ns - now, now)
                others = min(len(waiting), limit // member.rows) * size
                if not batch and 2 * within < others:
                    lost = Overloaded(
                        "the answer would be late: more requests than can be answered"
                    )
                within = min(within, most_known)
            if lost is not None:
                decision.refused.append((member, lost))
                continue
            batch.append(member)
            rows += member.rows
            units += size
            if within < most_units:
                tightest, most_units = deadline_ns, within
        self._units[0] = self._units.get(0, 0) - left_units
        self._nbytes -= nbytes
        return decision

    def _expire(self, now: int, decision: Decision[M]) -> None:
        """Take out requests that waited too long or whose callers hung up."""
        left = len(self)
        for level, (ready, late) in self._levels.items():
            policy = self._batching.policy(level)
            kept: list[M] = []
            for member in ready:
                left -= 1
                lost = lost_because(member, now, self._run_ns(member.size) if left else 0)
                if lost is not None:
                    decision.refused.append((self._left(member), lost))
                elif not member.expires_ns or now < member.expires_ns:
                    kept.append(member)
                elif policy.rejects:
                    expired = QueueTimeout("Request timeout expired")
                    decision.refused.append((self._left(member), expired))
                else:
                    member.expires_ns = 0
                    late.append(member)
            if len(kept) < len(ready):
                ready.clear()
                ready.extend(kept)
            for _ in range(len(late)):
                member = late.popleft()
                lost = lost_because(member, now, self._run_ns(member.size) if left else 0)
                if lost is None:
                    late.append(member)
                else:
                    decision.refused.append((self._left(member), lost))

    def _grow(self) -> tuple[list[M], bool]:
        """Return the longest batch from the front, and whether it can grow no more."""
        chosen: list[M] = []
        rows = 0
        for member in self._in_order():
            if chosen and (
                not self._batching.joins
                or rows + member.rows > self._batching.max_rows
                or member.key != chosen[0].key
            ):
                return chosen, True
            chosen.append(member)
            rows += member.rows
        return chosen, not self._batching.joins or rows >= self._batching.max_rows

    def _in_order(self) -> Iterator[M]:
        for ready, late in self._levels.values():
            yield from ready
            yield from late

    def _remove(self, chosen: list[M]) -> None:
        left = len(chosen)
        for queues in self._levels.values():
            for queue in queues:
                while left and queue:
                    self._left(queue.popleft())
                    left -= 1
