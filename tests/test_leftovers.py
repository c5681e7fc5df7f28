"""What a run of the tests has started ends with it, also when it is interrupted or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.waiting import is_running, until

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

#: A test that starts two servers, says which, and is still at work when the run ends.
TEST = """\
import sys, time
from pathlib import Path
from bench.process import ServerProcess as Apart  # in a session of its own
from tests.server.server_processes import ServerProcess

def test_at_work(tmp_path):
    (tmp_path / "models").mkdir()
    arguments = [str(tmp_path / "models"), "--grpc-port", "0"]
    server = ServerProcess(arguments)
    server.address()
    program = "import time; time.sleep(600)"
    apart = Apart([sys.executable, "-c", program], "0-1023", {}, tmp_path / "log")
    Path(__file__).with_suffix(".pids").write_text(f"{server.process.pid} {apart.pid}\\n")
    time.sleep(600)
"""


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [(signal.SIGINT, True), (signal.SIGKILL, False)],
    ids=["Ctrl-C", "SIGKILL"],
)
def test_no_server_outlives_the_run_that_started_it(tmp_path, number, whole_group):
    """Of two workers of pytest-xdist, each with a server, and with one that leads a session."""
    files = [tmp_path / f"test_{name}.py" for name in ("one", "two")]
    for file in files:
        file.write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", tmp_path]
    options = ["-n", "2", "--dist", "loadfile", "-p", "tests.leftovers", "-p", "no:cacheprovider"]
    run = subprocess.Popen(
        [*command, *options, f"--basetemp={tmp_path / 'tmp'}", *files],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        # A shell has its background jobs ignore it, and what these start inherits that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    servers: list[int] = []
    try:
        places = [file.with_suffix(".pids") for file in files]
        until(lambda: all(p.is_file() and p.read_text().endswith("\n") for p in places), 120)
        servers = [int(pid) for place in places for pid in place.read_text().split()]
        assert all(map(is_running, servers))

        (os.killpg if whole_group else os.kill)(run.pid, number)
        run.wait(60)

        until(lambda: not any(map(is_running, servers)), 30)
    finally:
        run.kill()
        run.wait()
        for pid in filter(is_running, servers):
            os.kill(pid, signal.SIGKILL)
