"""The runtimes that run in this process, behind one interface: onnxruntime and the ONNX reference.

Where the reference cannot judge, onnxruntime runs the graph as it is written, without its own
optimization: other kernels, and nothing folded or fused.

A runtime that is not installed has no version; `prove` notes it and goes on with the others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from zoo.parity.compare import Arrays, Session
from zoo.parity.external_data import bytes_on_disk
from zoo.parity.reference import OnnxReference
from zoo.version import installed_version
from zoo_server.repository.graph_bytes import with_weights_in_place

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Nothing is proven without it: the runtime that the server uses.
DECISIVE = "onnxruntime"

#: Runs in the place of the reference evaluator where that is left out.
STAND_IN = "onnxruntime-unoptimized"

CPU = ("CPUExecutionProvider",)

#: onnxruntime's option for the folder of external data.
EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"

#: Bytes of a model's files from which memory comes before time: no arena, and weights are read one by one.
LARGE_FILE = 2**25


class Runtime(Protocol):
    """What the proof needs of a runtime."""

    name: str

    def version(self) -> str | None:
        """Return the installed version, None if it is not installed; imports nothing heavy."""

    def load(self, model: Path) -> Session:
        """Return a callable from feeds to outputs, both by tensor name."""


def import_onnxruntime() -> InferenceSession:
    """Import onnxruntime, its telemetry off before it is imported."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def open_session(
    model: Path | bytes,
    *,
    providers: Sequence[str] = CPU,
    threads: int | None = None,
    optimized: bool = True,
    arena: bool = True,
    folder: Path | None = None,
) -> InferenceSession:
    """Open onnxruntime's InferenceSession for a file or its content; it prints errors alone.

    `threads` compute one operator, as many as there are cores for None. Without an `arena` what is
    freed goes back to the system. Of content, `folder` has the external data.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = arena
    if folder is not None:
        options.add_session_config_entry(EXTERNAL_FOLDER, os.fspath(folder))
    if threads is not None:
        options.intra_op_num_threads = threads
    content = model if isinstance(model, bytes) else os.fspath(model)
    return onnxruntime.InferenceSession(content, options, providers=list(providers))


class OnnxRuntime:
    """onnxruntime on the CPU with one thread."""

    def __init__(self, *, optimized: bool = True) -> None:
        self.name = DECISIVE if optimized else STAND_IN
        self._optimized = optimized

    def version(self) -> str | None:
        """Return the version of whichever onnxruntime wheel is installed."""
        return installed_version("onnxruntime", "onnxruntime-gpu")

    def load(self, model: Path | bytes) -> Session:
        """Open a session; its outputs come back by name."""
        if isinstance(model, Path) and bytes_on_disk(model) >= LARGE_FILE:
            return self._load_large(model)
        return _by_name(open_session(model, threads=1, optimized=self._optimized))

    def _load_large(self, path: Path) -> Session:
        """Open a session, and run it, in a thread of its own, which ends with it.

        That thread's heap has no free blocks: large ones are mapped one by one, and go back to the system as
        onnxruntime frees them. Those that fit among what was free in the heap before would stay.
        """
        thread = ThreadPoolExecutor(max_workers=1)
        session = _by_name(thread.submit(self._open_large, path).result())
        return lambda feeds: thread.submit(session, feeds).result()

    def _open_large(self, path: Path) -> InferenceSession:
        """Open a file in little memory, its weights read one by one from where they lie in it.

        Read whole, onnxruntime holds those of convolutions twice while it lays them out anew. The
        unoptimized session does not, and reads the file as it is.
        """
        if self._optimized:
            # What is wrong with a file is said of it as it is.
            with suppress(Exception):
                content = with_weights_in_place(path)
                return open_session(content, threads=1, arena=False, folder=path.parent)
        return open_session(path, threads=1, optimized=self._optimized, arena=False)


def _by_name(session: InferenceSession) -> Session:
    """Return a callable of a session whose outputs come back by name."""
    names = [output.name for output in session.get_outputs()]

    def run(feeds: Arrays) -> Arrays:
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return run


def all_runtimes() -> tuple[Runtime, ...]:
    """Return every runtime, in the order in which they are asked, installed or not."""
    return (OnnxRuntime(), OnnxReference(), OnnxRuntime(optimized=False))
