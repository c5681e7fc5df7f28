"""Tables that fit the terminal: columns are dropped, then shortened, and never wrapped."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from zoo.table import text_table

if TYPE_CHECKING:
    from rich.table import Table

#: Between two columns.
GAP = 2

#: "c" is for the centre, where there is a terminal.
JUSTIFIED: dict[str, Literal["right", "center"]] = {"r": "right", "c": "center"}

#: A column is not shortened to fewer characters than these: another one is dropped before.
NARROWEST = 12


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: str = "",
    dropped: Sequence[str] = (),
) -> None:
    """Print rows under a header; on a terminal so that they fit, elsewhere whole and plain.

    `right`: as `text_table` has it. `dropped`: the columns that are left out where there is no room,
    first the first.
    """
    if not sys.stdout.isatty():
        print(text_table(header, rows, right=right))
        return
    from rich.console import Console

    width = shutil.get_terminal_size().columns
    Console(width=width, highlight=False).print(
        styled_table(header, rows, right=right, dropped=dropped, width=width)
    )


def styled_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int,
    right: str = "",
    dropped: Sequence[str] = (),
) -> Table:
    """Return the same as rich's table for a terminal of this many columns."""
    from rich.table import Table
    from rich.text import Text

    widths = column_widths(header, rows, right=right, dropped=dropped, width=width)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for i, characters in widths.items():
        table.add_column(
            Text(header[i]),
            justify=JUSTIFIED.get(right[i : i + 1], "left"),
            style="cyan" if i == 0 else "blue" if right[i : i + 1] == "c" else "",
            no_wrap=True,
            overflow="ellipsis",
            width=characters,
        )
    for row in rows:
        table.add_row(*(Text(row[i]) for i in widths))
    return table


def column_widths(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int,
    right: str = "",
    dropped: Sequence[str] = (),
) -> dict[int, int]:
    """Return the columns that stay, with the characters that each may take.

    One column is shortened, the widest one of text: half of a number is another number. Columns are
    dropped where it would keep less than a third; empty ones are left out.
    """
    from rich.cells import cell_len

    full = {
        i: max(cell_len(row[i]) for row in [header, *rows])
        for i in range(len(header))
        if i == 0 or any(row[i] for row in rows)
    }
    order = [i for i in map(header.index, dropped) if i in full]
    while True:
        text = [i for i in full if i and right[i : i + 1] not in JUSTIFIED] or [0]
        flexible = max(text, key=lambda i: full[i])
        others = sum(full.values()) - full[flexible] + GAP * (len(full) - 1)
        room = width - others
        # The first column's names tell the rows apart: they are shortened last of all.
        enough = max(NARROWEST, full[flexible] // 3) if flexible else full[flexible]
        if room >= min(full[flexible], enough) or not order:
            return {**full, flexible: max(min(full[flexible], room), 1)}
        full.pop(order.pop(0))


def print_text(text: str) -> None:
    """Print a sentence; on a terminal lines end between words."""
    if sys.stdout.isatty():
        text = textwrap.fill(text, shutil.get_terminal_size().columns)
    print(text)
