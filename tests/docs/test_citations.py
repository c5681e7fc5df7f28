"""What comments and pages cite is here: sections of docs/protocol.md, pages, modules, folders."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("zoo", "server", "proto", "tests", "bench", "docs")

#: `docs/protocol.md 2.4`, also `docs/protocol.md 2.2.1 and 2.2.2` or `docs/protocol.md 1c, 2.2.4`.
_SECTION = re.compile(r"[1-9](?:[a-z]\b|(?:\.\d)+|\b)")
_CITATION = re.compile(rf"docs/protocol\.md[\s#]+((?:{_SECTION.pattern}(?:,| and)?[\s#]*)+)")

#: A page by name; not an address, nor another project's (`server:docs/…`).
_DOCUMENT = re.compile(r"(?<![\w./:-])(?:[\w.-]+/)*([\w-]+\.md)\b")

#: Written by commands and tests, and so in no folder of the repository.
_WRITTEN = {"FILE.md", "RUNTIMES.md", "page.md"}

#: A module or a folder from one of the roots; Triton's own `server/src` and `server/docs` are not ours.
_PATH = re.compile(
    r"(?<![\w./:@-])((?:zoo|server/zoo_server|tests|bench|docs|proto)/[\w/]+(?:\.(?:py|mjs|proto|json))?)"
    r"(?![\w/*{…-]|\.\w)"
)


def _texts() -> Iterator[tuple[Path, str]]:
    for folder in FOLDERS:
        for pattern in ("*.py", "*.md", "*.proto"):
            for path in sorted((ROOT / folder).rglob(pattern)):
                if path != Path(__file__):
                    yield path, path.read_text(encoding="utf-8")


def test_every_cited_section_is_a_heading() -> None:
    """`docs/protocol.md 2.4` in a comment leads somewhere."""
    page = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^#{2,4} ([1-9][\w.]*) ", page, re.MULTILINE))
    cited = {
        (section, path.name)
        for path, text in _texts()
        for citation in _CITATION.findall(text)
        for section in _SECTION.findall(citation)
    }

    assert len({section for section, _ in cited}) > 10
    assert not {(section, name) for section, name in cited if section not in headings}


def test_every_cited_document_is_here() -> None:
    """A page that code or documentation names is in the repository."""
    pages = {path.name for path in ROOT.glob("*.md")}
    pages |= {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*.md")}
    named = {(name, path.name) for path, text in _texts() for name in _DOCUMENT.findall(text)}

    assert not {(name, where) for name, where in named if name not in pages | _WRITTEN}


def test_every_cited_module_is_here() -> None:
    """A module that was moved takes with it the comments that name it."""
    cited = {(named, path.name) for path, text in _texts() for named in _PATH.findall(text)}

    assert len(cited) > 50
    assert not {(named, where) for named, where in cited if not (ROOT / named).exists()}
