"""The response cache: what models answered, by request, in so many bytes; the least recently used goes first.

One cache serves every model, as Triton's `local` cache does. Who inserts is a number of its own: what
a model that is gone has inserted is never looked up again, and `sweep` takes it out.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Hashable
from itertools import count
from typing import Generic, TypeVar

#: What an entry takes beside the bytes that it is said to have: key, arrays, places in two tables.
ENTRY_BYTES = 1024

#: Between two sweeps.
SWEEP_SECONDS = 1.0

#: Entries that `sweep` takes out before others get their turn.
_AT_A_TIME = 256

V = TypeVar("V")

#: Who inserted it, and what the request was.
Key = tuple[int, Hashable]


class ResponseCache(Generic[V]):
    """Answers by their requests; used by any number of threads at once."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        #: The least recently used first: each value, and what it takes.
        self._entries: OrderedDict[Key, tuple[V, int]] = OrderedDict()
        self._keys: dict[int, set[Key]] = {}
        self._owners = count(1)
        self._gone: deque[int] = deque()
        self._used_bytes = 0
        #: Lookups, those that found something, and entries that made room for others.
        self.lookups = self.hits = self.evictions = 0

    @property
    def utilization(self) -> float:
        """The part of its bytes that is in use."""
        return self._used_bytes / self._max_bytes

    @property
    def used_bytes(self) -> int:
        """What all entries take."""
        return self._used_bytes

    def __len__(self) -> int:
        return len(self._entries)

    def new_owner(self) -> int:
        """Return a number that no other has."""
        return next(self._owners)

    def lookup(self, key: Key) -> V | None:
        """Return what was inserted, None if it is not there."""
        with self._lock:
            self.lookups += 1
            entry = self._entries.get(key)
            if entry is None:
                return None
            self.hits += 1
            self._entries.move_to_end(key)
            return entry[0]

    def has_room(self, nbytes: int) -> bool:
        """Tell whether a value of so many bytes fits at all."""
        return nbytes + ENTRY_BYTES <= self._max_bytes

    def insert(self, key: Key, value: V, nbytes: int) -> None:
        """Keep a value of so many bytes, which has_room; others make room for it."""
        total = nbytes + ENTRY_BYTES
        with self._lock:
            self._remove(key)
            self._entries[key] = value, total
            self._keys.setdefault(key[0], set()).add(key)
            self._used_bytes += total
            while self._used_bytes > self._max_bytes:
                self._remove(next(iter(self._entries)))
                self.evictions += 1

    def forget(self, owner: int) -> None:
        """Have `sweep` take out what one has inserted, and inserts no more; safe wherever it is called."""
        self._gone.append(owner)

    def sweep(self) -> None:
        """Take out what was inserted by those that are gone."""
        while self._gone:
            with self._lock:
                keys = self._keys.get(self._gone[0], set())
                for _ in range(min(_AT_A_TIME, len(keys))):
                    self._remove(next(iter(keys)))
                if not keys:
                    self._gone.popleft()

    def _remove(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._used_bytes -= entry[1]
        keys = self._keys[key[0]]
        keys.discard(key)
        if not keys:
            del self._keys[key[0]]
