"""Programs that run ONNX files, one small class each, behind one interface.

A runtime that is not installed has no version; whoever iterates says so aloud and goes on.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Protocol

from zoo.parity.compare import Session


class Runtime(Protocol):
    """What verify needs of a runtime."""

    name: str

    def version(self) -> str | None:
        """Return the installed version, None if it is not installed; imports nothing heavy."""

    def load(self, model: Path) -> Session:
        """Return a callable from feeds to outputs, both by tensor name."""


def installed_version(*distributions: str) -> str | None:
    """Return the version of the first of these distributions that is installed."""
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def available() -> tuple[Runtime, ...]:
    """Return every runtime the zoo knows, installed or not."""
    from zoo.parity.onnxruntime_session import OnnxRuntime
    from zoo.parity.reference import OnnxReference

    return (OnnxRuntime(), OnnxReference())
