"""What a server counts as a whole, and not by model: calls refused unread, and the response cache.

    each process ──> a value a sample ──> added up by the supervisor ──> the metrics' page

The names of the cache's metrics are those that Triton's cache had before it became a plugin.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Protocol

REFUSED = "nv_server_request_refused"

#: Name, type and help of each metric.
METRICS: tuple[tuple[str, str, str], ...] = (
    (REFUSED, "counter", "Number of calls refused for no model, most of them unread, by reason"),
    ("nv_cache_num_entries", "gauge", "Number of responses in the response cache"),
    ("nv_cache_num_lookups", "counter", "Number of response cache lookups"),
    ("nv_cache_num_hits", "counter", "Number of response cache hits"),
    ("nv_cache_num_misses", "counter", "Number of response cache misses"),
    ("nv_cache_num_evictions", "counter", "Number of responses that made room for others"),
    ("nv_cache_util", "gauge", "Part of the response cache that is in use [0.0 - 1.0]"),
)

_COUNTERS = frozenset(name for name, kind, _ in METRICS if kind == "counter")

#: Each sample's value, by its name with its labels.
Counts = Mapping[str, float]


class Refusal(StrEnum):
    """Why a call was refused before it reached a model."""

    #: Its connection brought more calls for a model than that can answer in time.
    OVERLOAD = "OVERLOAD"
    #: As many calls or streams were under way as may be.
    CONCURRENCY = "CONCURRENCY"
    #: Its caller had more under way, or sent more a second, than each may.
    QUOTA = "QUOTA"
    #: Its token is missing, not the server's, or not good for the call.
    TOKEN = "TOKEN"


class CacheCounts(Protocol):
    """What a response cache counts."""

    lookups: int
    hits: int
    evictions: int

    @property
    def utilization(self) -> float:
        """The part of its bytes that is in use."""

    def __len__(self) -> int:
        """How many entries there are."""


class ServerCounts:
    """The counts of one process; any thread may use it."""

    def __init__(self, cache: CacheCounts | None = None, share: int = 1) -> None:
        """`cache` has one of `share` parts of the server's."""
        self._cache = cache
        self._share = share
        self._lock = threading.Lock()
        self._refused = dict.fromkeys(Refusal, 0)

    def refused(self, reason: Refusal) -> None:
        """Count a call that was refused."""
        with self._lock:
            self._refused[reason] += 1

    def read(self) -> Counts:
        """Return every sample's value."""
        counts: dict[str, float] = {
            f'{REFUSED}{{reason="{reason}"}}': count for reason, count in self._refused.items()
        }
        cache = self._cache
        if cache is not None:
            hits, lookups = cache.hits, cache.lookups
            counts |= {
                "nv_cache_num_entries": len(cache),
                "nv_cache_num_lookups": lookups,
                "nv_cache_num_hits": hits,
                "nv_cache_num_misses": lookups - hits,
                "nv_cache_num_evictions": cache.evictions,
                "nv_cache_util": cache.utilization / self._share,
            }
        return counts


def add(several: Iterable[Counts]) -> Counts:
    """Add the counts of several processes."""
    sums: dict[str, float] = {}
    for counts in several:
        for sample, value in counts.items():
            sums[sample] = sums.get(sample, 0) + value
    return sums


def lasting(counts: Counts) -> Counts:
    """Return what still counts of a process that has ended."""
    return {
        sample: value for sample, value in counts.items() if sample.partition("{")[0] in _COUNTERS
    }


def text_of(
    counts: Counts, head: Callable[[str, str, str], str], number: Callable[[float], str]
) -> str:
    """Return the lines of the metrics' page; a metric without a sample has none."""
    lines = []
    for name, kind, text in METRICS:
        samples = [sample for sample in counts if sample.partition("{")[0] == name]
        if samples:
            lines.append(head(name, text, kind))
            lines += [f"{sample} {number(counts[sample])}\n" for sample in samples]
    return "".join(lines)
