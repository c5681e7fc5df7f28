"""Measure what is published in every runtime that was asked for, and keep what came of it.

    build/compat/compat.json               all models, for the model cards of later exports
    REPOSITORY/MODEL/compat.json           one model's own part
    REPOSITORY/MODEL/RUNTIMES.md           the same for people

The last two stand beside config.pbtxt and not in a version's folder, since a published version
never changes, and what runs it does.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import UsageError
from zoo.parity.check import decides, equal_files, published
from zoo.parity.compare import Tolerance, compare_answers
from zoo.parity.vectors import read_vectors
from zoo.publish import repository as publish
from zoo.runtimes.compatibility import Cell, Measured, Record, cell
from zoo.runtimes.environments import Unavailable, locked
from zoo.runtimes.job import Subject
from zoo.runtimes.measure import Answered, Say, descriptions, measure
from zoo.runtimes.page import model_page
from zoo.runtimes.results import RECORD_FILE, read_record, record_text

if TYPE_CHECKING:
    from zoo.recipes.registry import Registry

PAGE_FILE = "RUNTIMES.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One ONNX file, and how its answers are judged."""

    model: str
    subject: Subject
    sha256: str
    tolerance: Tolerance
    argmax: bool


def targets_of(repository: Path, name: str, known: Registry) -> list[Target]:
    """Return the files of a model's latest version that are meant to be equal to Keras.

    Raises what zoo.parity.check.published raises for a model that is not there or not whole.
    """
    manifest = published(repository, name, known)
    argmax = decides(manifest)
    return [
        _target(name, manifest.folder / file, tolerance, argmax)
        for file, tolerance in equal_files(manifest)
    ]


def target_of_file(path: Path) -> Target:
    """Return any ONNX file that has test vectors beside it."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    return _target(os.fspath(path.parent), path, Tolerance(), False)


def _target(model: str, path: Path, tolerance: Tolerance, argmax: bool) -> Target:
    cases = read_vectors(path)
    if not cases:
        raise UsageError(f"{path} has no test vectors beside it (test_data_set_0/input_0.pb ...)")
    return Target(
        model=model,
        subject=Subject(path=path, cases=cases),
        sha256=publish.sha256(path),
        tolerance=tolerance,
        argmax=argmax,
    )


def measure_all(
    targets: Sequence[Target],
    names: Sequence[str],
    root: Path,
    *,
    say: Say,
    started: Callable[[int, str], None] = lambda position, name: None,
) -> tuple[Record, dict[str, str]]:
    """Run all targets in the named runtimes; return the cells, and why some have none.

    `say` is told what takes long and what is skipped, `started` each runtime as its turn comes.
    """
    answered: dict[str, Answered] = {}
    skipped: dict[str, str] = {}
    for position, name in enumerate(names):
        started(position, name)
        try:
            answered[name] = measure(name, [item.subject for item in targets], root, say=say)
        except Unavailable as error:
            skipped[name] = str(error)
            say(f"{name}: skipped: {error}")
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    files = tuple(
        Measured(
            model=target.model,
            file=target.subject.path.name,
            sha256=target.sha256,
            cells={
                name: _judge(target, name, item, position, date) for name, item in answered.items()
            },
        )
        for position, target in enumerate(targets)
    )
    return Record(files=files, notes=descriptions()), skipped


def _judge(target: Target, name: str, answered: Answered, position: int, date: str) -> Cell:
    """Return one runtime's cell of the target at this position."""
    cases = target.subject.cases
    rows = compare_answers(
        name,
        cases,
        answered.answers[position],
        tolerance=target.tolerance,
        argmax=target.argmax,
    )
    return cell(rows, cases, version=answered.version, date=date)


def keep(record: Record, root: Path, repository: Path, *, say: Say) -> Record:
    """Merge the record into the one on disk, write each model's part; return what it says of them.

    A repository that cannot be written keeps its old pages, aloud.
    """
    root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        whole = read_record(root).merged(record)
        publish.replace(root / RECORD_FILE, record_text(whole))
    mine = whole.only([item.sha256 for item in record.files])
    for model in dict.fromkeys(item.model for item in record.files):
        part = replace(mine, files=tuple(item for item in mine.files if item.model == model))
        documents = {RECORD_FILE: record_text(part), PAGE_FILE: model_page(part, model).encode()}
        try:
            publish.write_beside(repository, model, documents)
        except OSError as error:
            say(f"{repository / model}: {error.strerror or error}: {PAGE_FILE} is not written")
    return mine
