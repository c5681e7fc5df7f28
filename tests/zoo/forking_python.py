"""Python with TensorFlow imported, for many programs: each is a fork of the one process that did.

    with ForkingPython() as python:
        done = python.run("-m", "zoo.cli", "export", "dense_iris", cwd=folder)
        done = python.run("-c", code, "an argument")

TensorFlow takes a processor's seconds to import, and the tests want some forty programs that need
it, each in a process of its own. A fork begins where the import ended: nothing has been computed
yet, so it has no threads of TensorFlow's, and it ends like any other program. What differs from a
new process: the forks of one parent share a hash seed, and modules have been imported already.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]

#: What every fork has; nothing of the zoo's that runs code with it.
MODULES = ("tensorflow", "keras", "tf2onnx", "onnx", "sklearn")


class ForkingPython:
    """The process that forks, seen from the tests; it starts with the first program."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate(timeout=30)  # the end of its input is its end

    def run(
        self, *arguments: object, cwd: Path = ROOT, timeout: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """Run `python -m MODULE ...` or `python -c CODE ...`; return its status and what it printed.

        Raises subprocess.TimeoutExpired after so many seconds, with the program killed.
        """
        words = [str(argument) for argument in arguments]
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, name) for name in ("output", "errors")]
            job = {"arguments": words, "cwd": str(cwd), "streams": [str(path) for path in paths]}
            status = self._status(json.dumps(job), words, timeout)
            output, errors = (path.read_text(encoding="utf-8") for path in paths)
        return subprocess.CompletedProcess(words, status, output, errors)

    def _status(self, job: str, words: list[str], timeout: float) -> int:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,  # select() knows nothing of what a buffer holds
                cwd=ROOT,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(job.encode() + b"\n")
        program = int(self._process.stdout.readline())
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            os.kill(program, signal.SIGKILL)
            self._process.stdout.readline()
            raise subprocess.TimeoutExpired(words, timeout)
        return int(self._process.stdout.readline())


def main() -> None:
    """Import, then fork for each line of the input; in a fork, go on as the program of that line."""
    from zoo.training.framework import ENVIRONMENT

    # As the zoo sets them before it imports TensorFlow, which reads them then.
    for name, value in {**ENVIRONMENT, "KERAS_BACKEND": "tensorflow"}.items():
        os.environ.setdefault(name, value)
    for name in MODULES:
        import_module(name)
    gc.freeze()  # else a fork copies every object, only to look at it on its way out
    while line := sys.stdin.readline():
        program = os.fork()
        if not program:
            _become(json.loads(line))
            return
        print(program, flush=True)
        _, status = os.waitpid(program, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(job: dict[str, Any]) -> None:
    """Take the folder, the streams and the arguments of a program, and run it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [os.open(os.devnull, os.O_RDONLY), *(os.open(p, flags) for p in job["streams"])]
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(job["cwd"])
    how, program, *arguments = job["arguments"]
    if how == "-m":
        sys.argv = [program, *arguments]
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.argv = [how, *arguments]
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
