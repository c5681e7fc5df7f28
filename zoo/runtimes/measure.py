"""Measures model files in other runtimes: runs their test vectors and compares with Keras.

The two runtimes that the zoo's own process has run there; every other one in an environment of its
own (environments.py), with a process for each file (process.py).
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zoo.parity import runtimes
from zoo.parity.compare import Refusal, compare_answers
from zoo.parity.external_data import read_graph
from zoo.parity.prove import run_cases
from zoo.parity.reference import exclusion
from zoo.publish.verification import VerifiedFile
from zoo.runtimes.catalogue import ISOLATED, IsolatedRuntime, descriptions
from zoo.runtimes.environments import RuntimeUnavailable, prepare
from zoo.runtimes.process import Answers, run_file
from zoo.runtimes.record import Cell, CompatibilityRecord, FileCells, cell

Say = Callable[[str], None]

#: Processes that run at once: each computes with one thread, and some hold a GB of libraries.
PROCESSES = min(4, os.cpu_count() or 1)


def measure_all(
    targets: Sequence[VerifiedFile],
    names: Sequence[str],
    root: Path,
    *,
    say: Say,
    started: Callable[[int, str], None] = lambda position, name: None,
) -> tuple[CompatibilityRecord, dict[str, str]]:
    """Run all targets in the named runtimes; return the cells, and why a runtime has none.

    Environments are kept below `root`. `say` is called with what takes long and what is skipped,
    `started` with each runtime as its turn comes.
    """
    columns: dict[str, list[Cell]] = {}
    skipped: dict[str, str] = {}
    for position, name in enumerate(names):
        started(position, name)
        try:
            version, answers = run_in(name, targets, root, say=say)
        except RuntimeUnavailable as error:
            skipped[name] = str(error)
            say(f"{name}: skipped: {error}")
        else:
            pairs = zip(targets, answers, strict=True)
            columns[name] = [_cell(target, name, version, own) for target, own in pairs]
    files = tuple(
        FileCells(
            model=target.model,
            file=target.path.name,
            sha256=target.sha256,
            cells={name: column[position] for name, column in columns.items()},
        )
        for position, target in enumerate(targets)
    )
    return CompatibilityRecord(files=files, notes=descriptions()), skipped


def run_in(
    name: str, targets: Sequence[VerifiedFile], root: Path, *, say: Say
) -> tuple[str, list[Answers]]:
    """Run every target in one runtime; return its version, and an answer or refusal a case.

    Raises RuntimeUnavailable, with the reason, if this machine cannot have the runtime.
    """
    for isolated in ISOLATED:
        if isolated.name == name:
            return _run_isolated(isolated, targets, root, say)
    (runtime,) = (item for item in runtimes.all_runtimes() if item.name == name)
    version = runtime.version()
    if version is None:
        raise RuntimeUnavailable("it is not installed: pip install 'layer-zoo[cpu,train]'")
    return version, [_run_here(runtime, target) for target in targets]


def _run_isolated(
    runtime: IsolatedRuntime, targets: Sequence[VerifiedFile], root: Path, say: Say
) -> tuple[str, list[Answers]]:
    """Run the first target alone: whether the runtime starts is known then; the rest at once."""
    environment = prepare(runtime, root, say=say)

    def run(target: VerifiedFile) -> Answers:
        try:
            return run_file(runtime, environment, target.path, target.cases)[1]
        except RuntimeUnavailable as error:
            return [Refusal(str(error)) for _ in target.cases]

    first, *rest = targets
    version, answers = run_file(runtime, environment, first.path, first.cases)
    with ThreadPoolExecutor(PROCESSES) as pool:
        return version, [answers, *pool.map(run, rest)]


def _run_here(runtime: runtimes.Runtime, target: VerifiedFile) -> Answers:
    """Run a target in the zoo's own process; one that a proof leaves out refuses, with the reason."""
    if reason := exclusion(runtime.name, target.path, read_graph(target.path), target.cases):
        return [Refusal(f"left out: {reason}") for _ in target.cases]
    answers = run_cases(runtime, target.path, target.cases)
    places = {os.fspath(target.path.parent.absolute()), os.fspath(target.path.parent)}
    return [item.without(*places) if isinstance(item, Refusal) else item for item in answers]


def _cell(target: VerifiedFile, name: str, version: str, answers: Answers) -> Cell:
    """Return one runtime's cell of the target."""
    rows = compare_answers(name, target.cases, answers, target.policy)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return cell(rows, target.cases, version=version, date=today)
