"""Every table of the pages is one: a row that a blank line cuts off is shown as text."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for folder in (".", "docs", "bench/results", "deploy")
    for path in (ROOT / folder).glob("*.md")
)

_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_ROWS = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
_RULE = re.compile(r"\|( *:?-+:? *\|)+")


def _parts_without_head(text: str) -> Iterator[str]:
    """The first rows of what looks like a table and has no line of dashes under its head."""
    for rows in _ROWS.findall(_CODE.sub("", text)):
        head, *others = rows.splitlines()
        if not others or not _RULE.fullmatch(others[0]):
            yield head


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_row_is_in_a_table(page: Path) -> None:
    assert not list(_parts_without_head(page.read_text(encoding="utf-8")))


def test_a_row_that_is_cut_off_is_found() -> None:
    assert list(_parts_without_head("| a |\n| --- |\n| 1 |\n\n| 2 |\n")) == ["| 2 |"]
