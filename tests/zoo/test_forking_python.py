"""Programs that are forks: as separate, and as mortal, as any process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.waiting import is_running, until

#: Starts itself again through `sys.executable`, and says whether TensorFlow was there before.
NESTED = """
import subprocess, sys
said = "import sys; print('tensorflow' in sys.modules, sys.argv[1:], __name__)"
print(subprocess.run([sys.executable, "-c", said, "a b"], capture_output=True, text=True).stdout)
"""

#: Starts a program that waits, kills it once it has said its number, and says that.
KILLS = """
import subprocess, sys
waits = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
with subprocess.Popen([sys.executable, "-c", waits], stdout=subprocess.PIPE, text=True) as process:
    print(process.stdout.readline())
    process.kill()
"""


def test_what_a_program_starts_is_a_fork_too(python) -> None:
    """`zoo export FILE` runs the export in a process of its own."""
    assert python("-c", NESTED).stdout.strip() == "True ['a b'] __main__"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("pass", 0),
        ("import sys; sys.exit(3)", 3),
        ("raise ValueError", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    ],
)
def test_it_ends_as_its_program_does(python, code: str, status: int) -> None:
    """By a signal, too."""
    assert python("-c", code).returncode == status


def test_it_has_folder_environment_and_streams_of_its_caller(python, tmp_path: Path) -> None:
    """And changes nobody else's."""
    code = "import os, sys; print(os.getcwd(), os.environ.get('MINE')); print('words', file=sys.stderr)"
    done = python("-c", code, cwd=tmp_path, env={"PATH": "", "MINE": "1"})

    assert (done.stdout, done.stderr) == (f"{tmp_path} 1\n", "words\n")
    assert python("-c", code).stdout.endswith(" None\n")


def test_a_program_ends_with_who_asked_for_it(python) -> None:
    """As at a time-out, which kills its caller."""
    program = int(python("-c", KILLS).stdout)

    until(lambda: not is_running(program))


def test_another_backend_is_a_new_process(python) -> None:
    """Keras has been imported with TensorFlow."""
    code = "import sys; print('keras' in sys.modules)"

    assert python("-c", code, env={**os.environ, "KERAS_BACKEND": "jax"}).stdout == "False\n"
