"""The process of an isolated model, as the server sees it: start, load, run, cancel, end.

What runs in it is server/zoo_server/backends/onnxruntime/isolated_process.py.
"""

import pickle
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import numpy as np

from zoo_server.backends.onnxruntime.process_messages import Closed, receive, send
from zoo_server.datatypes import TensorSpec
from zoo_server.errors import ServerError
from zoo_server.model_config import GraphTraits, SessionSettings

#: What it is started with: the graph's path, --provider, threads, bytes of memory (0 without limit).
Spec = tuple[str, str, int, int, SessionSettings]

#: What it tells of the graph: the provider, inputs, outputs, traits, and the nodes of each provider.
Loaded = tuple[
    str, tuple[TensorSpec, ...], tuple[TensorSpec, ...], GraphTraits, tuple[tuple[str, int], ...]
]

_PROGRAM = (
    "import pickle, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from zoo_server.backends.onnxruntime.isolated_process import main; main(int(sys.argv[1]))"
)

#: How long a process may take to end once its socket is closed.
_END_SECONDS = 2.0


class ModelProcess:
    """One process that holds a session."""

    def __init__(self, spec: Spec) -> None:
        """Start it; OSError if there can be none."""
        self._socket, theirs = socket.socketpair()
        self._began = time.monotonic()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            )
        self._sending = threading.Lock()
        self._is_loaded = False
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(pickle.dumps(sys.path))
        self._send(spec)

    def loaded(self) -> Loaded:
        """Wait until the graph is loaded; return what is to be known of it."""
        loaded: Loaded = self._answer()
        self._is_loaded = True
        return loaded

    def run(self, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return the named outputs, or raise the run's error; Closed if the process ends."""
        self._send((outputs, feeds))
        arrays: list[np.ndarray] = self._answer()
        return arrays

    def cancel(self) -> None:
        """Tell it to end the run under way, if there is one."""
        with suppress(Closed):
            self._send(None)

    def kill_unless_loaded(self) -> None:
        """End it by force while it loads, which cannot be interrupted."""
        if not self._is_loaded:
            self._process.kill()

    def close(self) -> tuple[int, float]:
        """Let it end; return its status and how long it lived."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes a run that waits for its answer
        self._socket.close()
        try:
            status = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        return status, time.monotonic() - self._began

    def _send(self, message: object) -> None:
        with self._sending:
            send(self._socket, message)

    def _answer(self) -> Any:
        answer = receive(self._socket)
        if isinstance(answer, ServerError):
            raise answer
        return answer
