"""A server as a process tree: started on one core, measured from /proc, and stopped whole."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

_TICK = os.sysconf("SC_CLK_TCK")

#: What `zoo serve` logs once it answers.
_READY = re.compile(r"ready: gRPC on \S+:(\d+),(?: HTTP on \S+:(\d+),)?.*\n")

#: What a server may take to end after SIGTERM, before it is killed.
_STOP_SECONDS = 5


def stop_servers_on_sigterm() -> None:
    """End this program with an exception when it is told to, so that what it started is stopped on the way out.

    Servers lead groups of their own and outlive a program that a signal ends: `finally` is not reached.
    """
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


class ServerProcess:
    """One server and everything it starts."""

    def __init__(
        self,
        command: Sequence[str],
        cores: int | str,
        env: Mapping[str, str],
        log: Path,
        shared_memory: str = "",
    ) -> None:
        """Start it; its output goes to the log. `cores` is as taskset writes them.

        `shared_memory` is the prefix of segments that it leaves behind when it is killed.
        """
        self._shared_memory = shared_memory
        self.started = time.perf_counter()
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(cores), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                # A group of its own: Ctrl-C reaches us alone, and we stop the whole group.
                start_new_session=True,
            )
        _pass_on_niceness(self._process.pid)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> float:
        """Ask until it answers; return the seconds since its start. TimeoutError if it never does."""
        while time.perf_counter() - self.started < seconds:
            if self._process.poll() is not None:
                raise TimeoutError(f"it ended with status {self._process.returncode}")
            if ready():
                return time.perf_counter() - self.started
            time.sleep(0.005)
        raise TimeoutError(f"no answer within {seconds:g} s")

    def ports(self, seconds: float = 60) -> tuple[int, int]:
        """Wait until `zoo serve` answers; return its ports of gRPC and HTTP, 0 for one that is off.

        TimeoutError, with the end of its log, if it does not.
        """
        try:
            self.wait_until(lambda: _READY.search(self._log.read_text()) is not None, seconds)
        except TimeoutError:
            raise TimeoutError(f"the server does not start: {self.log_tail()}") from None
        match = _READY.search(self._log.read_text())
        assert match is not None
        return int(match[1]), int(match[2] or 0)

    def has_ended(self) -> bool:
        """Tell whether it ended by itself."""
        return self._process.poll() is not None

    def log_tail(self) -> str:
        """Return the last two lines of its log that name a failure, else the last two, on one line."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        failures = [
            line
            for line in lines
            if re.search(r"fail|error|abort|signal|exception", line, re.IGNORECASE)
        ]
        return " / ".join(" ".join(line.split()) for line in (failures or lines)[-2:])[:300]

    def cpu_seconds(self) -> float:
        """Return the CPU time that the tree has used so far, in ticks of 10 ms."""
        ticks = 0
        for pid in self._tree():
            fields = _stat(pid)
            if fields:
                # utime, stime, and those of children that have ended (proc(5), fields 14 to 17).
                ticks += sum(map(int, fields[11:15]))
        return ticks / _TICK

    def memory_mb(self) -> float:
        """Return the proportional resident memory (PSS) of the tree, in 10⁶ bytes."""
        return self._memory("Pss:")

    def resident_mb(self) -> float:
        """Return the resident memory (RSS) of the tree, pages shared inside it counted each time."""
        return self._memory("Rss:")

    def stop(self) -> None:
        """End the whole tree, whatever it does; doing it twice is no harm."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(_STOP_SECONDS)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        if self._shared_memory:
            for segment in Path("/dev/shm").glob(f"{self._shared_memory}*"):
                segment.unlink(missing_ok=True)

    def _memory(self, field: str) -> float:
        total = 0
        for pid in self._tree():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:  # it has ended since
                continue
            total += memory_kb(text.splitlines(), field)
        return total * 1024 / 1e6

    def _tree(self) -> list[int]:
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (fields := _stat(int(entry.name))):
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
        pids, todo = [], [self._process.pid]
        while todo:
            pid = todo.pop()
            pids.append(pid)
            todo += parents.get(pid, [])
        return pids


def _pass_on_niceness(pid: int) -> None:
    """Give a process that leads a session the weight that ours has by `nice`.

    Linux weighs sessions before it weighs their processes (sched(7), autogroup): beside other sessions, that of a
    server which was started by `nice -n -20` would have no more weight than without.
    """
    with suppress(OSError):
        niceness = os.getpriority(os.PRIO_PROCESS, 0)
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness))


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name; none if the process has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # the name may hold blanks and brackets


def memory_kb(lines: Iterable[str], field: str) -> int:
    """Return one field of /proc/PID/smaps_rollup, in KiB."""
    return sum(int(line.split()[1]) for line in lines if line.startswith(field))
