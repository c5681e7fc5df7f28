"""The memory of this process, and what it may still take: of the machine, and of its cgroups.

/proc/self/statm                               pages: all, resident, …, data and stacks
/proc/meminfo                                  MemAvailable
/sys/fs/cgroup/a/b/memory.max, memory.current  v2; each folder above counts too
/sys/fs/cgroup/memory/a/memory.limit_in_bytes, memory.usage_in_bytes     v1
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

ReadFile = Callable[[str], str]

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Return how much of the process lies in memory; 0 where the kernel does not say."""
    return _statm(1)


def data_bytes() -> int:
    """Return what RLIMIT_DATA counts: private memory that may be written, in use or not."""
    return _statm(5)


def available_bytes(read: ReadFile | None = None) -> int | None:
    """Return how much more the process may take before something is killed, None if unknown."""
    read = read or _read
    limits = list(_cgroup_room(read))
    match = re.search(r"^MemAvailable:\s+(\d+) kB", read("/proc/meminfo"), re.MULTILINE)
    if match:
        limits.append(int(match[1]) * 1024)
    return max(0, min(limits)) if limits else None


def _cgroup_room(read: ReadFile) -> Iterator[int]:
    """Give what each cgroup above the process leaves; caches of files count as free."""
    for line in read("/proc/self/cgroup").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            mount, names = "/sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount = "/sys/fs/cgroup/memory"
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        for folder in folders_upwards(mount, path):
            limit, usage = (_number(read(f"{folder}/{name}")) for name in names[:2])
            if limit is not None and usage is not None:
                pattern = rf"^{names[2]} (\d+)"
                cached = re.search(pattern, read(f"{folder}/memory.stat"), re.MULTILINE)
                yield limit - usage + (int(cached[1]) if cached else 0)


def folders_upwards(mount: str, path: str) -> list[str]:
    """Return a cgroup's folder and those above; in a container only the mount itself may exist."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
    return ["/".join([mount, *parts[:depth]]) for depth in range(len(parts), -1, -1)]


def _number(text: str) -> int | None:
    """Return a limit or a usage; "max" is none, like v1's number for no limit."""
    text = text.strip()
    return int(text) if text.isdigit() and len(text) < 19 else None


def _statm(field: int) -> int:
    try:
        return int(_read("/proc/self/statm").split()[field]) * _PAGE
    except (IndexError, ValueError):
        return 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
