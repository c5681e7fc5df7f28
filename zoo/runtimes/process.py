"""Runs one model file in one isolated runtime, in a process of its own.

    job.json        {"path": ..., "outputs": [NAME], "packages": ..., "cases": [[TENSOR, ...], ...]}
    TENSOR          {"name", "file", "dtype", "shape"}: raw bytes in C order, in a file beside it
    results.jsonl   {"version": ...}, once the runtime is imported, then one line a case, in order:
                    {"outputs": [TENSOR]} | {"refused": reason}

The folder is a temporary one, and holds a copy of the model: onnx2tf writes the simplified graph
over the file it is given, and pnnx puts others beside it, which in a repository would spoil a
published version. Where the process ends early, the cases without a line are refused with how it
ended. A process whose parent is gone ends itself: its standard input is at its end then.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.parity.compare import Arrays, Case, Refusal
from zoo.parity.external_data import external_files
from zoo.runtimes.catalogue import RUNNERS, IsolatedRuntime
from zoo.runtimes.environments import Environment, RuntimeUnavailable

#: Import, load and all runs of one file; the slowest measured (onnx2tf) takes some 20 s.
SECONDS_PER_FILE = 240.0

#: What the runner writes, and where whatever else it prints goes.
RESULTS_FILE, LOG_FILE = "results.jsonl", "log"


Answers = list[Arrays | Refusal]


def run_file(
    runtime: IsolatedRuntime,
    environment: Environment,
    path: Path,
    cases: Sequence[Case],
    *,
    seconds: float = SECONDS_PER_FILE,
) -> tuple[str, Answers]:
    """Run the cases on a model file in a process of its own, which may take so many seconds.

    Returns the runtime's own version, and an answer or a refusal a case. Raises RuntimeUnavailable,
    with the reason, if the runtime does not start.
    """
    texts = {number: name for number, case in enumerate(cases) if (name := _text_input(case))}
    runnable = [case for number, case in enumerate(cases) if number not in texts]
    with tempfile.TemporaryDirectory(prefix="zoo-runtime-") as name:
        folder = Path(name)
        _write_job(folder, environment, path, runnable)
        ending = _run(runtime, environment, folder, seconds)
        version, results = _read_results(folder)
    if version is None:
        refusals = [result.reason for result in results if isinstance(result, Refusal)]
        raise RuntimeUnavailable(refusals[0] if refusals else ending)
    places = (f"{name}/model", name, os.fspath(environment.folder.absolute()))
    results += [Refusal(ending)] * (len(runnable) - len(results))
    answers = iter(r.without(*places) if isinstance(r, Refusal) else r for r in results)
    return version, [
        Refusal(f"not tried: {texts[number]} is text, which is not handed to other processes")
        if number in texts
        else next(answers)
        for number in range(len(cases))
    ]


def _text_input(case: Case) -> str:
    """Return the name of an input that is text, which has no raw form; empty if there is none."""
    return next((name for name, array in case.feeds.items() if array.dtype.kind in "OSU"), "")


def _write_job(folder: Path, environment: Environment, path: Path, cases: Sequence[Case]) -> None:
    """Write the job with every feed, and a copy of the model with its external data."""
    copy = folder / "model" / path.name
    for file in (path.name, *external_files(path)):
        (copy.parent / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / file, copy.parent / file)
    job = {
        "path": os.fspath(copy),
        "outputs": list(cases[0].expected) if cases else [],
        "packages": os.fspath(environment.folder.absolute()),
        "cases": [_write_feeds(folder, number, case) for number, case in enumerate(cases)],
    }
    (folder / "job.json").write_text(json.dumps(job))


def _write_feeds(folder: Path, number: int, case: Case) -> list[dict[str, Any]]:
    """Write a case's feeds and return what the job says of them."""
    tensors = []
    for position, (name, array) in enumerate(case.feeds.items()):
        file = f"in-{number}-{position}"
        np.ascontiguousarray(array).tofile(folder / file)
        tensors.append(
            {"name": name, "file": file, "dtype": array.dtype.name, "shape": list(array.shape)}
        )
    return tensors


def _run(runtime: IsolatedRuntime, environment: Environment, folder: Path, seconds: float) -> str:
    """Run the process to its end, or kill it in time; return how it ended."""
    runner = RUNNERS / ("run.mjs" if runtime.on_node else "run.py")
    command = [*environment.interpreter, *map(os.fspath, (runner, runtime.script, folder))]
    try:
        with (folder / LOG_FILE).open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # never written to: it ends when this process does
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=_variables(),
                start_new_session=True,
            )
    except OSError as error:
        raise RuntimeUnavailable(f"{command[0]}: {error.strerror or error}") from error
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"no answer within {seconds:g} s"
    finally:
        _kill(process)
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    line = _telling_line((folder / LOG_FILE).read_text(errors="replace"))
    return f"the process died ({how}){f': {line}' if line else ''}"


def _read_results(folder: Path) -> tuple[str | None, Answers]:
    """Return the runtime's version, None if it did not start, and the results written in time."""
    path = folder / RESULTS_FILE
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    # A line without an end is one that the process died writing.
    results = [json.loads(line) for line in lines if line.endswith("\n")]
    version = results.pop(0)["version"] if results and "version" in results[0] else None
    return version, [
        {t["name"]: _read_tensor(folder, t) for t in result["outputs"]}
        if "outputs" in result
        else Refusal(result["refused"])
        for result in results
    ]


def _read_tensor(folder: Path, tensor: Mapping[str, Any]) -> np.ndarray:
    flat: np.ndarray = np.fromfile(folder / tensor["file"], dtype=tensor["dtype"])
    return flat.reshape(tensor["shape"])


def _variables() -> dict[str, str]:
    """Return the environment variables of a runner: no GPU, no telemetry, one thread."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return kept | {
        "CUDA_VISIBLE_DEVICES": "-1",
        "OMP_NUM_THREADS": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process, and whatever it started that is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def _telling_line(log: str) -> str:
    """Return the line of a log that says most about the end of its process, empty if none does."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [
        i
        for i, line in enumerate(lines)
        if re.search(r"panicked|error|exception", line, re.IGNORECASE)
    ]
    if not errors:
        return lines[-1][:300] if lines else ""
    first = errors[0]
    if "panicked" in lines[first]:  # Rust writes the place on one line, the reason on the next
        first = min(first + 1, len(lines) - 1)
    return lines[first][:300]
