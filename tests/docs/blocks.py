"""The code blocks of the pages, for the tests that run them.

A comment before a block says how it is treated:

    (none)                      python runs, with what it needs of a server; a console's lines are parsed
    <!-- output -->             a console's lines are run, and what they print is compared
    <!-- slow -->               run by the long tests alone
    <!-- file: NAME -->         written to this file, for the blocks that follow
    <!-- example: NAME -->      used by a test of its own

A block of `text` behind one of python is what that one prints.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "deploy/README.md",
        *ROOT.glob("docs/*.md"),
    ]
)

MARKS = ("", "output", "slow", "file", "example")

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>\w+)(?:: (?P<name>[\w.]+))? -->\n)?^```(?P<language>[\w{}-]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One code block; `line` is where its page has it."""

    page: str
    line: int
    language: str
    text: str
    mark: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[tuple[list[str], str]]:
        """A console's lines that begin with `$ ` or `# `, as words, each with what it prints."""
        parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]
        split = [part.partition("\n") for part in parts]
        return [(shlex.split(line, comments=True), printed) for line, _, printed in split]


def blocks(page: Path) -> list[Block]:
    """Return a page's code blocks, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page=str(page.relative_to(ROOT)),
            line=text.count("\n", 0, match.start()) + 1,
            language=match["language"],
            text=match["text"],
            mark=match["mark"] or "",
            name=match["name"] or "",
        )
        for match in _BLOCK.finditer(text)
    ]


def same(printed: str, answered: str) -> bool:
    """Whether two texts agree word by word; numbers as near as trainings on two machines are."""
    left, right = (
        re.split(r"[\s\[\](){},]+", text.strip("[](){}\n ")) for text in (printed, answered)
    )
    return len(left) == len(right) and all(map(_agree, left, right))


def _agree(one: str, other: str) -> bool:
    if one == other or (set(one) == set(other) == {"-"}):
        return True
    if all(re.fullmatch(r"\d+(\.\d+){2}", word) for word in (one, other)):  # versions of packages
        return True
    try:
        a, b = (float(word.rstrip("%")) for word in (one, other))
    except ValueError:
        return False
    return abs(a - b) <= 0.1 * max(1.0, abs(a))
