"""A server as a process tree: started on chosen cores, measured from /proc, and stopped."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


class ServerProcess:
    """One server and everything it starts."""

    def __init__(
        self, command: Sequence[str], cores: set[int], env: Mapping[str, str], log: Path
    ) -> None:
        self.started = time.perf_counter()
        self._log = log.open("wb")
        self._process = subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, sorted(cores))), *command],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
            start_new_session=True,
        )

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> float:
        """Ask until it answers; return the seconds since its start. TimeoutError if it never does."""
        while time.perf_counter() - self.started < seconds:
            if self._process.poll() is not None:
                raise TimeoutError(f"it ended with status {self._process.returncode}")
            if ready():
                return time.perf_counter() - self.started
            time.sleep(0.01)
        raise TimeoutError(f"no answer within {seconds:g} s")

    def cpu_seconds(self) -> float:
        """Return the CPU time that the tree has used so far."""
        ticks = 0
        for pid in self._tree():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICK

    def memory_mb(self) -> float:
        """Return the proportional resident memory of the tree, in MB."""
        total = 0
        for pid in self._tree():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in text.splitlines() if line[:4] == "Pss:")
        return total / 1000

    def _tree(self) -> list[int]:
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
        found, todo = [], [self._process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += parents.get(pid, [])
        return found

    def stop(self) -> None:
        """End the whole tree, whatever it does."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        self._log.close()
