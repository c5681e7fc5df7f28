"""Which calls to refuse before their message is read: under overload, all but so many at a time.

    refused(peer, model) ──> the peer is held ──┬─> fewer are under way than the window: the next is let in
                                                └─> 0.2 s without a refusal of either kind: all are let in

    window   a part of what was under way; one more for every few answers, cut again when one is refused

To receive and decode a message costs a part of what a short run does, and a large one more; under
overload the server would do little else. A scheduler that refuses a request has as much to do as it can
do in time. From then on the connections that brought it such requests have a window of calls at a time, as
TCP has one of segments: it grows until the scheduler refuses again. So the queue neither runs dry nor
stays full, and who is let in hears soon. What a call that is refused unread costs of its message is what
HTTP/2 lets its caller send unasked.

Nothing is refused unread where no scheduler refuses, nor is a call whose caller waits for more than twice
as long as any whom the scheduler refused, nor one of a connection that asks for other models as well: before
its message is read nobody knows which it is for.
"""

import time
from collections.abc import Callable

#: How long connections are held after the last refusal, and between two cuts of a window.
_HOLD_SECONDS = 0.2

#: Fewer refusals are no overload: let the scheduler say what is wrong.
_FEW = 4

#: By what part of those that wait a window is cut.
_CUT = 0.2

#: A window grows by one after so many answers, or so many seconds.
_MORE_ANSWERS, _MORE_SECONDS = 8, 0.05

#: A caller that waits for so many times longer than those who are refused may find room.
_PATIENT = 2

#: How long a connection that asks for several models is not held.
_MIXED_SECONDS = 10.0

#: With so many calls under way, one that is not in time is no exception.
_MANY = 64

#: The model of calls whose messages nobody has seen, and when another is worth a try.
_UNKNOWN = b""
_LOST_RETRY_MS = 20

_MOST_PEERS = 4096

#: Between two looks whether any hold is left.
_LOOK_SECONDS = 1.0


class Hold:
    """What holds the connections that ask for one model."""

    __slots__ = (
        "cut", "grown", "model", "patience", "refusals", "retry_ms", "under_way", "until", "window",
    )  # fmt: skip

    def __init__(self, model: bytes) -> None:
        self.model = model
        self.until = self.cut = self.grown = 0.0
        #: How many of the calls that come may be under way, and how many are.
        self.window = 0.0
        self.under_way = 0
        #: How many calls were refused since it began.
        self.refusals = 0
        #: The most seconds to its deadline that a refused call had when it came.
        self.patience = 0.0
        #: When a scheduler said to try again.
        self.retry_ms = 1

    def refused(self, now: float, waiting: int, patience: float, retry_ms: int) -> None:
        """Note that a call was refused, while so many waited: there is no room for more than there are."""
        if now >= self.until:
            self.refusals, self.patience = 0, 0.0
            self.window = self.under_way
        self.refusals += 1
        self.window = min(self.window, self.under_way)
        if now - self.cut >= _HOLD_SECONDS:
            self.cut = self.grown = now
            self.window -= _CUT * waiting
        self.until = now + _HOLD_SECONDS
        self.patience = max(self.patience, patience)
        self.retry_ms = retry_ms

    def lets_in(self, now: float) -> bool:
        """Decide about a call, and count it if it is let in; `left` ends that."""
        if now - self.grown >= _MORE_SECONDS:
            self.grown = now
            self.window = max(self.window, self.under_way) + 1
        if self.under_way + 1 > self.window:
            self.until = now + _HOLD_SECONDS
            return False
        self.under_way += 1
        return True

    def left(self, *, answered: bool) -> None:
        """Note that a call is over that `lets_in` let in."""
        self.under_way -= 1
        if answered:
            self.window += 1 / _MORE_ANSWERS


class Throttle:
    """Holds connections; any thread may use it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        #: By model, and by connection.
        self._holds: dict[bytes, Hold] = {}
        self._held: dict[bytes, Hold] = {}
        #: Connections that ask for several models, and until when that counts.
        self._mixed: dict[bytes, float] = {}
        #: How many calls are under way that may be held.
        self.under_way = 0
        self._looked = 0.0
        #: Whether any may be held; nothing need be asked otherwise.
        self.active = False

    def refused(
        self, peer: bytes, model: bytes, waiting: int, patience: float, retry_ms: int
    ) -> None:
        """Note that a model's scheduler, for which so many waited, refused a call.

        Its deadline was `patience` seconds away; `retry_ms` is when the scheduler said to try again.
        """
        now = self.clock()
        if max(len(self._held), len(self._holds), len(self._mixed)) >= _MOST_PEERS:
            self._held, self._holds, self._mixed = {}, {}, {}
        hold = self._holds.get(model)
        if hold is None:
            hold = self._holds[model] = Hold(model)
        hold.refused(now, waiting, patience, retry_ms)
        if hold.refusals < _FEW:
            return
        if now >= self._mixed.get(peer, 0.0):
            self._held[peer] = hold
        self.active = True

    def lost(self, peer: bytes, patience: float) -> None:
        """Note that a call was not answered in time: where many are under way, no more are let in."""
        if self.under_way < _MANY:
            return
        held = self._held.get(peer)
        model = _UNKNOWN if held is None else held.model
        self.refused(peer, model, 0, patience, _LOST_RETRY_MS)

    def over(self, peer: bytes, model: bytes, *, was_held: bool) -> None:
        """Note that a call is over that was not refused: without a hold it makes room as well.

        A connection that asks for several models is not held.
        """
        held = self._held.get(peer)
        hold = held if held is not None and held.model == _UNKNOWN else self._holds.get(model)
        if hold is not None and not was_held:
            hold.window += 1
        if held is not None and held.model not in (model, _UNKNOWN):
            self._held.pop(peer, None)
            self._mixed[peer] = self.clock() + _MIXED_SECONDS

    def hold_of(self, peer: bytes, patience: float) -> Hold | None:
        """Return what holds a call that arrives, None if nothing does; its deadline is so far away."""
        now = self.clock()
        if now >= self._looked + _LOOK_SECONDS:
            self._looked = now
            self.active = any(now < each.until for each in self._holds.values())
            if not self.active:
                self._held, self._holds = {}, {}
        hold = self._held.get(peer)
        if hold is None or now >= hold.until or patience > _PATIENT * hold.patience:
            return None
        return hold
