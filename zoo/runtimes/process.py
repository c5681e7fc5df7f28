"""One isolated runtime's process: it is given a job, and what becomes of each step is kept.

    the job     zoo/runtimes/job.py
    events      JSON lines on a pipe of their own, since runtimes print what they like:
                    ready version | unusable reason | load model | run model case |
                    answer model case outputs | refused model [case] reason | done

A step is told before it is taken. So when the process dies, the step it died in is known: that one
is given the reason, and a fresh process goes on with the rest. A process that says nothing for the
time limit is killed, and the model it was at is given up. A process whose parent is gone ends
itself: its standard input is at its end then.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.parity.compare import Arrays, Refusal
from zoo.runtimes.catalogue import IsolatedRuntime
from zoo.runtimes.environments import Environment, Unavailable
from zoo.runtimes.job import Step, Subject, job_values, read_output, write_feeds, write_models

SERVERS = Path(__file__).parent / "runners"

#: Import of the runtime, the slowest of which (torch) takes seconds on an idle machine.
START_SECONDS = 120.0

#: One load or one run; the slowest measured are onnx2tf's conversions, of a few seconds each.
STEP_SECONDS = 120.0

#: From the end of a dying process's events to its end.
EXIT_SECONDS = 10.0

#: Where a process prints; read only for its last words.
PRINTED = "printed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a process may be silent."""

    start_seconds: float = START_SECONDS
    step_seconds: float = STEP_SECONDS


Answers = dict[Step, Arrays | Refusal]


@dataclass(slots=True)
class _State:
    """What is known so far: answers by (subject, case), and where the process is now."""

    answers: Answers = field(default_factory=dict)
    version: str | None = None
    at: tuple[int, int | None] | None = None
    finished: bool = False


def answer_all(
    runtime: IsolatedRuntime,
    environment: Environment,
    subjects: Sequence[Subject],
    *,
    limits: Limits | None = None,
) -> tuple[str, list[list[Arrays | Refusal]]]:
    """Return the runtime's own version, and for each subject an answer or refusal for each case.

    Raises Unavailable if the runtime cannot be imported, or dies before its first step.
    """
    limits = limits or Limits()
    state = _State()
    with tempfile.TemporaryDirectory(prefix="zoo-compat-") as name:
        folder = Path(name)
        state.answers.update(write_feeds(folder, subjects))
        while rest := _remaining(subjects, state.answers):
            write_models(folder, rest)
            _one_process(
                runtime, environment, folder, job_values(folder, environment, rest), state, limits
            )
        places = [f"{name}/model-{number}" for number in range(len(subjects))]
        places += [name, os.fspath(environment.folder.absolute())]
    answers = [
        [_placeless(state.answers[number, case], places) for case in range(len(subject.cases))]
        for number, subject in enumerate(subjects)
    ]
    return state.version or runtime.version, answers


def _placeless(answer: Arrays | Refusal, places: Sequence[str]) -> Arrays | Refusal:
    return answer.without(*places) if isinstance(answer, Refusal) else answer


def _remaining(
    subjects: Sequence[Subject], answers: Answers
) -> dict[int, tuple[Subject, list[int]]]:
    """Return what no process has answered yet: for each subject the numbers of its cases."""
    rest = {
        number: (subject, [c for c in range(len(subject.cases)) if (number, c) not in answers])
        for number, subject in enumerate(subjects)
    }
    return {number: item for number, item in rest.items() if item[1]}


def _one_process(
    runtime: IsolatedRuntime,
    environment: Environment,
    folder: Path,
    job: Mapping[str, Any],
    state: _State,
    limits: Limits,
) -> None:
    """Run one process to its end, however it ends, and keep what it said."""
    state.at, state.finished = None, False
    before = len(state.answers)
    process, reading = _start(runtime, environment, folder, job)
    try:
        in_time = _follow(reading, folder, state, job, limits)
        if in_time and not state.finished:  # it is dying, and how is of interest
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(EXIT_SECONDS)
    finally:
        _kill(process)
        os.close(reading)
    if state.finished:
        return
    if in_time:
        last = _last_words(folder / PRINTED)
        reason = f"the process died ({_how(process.returncode)}){f': {last}' if last else ''}"
    else:
        silent = limits.step_seconds if state.at else limits.start_seconds
        reason = f"no answer within {silent:g} s"
    _blame(state, job, reason, whole_model=not in_time)
    assert len(state.answers) > before  # each process settles something, so there is an end


def _start(
    runtime: IsolatedRuntime, environment: Environment, folder: Path, job: Mapping[str, Any]
) -> tuple[subprocess.Popen[bytes], int]:
    """Start the process on a job; return it and the end of its events to read."""
    job_file = folder / "job.json"
    job_file.write_text(json.dumps(job))
    reading, writing = os.pipe()
    server = SERVERS / ("serve.mjs" if runtime.on_node else "serve.py")
    files = map(os.fspath, (server, runtime.script, job_file))
    command = [*environment.interpreter, *files, str(writing)]
    try:
        with (folder / PRINTED).open("wb") as printed:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # never written to: it ends when this process does
                stdout=printed,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=_environment(),
                pass_fds=[writing],
                start_new_session=True,
            )
    except OSError as error:
        os.close(reading)
        raise Unavailable(f"{command[0]}: {error.strerror or error}") from error
    finally:
        os.close(writing)
    return process, reading


def _blame(state: _State, job: Mapping[str, Any], reason: str, *, whole_model: bool) -> None:
    """Give the reason to the step the process was at; raise Unavailable if it was at none.

    A step that was answered before the process died is refused too: the death is its aftermath.
    """
    if state.at is None:
        raise Unavailable(reason)
    number, case = state.at
    refusal = Refusal(reason)
    if case is not None:
        state.answers[number, case] = refusal
    if case is None or whole_model:
        _refuse_rest(state, job, number, refusal)


def _refuse_rest(state: _State, job: Mapping[str, Any], number: int, refusal: Refusal) -> None:
    """Give a refusal to every case of a model that has nothing yet."""
    for model in job["models"]:
        for case in model["cases"] if model["model"] == number else ():
            state.answers.setdefault((number, case["case"]), refusal)


def _follow(
    reading: int, folder: Path, state: _State, job: Mapping[str, Any], limits: Limits
) -> bool:
    """Take in events until the process closes the pipe; False if it was silent for too long."""
    pending = b""
    limit = limits.start_seconds
    deadline = time.monotonic() + limit
    while True:
        ready, _, _ = select.select([reading], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        data = os.read(reading, 65536)
        if not data:
            return True
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            _take(json.loads(line), folder, state, job)
        deadline = time.monotonic() + limits.step_seconds


def _take(event: Mapping[str, Any], folder: Path, state: _State, job: Mapping[str, Any]) -> None:
    """Keep what one event says."""
    kind = event["event"]
    if kind == "ready":
        state.version = event["version"]
    elif kind == "unusable":
        raise Unavailable(event["reason"])
    elif kind == "load":
        state.at = (event["model"], None)
    elif kind == "run":
        state.at = (event["model"], event["case"])
    elif kind == "answer":
        outputs = {tensor["name"]: read_output(folder, tensor) for tensor in event["outputs"]}
        state.answers[event["model"], event["case"]] = outputs
    elif kind == "refused" and "case" in event:
        state.answers[event["model"], event["case"]] = Refusal(event["reason"])
    elif kind == "refused":
        _refuse_rest(state, job, event["model"], Refusal(event["reason"]))
    elif kind == "done":
        state.finished = True


def _environment() -> dict[str, str]:
    """Return the variables a runner sees: no GPU, no telemetry, one thread."""
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


def _how(returncode: int) -> str:
    if returncode < 0:
        return signal.Signals(-returncode).name
    return f"exit status {returncode}"


def _last_words(path: Path) -> str:
    """Return the line of what the process printed that says most about its death."""
    text = path.read_text(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [
        i
        for i, line in enumerate(lines)
        if re.search(r"panicked|error|exception", line, re.IGNORECASE)
    ]
    if not lines:
        return ""
    chosen = lines[telling[0]] if telling else lines[-1]
    if "panicked" in chosen and telling[0] + 1 < len(lines):
        chosen = lines[telling[0] + 1]  # Rust tells the place on one line, the reason on the next
    return chosen[:300]
