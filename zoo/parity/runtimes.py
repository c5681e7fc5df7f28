"""The runtimes that run in this process, behind one interface: onnxruntime and the ONNX reference.

A runtime that is not installed has no version; `prove` notes it and goes on with the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from zoo.parity.compare import Session
from zoo.parity.onnxruntime_session import OnnxRuntime
from zoo.parity.reference import OnnxReference


class Runtime(Protocol):
    """What the proof needs of a runtime."""

    name: str

    def version(self) -> str | None:
        """Return the installed version, None if it is not installed; imports nothing heavy."""

    def load(self, model: Path) -> Session:
        """Return a callable from feeds to outputs, both by tensor name."""


def available() -> tuple[Runtime, ...]:
    """Return both, installed or not."""
    return (OnnxRuntime(), OnnxReference())
