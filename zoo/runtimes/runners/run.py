"""Runs one model file with one adapter: reads job.json in a folder, writes results.jsonl there.

    python run.py ADAPTER.py FOLDER

zoo/runtimes/process.py describes both files. Each result is written as it is known, so that those
before a crash are kept.
"""

import importlib.util
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


def main(adapter_file: str, folder: Path) -> None:
    """Import the adapter, load the file, answer each case."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job = json.loads((folder / "job.json").read_text())
    with (folder / "results.jsonl").open("w", buffering=1) as results:

        def write(**result: object) -> None:
            results.write(json.dumps(result) + "\n")

        try:
            adapter = _import(adapter_file)
            write(version=adapter.version())
        except Exception as error:  # whatever a runtime's import raises is why it cannot be used
            write(refused=_reason(error))
            return
        try:
            run = adapter.load(job["path"], job["outputs"])
        except BaseException as error:  # a Rust panic arrives as a BaseException
            for _ in job["cases"]:
                write(refused=_reason(error, adapter))
            return
        for number, feeds in enumerate(job["cases"]):
            try:
                write(outputs=_answer(folder, run, number, feeds))
            except BaseException as error:
                write(refused=_reason(error, adapter))


def _answer(
    folder: Path, run: Run, number: int, feeds: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Run one case; return the tensors that were written for its outputs."""
    outputs = run({tensor["name"]: _read(folder, tensor) for tensor in feeds})
    return [
        _write(folder, f"out-{number}-{position}", name, value)
        for position, (name, value) in enumerate(outputs.items())
    ]


def _end_with_parent() -> None:
    """Wait for the end of standard input, which the parent holds, and end the whole group."""
    while os.read(0, 4096):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _import(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("adapter", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _read(folder: Path, tensor: dict[str, Any]) -> np.ndarray:
    flat = np.fromfile(folder / tensor["file"], dtype=tensor["dtype"])
    return flat.reshape(tensor["shape"])


def _write(folder: Path, file: str, name: str, value: np.ndarray) -> dict[str, Any]:
    array = np.ascontiguousarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"output {name} is {array.dtype}, which has no raw form")
    array.tofile(folder / file)
    # A scalar becomes one element when made contiguous; its own shape is ().
    shape = list(np.shape(value))
    return {"name": name, "file": file, "dtype": array.dtype.name, "shape": shape}


def _reason(error: BaseException, adapter: ModuleType | None = None) -> str:
    """Return the error in one line: by the adapter's own `reason`, if it has one."""
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        raise error
    text = getattr(adapter, "reason", str)(str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:600]}" if lines else type(error).__name__


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
