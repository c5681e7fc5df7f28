"""The runtimes that run in this process, behind one interface: onnxruntime and the ONNX reference.

Where the reference cannot judge, onnxruntime runs the graph as it is written, without its own
optimization: other kernels, and nothing folded or fused.

A runtime that is not installed has no version; `prove` notes it and goes on with the others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from zoo.parity.compare import Arrays, Session
from zoo.parity.reference import OnnxReference
from zoo.version import installed_version

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Nothing is proven without it: the runtime that the server uses.
DECISIVE = "onnxruntime"

#: Runs in the place of the reference evaluator where that is left out.
STAND_IN = "onnxruntime-unoptimized"

CPU = ("CPUExecutionProvider",)


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
) -> InferenceSession:
    """Open onnxruntime's InferenceSession for a file or its content; it prints errors alone.

    `threads` compute one operator, as many as there are cores for None.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
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
        session = open_session(model, threads=1, optimized=self._optimized)
        names = [output.name for output in session.get_outputs()]

        def run(feeds: Arrays) -> Arrays:
            return dict(zip(names, session.run(names, dict(feeds)), strict=True))

        return run


def all_runtimes() -> tuple[Runtime, ...]:
    """Return every runtime, in the order in which they are asked, installed or not."""
    return (OnnxRuntime(), OnnxReference(), OnnxRuntime(optimized=False))
