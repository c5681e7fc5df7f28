"""A server in a process of its own: its log, its signals and its memory."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.http_callers import HttpCaller


class ServerProcess:
    """A server in its own process, with its log."""

    def __init__(self, arguments: list[str], first: str = "") -> None:
        """`first` is a program of its own, run before the server's."""
        program = first + (
            "\nimport argparse, sys; from zoo_server.main import serve; from zoo_server.config import *;"
            "parser = argparse.ArgumentParser(); parser.add_argument('repository');"
            "ServerConfig.add_arguments(parser);"
            "sys.exit(serve(ServerConfig.from_arguments(parser.parse_args())))"
        )
        ports = ["--http-port", "off", "--metrics-port", "off"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *ports, *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "GRPC_VERBOSITY": "NONE"},
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._queue.put(line)
        self._queue.put(None)

    def wait_for(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """Read the log until a line matches; fail with the log if it ends before."""
        while True:
            line = self._queue.get(timeout=seconds)
            if line is None:
                pytest.fail("the server ended:\n" + "".join(self.lines))
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match

    def address(self) -> str:
        return self.wait_for(r"ready: gRPC on (\S+),").group(1)

    def workers(self) -> list[int]:
        """Return the process ids of its workers, the oldest first."""
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def cpu_ticks(self) -> int:
        """Return the processor time that it and its workers have used, in clock ticks."""
        pids = [self.process.pid, *self.workers()]
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
        return sum(int(each[11]) + int(each[12]) for each in fields)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def finish(self, seconds: float = 60) -> tuple[int, str]:
        """Wait for the end; return exit status and the whole log."""
        status = self.process.wait(seconds)
        self._reader.join()
        while (line := self._queue.get_nowait()) is not None:
            self.lines.append(line)
        return status, "".join(self.lines)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


class RestProcess(HttpCaller):
    """A server in its own process, asked over HTTP; what it holds is its own, not the tests'."""

    def __init__(self, *arguments: str) -> None:
        self.process = ServerProcess([*arguments, "--grpc-port", "0", "--http-port", "0"])
        self.address = self.process.wait_for(r"ready: .*HTTP on ([^\s,]+)").group(1)
        self._status = Path(f"/proc/{self.process.process.pid}/status")
        super().__init__(self.address, timeout=10)

    def _kb(self, name: str) -> int:
        match = re.search(rf"^{name}:\s+(\d+) kB", self._status.read_text(), re.MULTILINE)
        assert match is not None
        return int(match.group(1))

    def rise_kb(self, work: Callable[[], object]) -> int:
        """Return by how much the server's memory rose at most while it did some work."""
        self._status.with_name("clear_refs").write_text("5")  # the peak is that of from now on
        before = self._kb("VmRSS")
        work()
        return self._kb("VmHWM") - before

    def growth_kb(self, work: Callable[[], object]) -> int:
        """Return how much more memory the server holds after some work than before."""
        before = self._kb("VmRSS")
        work()
        return self._kb("VmRSS") - before

    def close(self) -> None:
        super().close()
        self.process.close()
