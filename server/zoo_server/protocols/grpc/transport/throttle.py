"""Which calls to refuse before their message is read: those that come too soon after a refusal.

    call ──> refuses(peer)? ──> message ──> scheduler ──> refused, "again in 18 ms" ──> peer held for 18 ms

To receive and decode a message costs a part of what a short run does, and a large one more; under
overload the server would do little else. A scheduler that refuses a call says when another is worth a
try: when a quarter of the work that waits will be done. Until then, and for 20 ms at most, the calls of that
connection are refused unread: the model has more than enough to do meanwhile. Then the next is read,
and either finds room or holds the connection again. So nothing is refused unread where nothing is
refused by a scheduler, and what is let in does not depend on what was refused before.

One that floods a slow model does not hurt the connections that ask for others.
"""

import time
from collections.abc import Callable

#: The longest hold.
_MOST_MS = 20

_MOST_PEERS = 4096


class Throttle:
    """Holds connections; any thread may use it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: Until when connections are held.
        self._held: dict[bytes, float] = {}
        self._last = 0.0
        #: Whether one may be held; nothing need be asked otherwise.
        self.active = False

    def refused(self, peer: bytes, retry_ms: int) -> None:
        """Note that a scheduler refused a call, and when it said to try again."""
        until = self._clock() + min(retry_ms, _MOST_MS) / 1000
        if len(self._held) >= _MOST_PEERS:
            self._held = {}
        self._held[peer] = until
        self._last = max(self._last, until)
        self.active = True

    def refuses(self, peer: bytes) -> int:
        """Decide about a call that arrives: 0 lets it in, else in how many ms to try again."""
        now = self._clock()
        if now >= self._last:
            self.active = False
            self._held = {}
            return 0
        left = self._held.get(peer, 0.0) - now
        return int(left * 1000) + 1 if left > 0 else 0
