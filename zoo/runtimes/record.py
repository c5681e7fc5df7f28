"""The compatibility record as values: which runtime gives Keras's answers for which file.

    Cell                  one file in one runtime: ok, differs, or refused, with figure or reason
    FileCells             one file, by its sha256, with its cells
    CompatibilityRecord   many files, and how each runtime is set up

Pure: comparisons in, values out. A cell stays true for as long as the file's bytes do, so cells
are looked up by checksum, and a later run replaces those that it measured again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from zoo.parity.compare import Case, Comparison
from zoo.parity.runtimes import DECISIVE

Status = Literal["ok", "differs", "refused"]

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One file in one runtime.

    `max_abs` is the largest finite difference from Keras in any case that was answered, None if
    there is none.
    `refused` is a runtime that cannot do it and says so; `differs` one that answers otherwise.
    """

    version: str
    status: Status
    date: str
    max_abs: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCells:
    """One ONNX file of a published model, and its cells by the name of the runtime."""

    model: str
    file: str
    sha256: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatibilityRecord:
    """What is known of all files; `notes` say how each runtime is set up, in their order."""

    files: tuple[FileCells, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)

    def merged(self, newer: CompatibilityRecord) -> CompatibilityRecord:
        """Return both: cells measured anew replace older ones, and so do files with other bytes."""
        by_name = {(item.model, item.file): item for item in self.files}
        for item in newer.files:
            old = by_name.get((item.model, item.file))
            kept = old.cells if old is not None and old.sha256 == item.sha256 else {}
            by_name[item.model, item.file] = replace(item, cells={**kept, **item.cells})
        files = tuple(by_name[key] for key in sorted(by_name))
        return CompatibilityRecord(files=files, notes={**newer.notes, **self.notes, **newer.notes})

    def of_model(self, model: str) -> CompatibilityRecord:
        """Return the part about one model's files."""
        return replace(self, files=tuple(item for item in self.files if item.model == model))

    def only(self, checksums: Sequence[str]) -> CompatibilityRecord:
        """Return the part about files with these checksums."""
        return replace(self, files=tuple(item for item in self.files if item.sha256 in checksums))

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The runtimes that have a cell, in the order of the notes."""
        measured = {name for item in self.files for name in item.cells}
        return tuple(name for name in self.notes if name in measured)

    def to_json(self) -> dict[str, object]:
        """Return JSON-able values."""
        return {
            "format": FORMAT,
            "runtimes": dict(self.notes),
            "files": [asdict(item) for item in self.files],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CompatibilityRecord:
        """Return what `to_json` gave; raises ValueError if it is something else."""
        if values.get("format") != FORMAT:
            raise ValueError(f"format {values.get('format')!r}, not {FORMAT}")
        try:
            files = tuple(
                FileCells(
                    **item | {"cells": {name: Cell(**cell) for name, cell in item["cells"].items()}}
                )
                for item in values["files"]
            )
            return cls(files=files, notes=dict(values["runtimes"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it lacks or mistakes {error}") from error


def cell(
    comparisons: Sequence[Comparison], cases: Sequence[Case], *, version: str, date: str
) -> Cell:
    """Return one runtime's verdict on one file from its comparisons, all cases included.

    Where only some batches fail, the reason says which.
    """
    failed = [row for row in comparisons if row.failed]
    answered = [row.max_abs for row in comparisons if row.output and math.isfinite(row.max_abs)]
    status: Status = "ok"
    if failed or not comparisons:
        status = "differs" if any(row.output for row in failed) else "refused"
    return Cell(
        version=version,
        status=status,
        date=date,
        max_abs=max(answered, default=None),
        reason=_reason(failed, comparisons, cases),
    )


def _reason(
    failed: Sequence[Comparison], comparisons: Sequence[Comparison], cases: Sequence[Case]
) -> str:
    """Return the first failure's reason, led by the batches that fail if others do not."""
    if not failed:
        return "" if comparisons else "it has no test vectors"
    batches = {case.name: len(next(iter(case.feeds.values()))) for case in cases}
    failing = {batches[row.case] for row in failed}
    passing = {batches[row.case] for row in comparisons if row.ok} - failing
    first = failed[0].reason
    if not passing:
        return first
    return f"batch {_list(failing)}: {first} (batch {_list(passing)} is right)"


def _list(numbers: set[int]) -> str:
    return " and ".join(map(str, sorted(numbers)))


def faults(record: CompatibilityRecord) -> list[str]:
    """Return one line for each wrong answer, and for each refusal by the runtime that decides.

    Nothing is published that onnxruntime does not run, so it may not refuse it afterwards.
    """
    return [
        f"{item.model} {item.file}: {name} {cell.version}: {cell.reason}"
        for item in record.files
        for name, cell in item.cells.items()
        if cell.status == "differs" or (cell.status == "refused" and name == DECISIVE)
    ]
