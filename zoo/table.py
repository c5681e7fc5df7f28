"""Formats tables: aligned columns for a terminal, or GitHub's Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = "") -> str:
    """Return rows under a header, columns two spaces apart.

    `right` has one character a column: "r" aligns it to the right, anything else to the left.
    """
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    sides = right.ljust(len(header))

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(row, widths, sides, strict=False)
        )
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = "") -> str:
    """Return the same as a Markdown table."""
    sides = right.ljust(len(header))
    rule = ["---:" if side == "r" else "---" for side in sides[: len(header)]]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *rows])
