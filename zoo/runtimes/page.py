"""Writes the compatibility results: a table for the terminal, a page for all models, a page for one.

A cell is `ok` with the largest difference from Keras; `✗`, with the difference where there is one
and the number of a note that gives the reason; or empty where nothing was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from zoo.runtimes.record import Cell, CompatibilityRecord, FileCells
from zoo.table import markdown_table, text_table
from zoo_server.repository.layout import MODEL_FILE

#: Longer reasons are cut here; compat.json holds them whole.
REASON_LENGTH = 240

COMMAND = "zoo verify --runtimes all"


@dataclass(slots=True)
class Notes:
    """Numbered reasons; the same reason keeps its number."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, text: str) -> int:
        """Return the note's number, a new one for a new text."""
        return self.numbers.setdefault(text, len(self.numbers) + 1)

    def lines(self, template: str) -> list[str]:
        """Return one line a note; `template` has places of `number` and `text`."""
        return [template.format(number=number, text=text) for text, number in self.numbers.items()]


def terminal(record: CompatibilityRecord, *, width: int | None = None) -> str:
    """Return the table of files × runtimes with its notes, in blocks that fit into `width`."""
    notes = Notes()
    columns = [
        (name, [_text(item.cells.get(name), notes) for item in record.files])
        for name in record.runtimes
    ]
    files = [("model", [item.model for item in record.files])]
    files.append(("file", [item.file for item in record.files]))
    blocks = [_table([*files, *block]) for block in _blocks(columns, files, width)]
    return "\n".join(["\n\n".join(blocks), *notes.lines("  [{number}] {text}")])


Column = tuple[str, list[str]]


def _blocks(
    columns: Sequence[Column], first: Sequence[Column], width: int | None
) -> list[list[Column]]:
    """Part the columns so that each part fits beside the first ones; one column always does."""
    blocks: list[list[Column]] = []
    for column in columns:
        if blocks and (width is None or _width([*first, *blocks[-1], column]) <= width):
            blocks[-1].append(column)
        else:
            blocks.append([column])
    return blocks


def _width(columns: Sequence[Column]) -> int:
    return sum(max(map(len, [head, *cells])) + 2 for head, cells in columns) - 2


def _table(columns: Sequence[Column]) -> str:
    rows = [list(row) for row in zip(*(cells for _, cells in columns), strict=True)]
    return text_table([head for head, _ in columns], rows)


def page(record: CompatibilityRecord) -> str:
    """Return docs/runtimes.md: the runtimes, each model in its best variant, every file."""
    notes = Notes()
    names = record.runtimes
    groups = _by_model(record)
    best = [
        [f"`{model}`", *(_best(files, name, notes) for name in names)]
        for model, files in groups.items()
    ]
    everything = [
        [f"`{item.model}`", f"`{item.file}`", *(_text(item.cells.get(n), notes) for n in names)]
        for item in record.files
    ]
    right = sum(_right(files, name) for files in groups.values() for name in names)
    sections = [
        "# The models in other runtimes",
        f"Measured by `{COMMAND} --markdown FILE`, which wrote this page: the test vectors that are "
        "published with each model, in batches of 1 and 7, against Keras's answers. `ok` is within "
        "the bound that publication demands, with the largest absolute difference. "
        f"{right} of {len(groups) * len(names)} pairs of a model and a runtime are right in one of "
        "the model's files.",
        "## The runtimes",
        _runtimes(record),
        "## Each model, in whichever of its files the runtime gets right",
        markdown_table(("model", *names), best),
        "## Every file",
        markdown_table(("model", "file", *names), everything),
        "## Notes",
        "\n".join(notes.lines("{number}. {text}")) or "None.",
    ]
    return "\n\n".join(sections) + "\n"


def model_page(record: CompatibilityRecord, model: str) -> str:
    """Return one model's own page, written beside its configuration."""
    sections = [
        f"# {model} in other runtimes",
        f"Measured by `{COMMAND}` on the latest version's test vectors, against Keras's answers.",
        files_table(record.files),
    ]
    return "\n\n".join(sections) + "\n"


def files_table(files: Sequence[FileCells]) -> str:
    """Return runtimes × files as Markdown: for a card, where files are few and runtimes many."""
    notes = Notes()
    rows = []
    for name in dict.fromkeys(name for item in files for name in item.cells):
        cells = [item.cells.get(name) for item in files]
        versions = dict.fromkeys(cell.version for cell in cells if cell is not None)
        rows.append([f"{name} {' / '.join(versions)}", *(_text(cell, notes) for cell in cells)])
    table = markdown_table(("runtime", *(f"`{item.file}`" for item in files)), rows)
    return "\n\n".join(
        [table, *(["\n".join(notes.lines("{number}. {text}"))] if notes.numbers else [])]
    )


def _runtimes(record: CompatibilityRecord) -> str:
    rows = []
    for name in record.runtimes:
        cells = [item.cells[name] for item in record.files if name in item.cells]
        versions = ", ".join(dict.fromkeys(cell.version for cell in cells))
        rows.append([name, versions, max(cell.date for cell in cells), record.notes[name]])
    return markdown_table(("runtime", "version", "measured", "how"), rows)


def _by_model(record: CompatibilityRecord) -> dict[str, list[FileCells]]:
    groups: dict[str, list[FileCells]] = {}
    for item in record.files:
        groups.setdefault(item.model, []).append(item)
    return groups


def _right(files: Sequence[FileCells], name: str) -> bool:
    return any(name in item.cells and item.cells[name].status == "ok" for item in files)


def _best(files: Sequence[FileCells], name: str, notes: Notes) -> str:
    """Say which file is right; the first one's failure if none is."""
    for item in files:
        cell = item.cells.get(name)
        if cell is not None and cell.status == "ok":
            return "ok" if item.file == MODEL_FILE else f"ok: `{item.file}`"
    return _text(next((i.cells[name] for i in files if name in i.cells), None), notes)


def _text(cell: Cell | None, notes: Notes) -> str:
    if cell is None:
        return ""
    if cell.status == "ok":
        return f"ok {cell.max_abs:.0e}"
    reason = cell.reason.replace("|", "/")
    if len(reason) > REASON_LENGTH:
        reason = f"{reason[:REASON_LENGTH].rstrip()}…"
    measured = f" Δ {cell.max_abs:.0e}" if cell.status == "differs" and cell.max_abs else ""
    return f"✗{measured} [{notes.number(reason)}]"
