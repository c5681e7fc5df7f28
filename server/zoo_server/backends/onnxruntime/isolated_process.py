"""What runs in the process of an isolated model: one session, one run at a time.

A thread reads the socket, so that a run under way hears of its cancellation, and the process ends at
once when the server is gone.
"""

import os
import queue
import resource
import socket
import threading
from pathlib import Path

import numpy as np

from zoo_server.backends.onnxruntime.process_messages import OUT_OF_MEMORY, Closed, receive, send
from zoo_server.backends.onnxruntime.runtime import Runtime
from zoo_server.backends.onnxruntime.session import Session
from zoo_server.errors import ModelLoadError, ServerError
from zoo_server.inference.cancellation import Cancellation

#: The outputs and feeds of a run, and what ends it.
Run = tuple[tuple[list[str], dict[str, np.ndarray]], Cancellation]


def main(descriptor: int) -> None:
    """Serve one session on a socket until its other end is closed."""
    connection = socket.socket(fileno=descriptor)
    path, provider, threads, memory_bytes, settings = receive(connection)
    try:
        if memory_bytes:
            resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        runtime = Runtime(provider=provider, threads=threads, memory_bytes=memory_bytes)
        session = runtime.open(Path(path), threads, Cancellation(), settings)
    except ServerError as error:
        send(connection, error)
        return
    except (MemoryError, OSError, ValueError) as error:
        send(connection, ModelLoadError(f"its own process cannot load it: {error!r}"))
        return
    send(
        connection,
        (session.provider, session.inputs, session.outputs, session.traits, session.nodes),
    )
    _serve(connection, session)


def _serve(connection: socket.socket, session: Session) -> None:
    runs: queue.SimpleQueue[Run] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, runs), daemon=True).start()
    while True:
        (outputs, feeds), cancellation = runs.get()
        answer: list[np.ndarray] | ServerError
        try:
            answer = session.run(outputs, feeds, cancellation=cancellation)
        except ServerError as error:
            answer = error
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        try:
            send(connection, answer)
        except Closed:
            os._exit(0)
        except MemoryError:
            os._exit(OUT_OF_MEMORY)


def _read(connection: socket.socket, runs: queue.SimpleQueue[Run]) -> None:
    cancellation = Cancellation()
    while True:
        try:
            request = receive(connection)
        except Closed:
            os._exit(0)
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        if request is None:
            cancellation.cancel()
        else:
            cancellation = Cancellation()
            runs.put((request, cancellation))
