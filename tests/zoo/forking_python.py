"""Python with TensorFlow imported, for many programs: each is a fork of the one process that did.

    with ForkingPython() as python:
        done = python.run("-m", "zoo.cli", "export", "dense_iris", cwd=folder)
        done = python.run("-c", code, "an argument")

    program               python.executable     this module, --serve     a fork
       | -- arguments, ------>| -- folder, environment, -->|                 |
       |    streams           |    arguments, streams      | -- fork ------->| becomes the program
       |<-- status -----------|<-- status -----------------|<-- status ------|

TensorFlow takes a processor's seconds to import, and the tests want some forty programs that need
it, each in a process of its own. A fork begins where the import ended: nothing has been computed
yet, so it has no threads of TensorFlow's, and it ends like any other program. What differs from a
new process: the forks of one parent share a hash seed, and modules have been imported already.
`sys.executable` of a program is the one that asks for forks, so that what it starts is one, too.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]

#: What every fork has; nothing of the zoo's that runs code with it.
MODULES = ("tensorflow", "keras", "tf2onnx", "onnx", "sklearn")

BACKEND = "tensorflow"

#: The program that stands for Python: it asks for a fork and ends as that does, or is Python itself for a
#: backend or an option that a fork cannot take up any more. Its end before that is the fork's.
EXECUTABLE = """\
#!{python} -IS
import json, os, signal, socket, sys
if sys.argv[1:2] not in (["-m"], ["-c"]) or os.environ.get("KERAS_BACKEND", "{backend}") != "{backend}":
    os.execv("{python}", ["{python}", *sys.argv[1:]])
parent = socket.socket(socket.AF_UNIX)
parent.connect("{address}")
job = json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]]).encode()
socket.send_fds(parent, [len(job).to_bytes(4, "big")], [0, 1, 2])
parent.sendall(job)
for stream in (0, 1, 2):
    os.close(stream)
status = int(parent.makefile().readline() or -signal.SIGKILL)
if status < 0:
    signal.signal(-status, signal.SIG_DFL) if -status not in (signal.SIGKILL, signal.SIGSTOP) else None
    os.kill(os.getpid(), -status)
os._exit(status)
"""


class ForkingPython:
    """The process that forks, seen from the tests; it starts with the first program."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="forks-", dir="/tmp")  # a short address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate(timeout=30)  # the end of its input is its end
        self._folder.cleanup()

    def run(
        self,
        *arguments: object,
        cwd: Path = ROOT,
        env: dict[str, str] | None = None,
        timeout: float = 240,
    ) -> subprocess.CompletedProcess[str]:
        """Run `python -m MODULE ...` or `python -c CODE ...`; return its status and what it printed.

        Raises subprocess.TimeoutExpired after so many seconds, with the program killed.
        """
        words = [self.executable, *map(str, arguments)]
        return subprocess.run(
            words,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @property
    def executable(self) -> str:
        """The program that takes Python's arguments."""
        path = Path(self._folder.name, "python")
        if self._process is None:
            address = Path(self._folder.name, "socket")
            text = EXECUTABLE.format(python=sys.executable, backend=BACKEND, address=address)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o700)
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, address, path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=ROOT,
                text=True,
            )
            assert self._process.stdout is not None
            assert self._process.stdout.readline() == "ready\n"
        return str(path)


class Parent:
    """The process that imported the modules, and forks for each connection."""

    def __init__(self, address: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen()
        self._programs: dict[socket.socket, int] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin, selectors.EVENT_READ)

    def serve(self) -> list[Any] | None:
        """Fork until the input ends; in a fork, return what program it shall be."""
        print("ready", flush=True)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is sys.stdin:
                    self._end()
                    return None
                if key.fileobj is self._listener:
                    if job := self._fork(self._listener.accept()[0]):
                        return job
                elif key.data is not None:
                    self._report(key.fd, key.data)
                elif key.fileobj in self._programs:  # who asked has gone
                    os.kill(self._programs[key.fileobj], signal.SIGKILL)
                    self._selector.unregister(key.fileobj)

    def _fork(self, caller: socket.socket) -> list[Any] | None:
        """Fork for a caller; in the fork, return folder, environment and arguments."""
        length, streams, _, _ = socket.recv_fds(caller, 4, 3)
        with caller.makefile("rb") as file:
            job: list[Any] = json.loads(file.read(int.from_bytes(length, "big")))
        program = os.fork()
        if not program:
            for target, stream in enumerate(streams):
                os.dup2(stream, target)
                os.close(stream)
            for connection in (caller, self._listener, *self._programs):
                connection.close()
            self._selector.close()
            return job
        for stream in streams:
            os.close(stream)
        self._programs[caller] = program
        self._selector.register(caller, selectors.EVENT_READ)
        self._selector.register(os.pidfd_open(program), selectors.EVENT_READ, caller)
        return None

    def _report(self, descriptor: int, caller: socket.socket) -> None:
        """Tell the caller how its program ended."""
        _, status = os.waitpid(self._programs.pop(caller), 0)
        self._selector.unregister(descriptor)
        os.close(descriptor)
        if caller in self._selector.get_map():
            self._selector.unregister(caller)
            caller.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        caller.close()

    def _end(self) -> None:
        for program in self._programs.values():
            os.kill(program, signal.SIGKILL)
            os.waitpid(program, 0)


def main(address: str, executable: str) -> None:
    """Import, then fork for each connection; in a fork, go on as the program that was asked for."""
    from zoo.training.framework import ENVIRONMENT

    # As the zoo sets them before it imports TensorFlow, which reads them then.
    for name, value in {**ENVIRONMENT, "KERAS_BACKEND": BACKEND}.items():
        os.environ.setdefault(name, value)
    for name in MODULES:
        import_module(name)
    gc.freeze()  # else a fork copies every object, only to look at it on its way out
    if job := Parent(address).serve():
        multiprocessing.set_executable(sys.executable)  # which hands descriptors on
        sys.executable = executable
        _become(*job)


def _become(folder: str, environment: dict[str, str], arguments: list[str]) -> None:
    """Take the folder, the environment and the arguments of a program, and run it."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # it is looked up again
    how, program, *rest = arguments
    sys.path[0] = folder if how == "-m" else ""
    if how == "-m":
        sys.argv = [program, *rest]
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.argv = [how, *rest]
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main(*sys.argv[1:])
