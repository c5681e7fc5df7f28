"""A server's process tree: found whole, measured, stopped whole."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.process import ServerProcess, memory_kb
from tests.waiting import is_running, until

#: Says the number of its child, which burns a little time and then waits for ever.
PROGRAM = """\
import subprocess, sys, time
child = "import sys,time; sum(range(3_000_000)); print('done', flush=True); time.sleep(600)"
process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
process.stdout.readline()
print(process.pid, flush=True)
time.sleep(600)
"""

#: Says the number of the server that it starts, and measures it for ever.
MEASURING = """\
import sys, time
from pathlib import Path
from bench.process import ServerProcess, stop_servers_on_sigterm
stop_servers_on_sigterm()
server = ServerProcess([sys.executable, "-c", "import time; time.sleep(600)"], "0-1023", {}, Path(sys.argv[1]))
try:
    print(server.pid, flush=True)
    time.sleep(600)
finally:
    server.stop()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def started(tmp_path: Path, program: str) -> ServerProcess:
    core = min(os.sched_getaffinity(0))
    return ServerProcess([sys.executable, "-c", program], core, {}, tmp_path / "log")


def test_children_are_counted_and_stopped_with_their_parent(tmp_path):
    """What the child used is the server's, and nothing is left when it is stopped."""
    process = started(tmp_path, PROGRAM)
    try:
        took = process.wait_until(lambda: (tmp_path / "log").read_text().endswith("\n"), 60)
        child = int((tmp_path / "log").read_text())

        assert is_running(child)
        assert 0 < process.cpu_seconds() < 60
        assert 1 < process.memory_mb() <= process.resident_mb()
        assert 0 < took < 60
    finally:
        process.stop()

    until(lambda: not is_running(child))
    process.stop()


def test_a_server_that_ends_is_not_waited_for(tmp_path):
    """The status is said at once, and the log's complaint is kept."""
    process = started(tmp_path, "print('starting'); print('fatal error: no model'); exit(3)")

    with pytest.raises(TimeoutError, match="ended with status 3"):
        process.wait_until(lambda: False, 60)

    assert process.has_ended()
    assert process.log_tail() == "fatal error: no model"
    process.stop()


def test_a_program_that_is_told_to_end_stops_its_servers(tmp_path):
    """They lead groups of their own, and would stay."""
    command = [sys.executable, "-c", MEASURING, tmp_path / "log"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        server = int(program.stdout.readline())
        assert is_running(server)

        program.terminate()

        assert program.wait(60) == 128 + signal.SIGTERM
    until(lambda: not is_running(server))


def test_memory_is_read_by_the_name_of_the_field():
    """Pss_Anon and its like are parts of Pss, not more of it."""
    lines = ["Rss:  100 kB", "Pss:   40 kB", "Pss_Anon:  30 kB"]

    assert memory_kb(lines, "Pss:") == 40
    assert memory_kb(lines, "Rss:") == 100


@pytest.mark.parametrize(
    ("line", "ports"),
    [
        ("ready: gRPC on 127.0.0.1:81, HTTP on 127.0.0.1:82, metrics on [::1]:83, 3 models", (81, 82)),
        ("ready: gRPC on 127.0.0.1:81, 3 models, 0 unavailable", (81, 0)),
    ],
)  # fmt: skip
def test_the_ports_of_a_server_are_those_that_it_logs(tmp_path, line, ports):
    """Also without HTTP; until the line is whole they are not known."""
    process = started(tmp_path, f"import time; print({line!r}, flush=True); time.sleep(600)")
    try:
        assert process.ports() == ports
    finally:
        process.stop()


def test_a_server_that_ends_says_why_it_has_no_ports(tmp_path):
    """The error has the end of the log."""
    process = started(tmp_path, "raise SystemExit('error: the port is in use')")
    try:
        with pytest.raises(
            TimeoutError, match="the server does not start: error: the port is in use"
        ):
            process.ports()
    finally:
        process.stop()
