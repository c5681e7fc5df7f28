"""Runs graphs in onnxruntime on the CPU with one thread; the server uses onnxruntime too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from zoo.parity.compare import Arrays, Session
from zoo.version import installed_version


def module() -> Any:
    """Import onnxruntime, its telemetry off before it is imported."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


class OnnxRuntime:
    """onnxruntime's InferenceSession with the CPU execution provider."""

    name = "onnxruntime"

    def version(self) -> str | None:
        """Return the version of whichever onnxruntime wheel is installed."""
        return installed_version("onnxruntime", "onnxruntime-gpu")

    def load(self, model: Path) -> Session:
        """Open a session; its outputs come back by name."""
        onnxruntime = module()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            os.fspath(model), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]

        def run(feeds: Arrays) -> Arrays:
            return dict(zip(names, session.run(names, dict(feeds)), strict=True))

        return run
