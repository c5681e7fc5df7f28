"""Which calls to refuse before their message is read: those of connections whose calls are refused anyway.

    arrival ──> refuses(peer)? ──> message ──> scheduler ──> answered / refused ──> counted for the peer

To receive and decode a message costs a part of what a short run does, and a large one more; under
overload the server would do little else. So as soon as calls are refused for want of time or room, each
connection may have twice as many messages read as were answered lately; of the rest as many are
refused at once, at random, as that takes. This is adaptive throttling (Site Reliability Engineering,
O'Reilly 2016, chapter 21), kept by the server for each connection: one that floods a slow model does not
hurt those that ask for other models, or seldom.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Messages read for one that is answered.
_READ_PER_ANSWER = 2

#: Messages that are read in any case, of what is counted: or nothing would show that there is room.
_TRIED = 2

#: The counts are halved so often, in seconds: what is let in can double as often once there is room.
_HALF_LIFE = 0.1

#: Without a refusal for so long, nothing is counted any more.
_REST_SECONDS = 2.0

_MOST_PEERS = 4096


@dataclass(slots=True)
class _Counts:
    """The calls of one connection lately."""

    since: float
    refused: float = 0
    answered: float = 0
    retry_ms: int = 0

    def decay(self, now: float) -> None:
        if now - self.since >= _HALF_LIFE:
            part = 0.5 ** ((now - self.since) / _HALF_LIFE)
            self.refused *= part
            self.answered *= part
            self.since = now


class Throttle:
    """Counts calls by their connection; any thread may: what two lose to each other is one count."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`chance` returns a number in [0, 1)."""
        self._clock = clock
        self._chance = chance
        self._peers: dict[bytes, _Counts] = {}
        self._last = 0.0
        #: Whether calls were refused lately; nothing need be asked or told otherwise.
        self.active = False

    def refused(self, peer: bytes, retry_ms: int) -> None:
        """Note that the scheduler refused a call, and when it said to try again."""
        now = self._clock()
        self.active, self._last = True, now
        counts = self._of(peer, now)
        counts.refused += 1
        counts.retry_ms = retry_ms

    def answered(self, peer: bytes) -> None:
        """Note that a call was answered."""
        self._of(peer, self._clock()).answered += 1

    def refuses(self, peer: bytes) -> int:
        """Decide about a call that arrives: 0 lets it in, else in how many ms to try again."""
        now = self._clock()
        if now - self._last > _REST_SECONDS:
            self.active = False
            self._peers = {}
            return 0
        counts = self._of(peer, now)
        over = counts.refused - (_READ_PER_ANSWER - 1) * counts.answered - _TRIED
        if over <= 0 or self._chance() >= over / (counts.refused + counts.answered):
            return 0
        counts.refused += 1
        return max(1, counts.retry_ms)

    def _of(self, peer: bytes, now: float) -> _Counts:
        peers = self._peers
        counts = peers.get(peer)
        if counts is None:
            if len(peers) >= _MOST_PEERS:
                peers = self._peers = {}
            counts = peers[peer] = _Counts(now)
        counts.decay(now)
        return counts
