"""Links in the pages lead somewhere, also where the README is shown alone."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "bench").rglob("*.md")])

_LINK = re.compile(r"\]\(([^)\s]+)\)|\bsrc(?:set)?=\"([^\"]+)\"")


def _links(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [link or source for link, source in _LINK.findall(text)]


def _anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as GitHub forms them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_of_the_repository(page: Path) -> None:
    """Each is an address, or a file beside the page, with its heading."""
    broken = []
    for link in _links(page):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (fragment and fragment not in _anchors(target)):
            broken.append(link)

    assert not broken


def test_the_readme_has_no_link_that_a_package_index_breaks() -> None:
    """An index shows it alone: a link relative to the repository leads nowhere.

    Of a picture it shows the words that stand for it.
    """
    links = _links(ROOT / "README.md")
    pictures = re.findall(r"!\[[^\]]{20,}\]\(([^)]+)\)", (ROOT / "README.md").read_text("utf-8"))

    assert not [
        link for link in set(links) - set(pictures) if not link.startswith(("https://", "#"))
    ]
