"""Who may come in: counts the calls under way, and turns new ones away once the server is leaving."""

import threading

from zoo_server.errors import ServerExiting


class Admission:
    """The door of the server, a context manager around a call or a pair of enter and leave."""

    def __init__(self) -> None:
        # A plain lock: the condition's own is entered in Python, and this is once or twice a call.
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._under_way = 0
        self._open = True

    def enter(self) -> None:
        """Let one call in; ServerExiting once the door is closed (docs/protocol.md 1c)."""
        with self._lock:
            if not self._open:
                raise ServerExiting("Server exiting")
            self._under_way += 1

    def leave(self) -> None:
        """Note that one call is over."""
        with self._lock:
            self._under_way -= 1
            if not self._under_way:
                self._idle.notify_all()

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, *_: object) -> None:
        self.leave()

    def close(self) -> None:
        """Turn away whoever comes from now on."""
        with self._lock:
            self._open = False

    def wait_until_idle(self, seconds: float) -> int:
        """Wait for the calls under way, at most so long; return how many are left."""
        with self._lock:
            self._idle.wait_for(lambda: not self._under_way, timeout=seconds)
            return self._under_way
