"""The limits of each caller: how many inference requests may be under way, and come in a second.

    enter(metadata, peer) ──> QuotaExceeded, or what to call once the request is over

A caller is a token where the server asks for one, else an address (IPv6: a /64 network). A second's worth
may come at once.
"""

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial

from zoo_server.errors import QuotaExceeded
from zoo_server.protocols.auth import HEADER, digest

Metadata = Iterable[tuple[str, str | bytes]]

#: So many callers are known before those are forgotten that have nothing under way and all of a second left.
_MANY = 4096


class _Account:
    __slots__ = ("at", "left", "under_way")

    def __init__(self, left: float, now: float) -> None:
        self.under_way = 0
        #: How many requests may come, as of a moment.
        self.left, self.at = left, now


class CallerLimits:
    """What every caller is granted; any thread may use it."""

    def __init__(
        self,
        most: int,
        per_second: float,
        *,
        by_token: bool,
        on_refusal: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`most` requests under way and `per_second`, 0 for any number."""
        self._most = most
        self._per_second = per_second
        self._burst = max(1.0, per_second)
        self._by_token = by_token
        self._on_refusal = on_refusal
        self._clock = clock
        self._lock = threading.Lock()
        self._accounts: dict[str | bytes, _Account] = {}

    def enter(self, metadata: Metadata, peer: Callable[[], str]) -> Callable[[], None]:
        """Let a request in; return what to call once it is over.

        QuotaExceeded if its caller has as many under way as it may, or has brought too many of late.
        `peer` returns its address, "" where other programs answer for it, which are not limited.
        """
        caller = self._caller(metadata) or peer()
        if not caller:
            return _nothing
        with self._lock:
            error = self._take(caller)
        if error is not None:
            self._on_refusal()
            raise error
        return partial(self._leave, caller)

    def _caller(self, metadata: Metadata) -> bytes | None:
        if self._by_token:
            for name, value in metadata:
                if name == HEADER:
                    return digest(value.encode() if isinstance(value, str) else value)
        return None

    def _take(self, caller: str | bytes) -> QuotaExceeded | None:
        now = self._clock()
        account = self._accounts.get(caller)
        if account is None:
            if len(self._accounts) >= _MANY:
                self._forget(now)
            account = self._accounts[caller] = _Account(self._burst, now)
        if self._most and account.under_way >= self._most:
            return QuotaExceeded(
                f"a caller may have {self._most} requests under way: wait for an answer, or ask for a "
                "higher --max-requests-per-caller"
            )
        if self._per_second:
            account.left = self._left(account, now)
            account.at = now
            if account.left < 1:
                return QuotaExceeded(
                    f"a caller may send {self._per_second:g} requests a second: send fewer, or ask for a "
                    "higher --max-requests-per-second-per-caller",
                    retry_ms=1 + int(1000 * (1 - account.left) / self._per_second),
                )
            account.left -= 1
        account.under_way += 1
        return None

    def _left(self, account: _Account, now: float) -> float:
        return min(self._burst, account.left + (now - account.at) * self._per_second)

    def _leave(self, caller: str | bytes) -> None:
        with self._lock:
            account = self._accounts[caller]
            account.under_way -= 1
            if not account.under_way and not self._per_second:
                del self._accounts[caller]

    def _forget(self, now: float) -> None:
        self._accounts = {
            caller: account
            for caller, account in self._accounts.items()
            if account.under_way or self._left(account, now) < self._burst
        }


def _nothing() -> None:
    """What there is to do for a request that nothing limits."""
