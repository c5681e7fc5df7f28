"""Measures model files in other runtimes: runs their test vectors and compares with Keras.

The two runtimes that the zoo's own process has run there; every other one in an environment of its
own (environments.py), with a process for each file (process.py).
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import UsageError
from zoo.files import sha256
from zoo.parity import runtimes
from zoo.parity.compare import Case, Refusal, answer, compare_answers
from zoo.parity.prove import Policy, exclusion, read_graph
from zoo.parity.vectors import read_vectors
from zoo.publish.published import exact_files, published
from zoo.runtimes.catalogue import ISOLATED, IsolatedRuntime, descriptions
from zoo.runtimes.environments import RuntimeUnavailable, prepare
from zoo.runtimes.process import Answers, run_file
from zoo.runtimes.record import Cell, CompatibilityRecord, FileCells, cell

if TYPE_CHECKING:
    from zoo.recipes.registry import Registry

Say = Callable[[str], None]

#: Processes that run at once: each computes with one thread, and some hold a GB of libraries.
PROCESSES = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One ONNX file, the cases to run it on, and how its answers are judged."""

    model: str
    path: Path
    cases: tuple[Case, ...]
    sha256: str
    policy: Policy


def targets_of(repository: Path, name: str, known: Registry) -> list[Target]:
    """Return the files of a model's latest version that are meant to be equal to Keras.

    Raises what zoo.publish.published.published raises for a model that is not there or not whole.
    """
    files = exact_files(published(repository, name, known))
    return [_target(name, file.path, file.policy) for file in files]


def target_of_file(path: Path) -> Target:
    """Return any ONNX file that has test vectors beside it."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    return _target(os.fspath(path.parent), path, Policy())


def _target(model: str, path: Path, policy: Policy) -> Target:
    cases = read_vectors(path)
    if not cases:
        raise UsageError(f"{path} has no test vectors beside it (test_data_set_0/input_0.pb ...)")
    return Target(
        model=model,
        path=path,
        cases=cases,
        sha256=sha256(path),
        policy=policy,
    )


def measure_all(
    targets: Sequence[Target],
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
            columns[name] = [_cell(target, name, version, mine) for target, mine in pairs]
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
    name: str, targets: Sequence[Target], root: Path, *, say: Say
) -> tuple[str, list[Answers]]:
    """Run every target in one runtime; return its version, and an answer or refusal a case.

    Raises RuntimeUnavailable, with the reason, if this machine cannot have the runtime.
    """
    for isolated in ISOLATED:
        if isolated.name == name:
            return _run_isolated(isolated, targets, root, say)
    (runtime,) = (item for item in runtimes.available() if item.name == name)
    version = runtime.version()
    if version is None:
        raise RuntimeUnavailable("it is not installed: pip install 'layer-zoo[cpu,train]'")
    return version, [_run_here(runtime, target) for target in targets]


def _run_isolated(
    runtime: IsolatedRuntime, targets: Sequence[Target], root: Path, say: Say
) -> tuple[str, list[Answers]]:
    """Run the first target alone: whether the runtime starts is known then; the rest at once."""
    environment = prepare(runtime, root, say=say)

    def run(target: Target) -> Answers:
        try:
            return run_file(runtime, environment, target.path, target.cases)[1]
        except RuntimeUnavailable as error:
            return [Refusal(str(error)) for _ in target.cases]

    first, *rest = targets
    version, answers = run_file(runtime, environment, first.path, first.cases)
    with ThreadPoolExecutor(PROCESSES) as pool:
        return version, [answers, *pool.map(run, rest)]


def _run_here(runtime: runtimes.Runtime, target: Target) -> Answers:
    """Run a target in the zoo's own process; one that a proof leaves out refuses, with the reason."""
    if reason := exclusion(runtime.name, target.path, read_graph(target.path), target.cases):
        return [Refusal(f"left out: {reason}") for _ in target.cases]
    try:
        session = runtime.load(target.path)
    except Exception as error:  # a foreign runtime may raise anything; it is its refusal
        answers: Answers = [Refusal.of(error) for _ in target.cases]
    else:
        answers = [answer(session, case.feeds) for case in target.cases]
    places = {os.fspath(target.path.parent.absolute()), os.fspath(target.path.parent)}
    return [item.without(*places) if isinstance(item, Refusal) else item for item in answers]


def _cell(target: Target, name: str, version: str, answers: Answers) -> Cell:
    """Return one runtime's cell of the target."""
    policy = target.policy
    rows = compare_answers(
        name, target.cases, answers, tolerance=policy.tolerance, argmax=policy.argmax
    )
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return cell(rows, target.cases, version=version, date=today)
