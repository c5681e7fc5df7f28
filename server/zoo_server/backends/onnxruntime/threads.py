"""How many threads the server may compute with: what the cgroup and the affinity leave it.

onnxruntime counts the host's CPUs, which in a container is far too many (onnxruntime#29510). The
decision is a pure function of the affinity and of the text of a few files:

    /proc/self/cgroup                       0::/a/b          (v2)   4:cpu,cpuacct:/a/b   (v1)
    /sys/fs/cgroup/a/b/cpu.max              "150000 100000"  1.5 CPUs; "max 100000" no limit
    /sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us and cpu.cfs_period_us; quota -1: no limit
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zoo_server.schedulers.scheduler import WouldWait
from zoo_server.telemetry.memory import folders_upwards

ReadFile = Callable[[str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadBudget:
    """A number of threads and, in words, where it comes from."""

    threads: int
    why: str

    def shared_by(self, processes: int) -> "ThreadBudget":
        """Return the part of each of some processes: at least one thread."""
        if processes == 1:
            return self
        return ThreadBudget(
            threads=max(1, self.threads // processes),
            why=f"{self.why}; shared by {processes} workers",
        )


def decide(requested: int, affinity: int, quota: float | None) -> ThreadBudget:
    """Return the budget: what was requested, else the smaller of affinity and quota, at least 1.

    A broken quota is rounded down: the last fraction of a CPU would be spent waiting, throttled.
    """
    if requested > 0:
        return ThreadBudget(threads=requested, why="as asked for")
    limits = f"CPU affinity allows {affinity}"
    threads = affinity
    if quota is not None:
        limits += f", the cgroup's quota is {quota:g} CPUs"
        threads = min(threads, int(quota))
    return ThreadBudget(threads=max(1, threads), why=limits)


class ThreadLimiter:
    """Shares the budget between sessions: runs that want several threads take turns for them.

    Sessions have thread pools of their own, since onnxruntime's common pool cannot be kept from
    spinning; without the limiter, two large models at once would use twice the budget. First come,
    first served, so that a run that wants many threads is not overtaken for ever.
    """

    def __init__(self, threads: int) -> None:
        self._lock = threading.Lock()
        #: The budget that is shared.
        self.threads = self._free = threads
        self._waiting: deque[tuple[int, threading.Lock]] = deque()

    @contextmanager
    def taking(self, threads: int, *, waits: bool = True) -> Iterator[None]:
        """Hold so many threads of the budget (all of it, if more) for as long as the block runs.

        Without `waits`, WouldWait if they are not free at once.
        """
        count = min(threads, self.threads)
        turn = threading.Lock()
        with self._lock:
            if not self._waiting and count <= self._free:
                self._free -= count
            elif waits:
                turn.acquire()
                self._waiting.append((count, turn))
            else:
                raise WouldWait
        turn.acquire()
        try:
            yield
        finally:
            with self._lock:
                self._free += count
                self._admit()

    def _admit(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            count, turn = self._waiting.popleft()
            self._free -= count
            turn.release()


def cgroup_quota(read: ReadFile) -> float | None:
    """Return the CPUs that the process's cgroup and all above it allow, or None for no limit.

    Inside a container the path of /proc/self/cgroup often does not exist under /sys/fs/cgroup,
    because the container sees its own cgroup as the root; walking up ends at that root.
    """
    quotas: list[float] = []
    for line in (read("/proc/self/cgroup") or "").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            files = [f"{folder}/cpu.max" for folder in folders_upwards("/sys/fs/cgroup", path)]
            quotas += [quota for file in files if (quota := _v2(read(file))) is not None]
        elif "cpu" in controllers.split(","):
            for mount in ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"):
                for folder in folders_upwards(mount, path):
                    quota = _v1(
                        read(f"{folder}/cpu.cfs_quota_us"), read(f"{folder}/cpu.cfs_period_us")
                    )
                    if quota is not None:
                        quotas.append(quota)
    return min(quotas, default=None)


def _v2(text: str | None) -> float | None:
    fields = (text or "").split()
    return _ratio(fields[0], fields[1]) if len(fields) == 2 else None


def _v1(quota: str | None, period: str | None) -> float | None:
    return _ratio(quota.strip(), period.strip()) if quota and period else None


def _ratio(quota: str, period: str) -> float | None:
    try:
        numerator, denominator = int(quota), int(period)
    except ValueError:
        return None  # "max", or not what it should be: no limit
    return numerator / denominator if numerator > 0 and denominator > 0 else None


def measure(requested: int) -> ThreadBudget:
    """Return the budget of this process on this machine."""
    return decide(requested, len(os.sched_getaffinity(0)), cgroup_quota(_read_file))


def _read_file(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
