"""Every runtime, wherever it runs, behind one call: files and feeds in, answers or refusals out."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import UsageError
from zoo.parity import runtimes
from zoo.parity.compare import Arrays, Refusal, answer
from zoo.runtimes.catalogue import ISOLATED, IsolatedRuntime
from zoo.runtimes.environments import Unavailable, prepare
from zoo.runtimes.job import Subject
from zoo.runtimes.process import Limits, answer_all

Say = Callable[[str], None]

#: The runtimes that share this process, as `zoo verify` without --runtimes uses them.
IN_PROCESS = {
    "onnxruntime": "CPU, one thread, in the zoo's own process",
    "onnx-reference": "the standard's own evaluator, in numpy, in the zoo's own process",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one runtime gave: for each subject, one answer or refusal a case."""

    version: str
    answers: list[list[Arrays | Refusal]]


def descriptions() -> dict[str, str]:
    """Return how each runtime is set up, by name, in the order of the tables."""
    return IN_PROCESS | {runtime.name: runtime.note for runtime in ISOLATED}


def select(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list, or every one for "all".

    Raises UsageError for a name that is none of them, with the nearest ones.
    """
    known = list(descriptions())
    if text == "all":
        return tuple(known)
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
            raise UsageError(f"--runtimes: {name!r} is none; {', '.join(near)}, or all")
    if not names:
        raise UsageError(f"--runtimes names no runtime: {', '.join(known)}, or all")
    return tuple(name for name in known if name in names)


def measure(
    name: str,
    subjects: Sequence[Subject],
    root: Path,
    *,
    say: Say,
    limits: Limits | None = None,
) -> Answered:
    """Run every case of every subject in one runtime; environments are kept below `root`.

    Raises Unavailable, with the reason, if this machine cannot have the runtime.
    """
    for isolated in ISOLATED:
        if isolated.name == name:
            return measure_isolated(isolated, subjects, root, say=say, limits=limits)
    (runtime,) = (item for item in runtimes.available() if item.name == name)
    version = runtime.version()
    if version is None:
        raise Unavailable("it is not installed beside the zoo: pip install 'layer-zoo[cpu,train]'")
    return Answered(version=version, answers=[_in_process(runtime, item) for item in subjects])


def measure_isolated(
    runtime: IsolatedRuntime,
    subjects: Sequence[Subject],
    root: Path,
    *,
    say: Say,
    limits: Limits | None = None,
) -> Answered:
    """Do the same for a runtime that has an environment and a process of its own."""
    environment = prepare(runtime, root, say=say)
    version, answers = answer_all(runtime, environment, subjects, limits=limits)
    return Answered(version=version, answers=answers)


def _in_process(runtime: runtimes.Runtime, subject: Subject) -> list[Arrays | Refusal]:
    try:
        session = runtime.load(subject.path)
    except Exception as error:  # a foreign runtime may raise anything; it is its verdict
        answers: list[Arrays | Refusal] = [Refusal.of(error) for _ in subject.cases]
    else:
        answers = [answer(session, case.feeds) for case in subject.cases]
    places = {os.fspath(subject.path.parent.absolute()), os.fspath(subject.path.parent)}
    return [item.without(*places) if isinstance(item, Refusal) else item for item in answers]
