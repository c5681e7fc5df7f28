"""Run the models of one job with one adapter; tell each step on a file descriptor.

    python serve.py ADAPTER.py JOB.json FD

The job is described in zoo/runtimes/job.py, the events in zoo/runtimes/process.py. Every step is told before it is
taken, so that the parent knows which one a crash or a hang belongs to.
"""

import importlib.util
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np


def main(adapter_file: str, job_file: str, descriptor: int) -> None:
    """Do the whole job: for each model load it, then answer each case."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job = json.loads(Path(job_file).read_text())
    folder = Path(job["folder"])

    def tell(event: str, **values: Any) -> None:
        os.write(descriptor, (json.dumps({"event": event, **values}) + "\n").encode())

    try:
        adapter = _import(adapter_file)
        tell("ready", version=adapter.version())
    except Exception as error:  # whatever a runtime's import raises is why it cannot be used
        tell("unusable", reason=_reason(error))
        return
    for model in job["models"]:
        at = {"model": model["model"]}
        tell("load", **at)
        try:
            run = adapter.load(model["path"], model["outputs"])
        except BaseException as error:  # a Rust panic arrives as a BaseException
            tell("refused", **at, reason=_reason(error, adapter))
            continue
        for case in model["cases"]:
            here = {**at, "case": case["case"]}
            tell("run", **here)
            try:
                outputs = run({tensor["name"]: _read(folder, tensor) for tensor in case["feeds"]})
                written = [
                    _write(folder, "-".join(map(str, ("out", *here.values(), number))), name, value)
                    for number, (name, value) in enumerate(outputs.items())
                ]
            except BaseException as error:
                tell("refused", **here, reason=_reason(error, adapter))
            else:
                tell("answer", **here, outputs=written)
    tell("done")


def _end_with_parent() -> None:
    """Wait for the end of standard input, which the parent holds, and end the whole group."""
    while os.read(0, 4096):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _import(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("adapter", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _read(folder: Path, tensor: dict[str, Any]) -> np.ndarray:
    flat = np.fromfile(folder / tensor["file"], dtype=tensor["dtype"])
    return flat.reshape(tensor["shape"])


def _write(folder: Path, file: str, name: str, value: Any) -> dict[str, Any]:
    array = np.ascontiguousarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"output {name} is {array.dtype}, which has no raw form")
    array.tofile(folder / file)
    # A scalar becomes one element when made contiguous; its own shape is ().
    return {
        "name": name,
        "file": file,
        "dtype": array.dtype.name,
        "shape": list(np.shape(value)),
    }


def _reason(error: BaseException, adapter: Any = None) -> str:
    """Return the error in one line: by the adapter's own `reason`, if it has one."""
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        raise error
    text = adapter.reason(str(error)) if hasattr(adapter, "reason") else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:600]}" if lines else type(error).__name__


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
