"""The documentation as a site: it builds without a warning, and its pages hold to the gallery's policy."""

from __future__ import annotations

import runpy
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT
from tests.docs.documentation import build_documentation
from tests.web.links import Links


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages."""
    return build_documentation(tmp_path_factory.mktemp("documentation"))


def test_every_page_is_in_the_site_and_in_its_list_of_pages(site: Path) -> None:
    names = {path.stem for path in (ROOT / "docs").glob("*.md")}
    listed = {link.partition("#")[0] for link in Links(site / "index.html").links}

    assert {f"{name}.html" for name in names - {"index"}} <= listed
    assert all((site / f"{name}.html").is_file() for name in names)


def test_links_lead_to_pages_of_the_site(site: Path) -> None:
    """Or to the gallery, below which the pages lie, or to other hosts."""
    gallery = {"../index.html", "../tutorial/index.html", "../try/index.html"}
    broken = []
    for page in site.glob("*.html"):
        for link in Links(page).links:
            path, _, anchor = link.partition("#")
            if link in gallery or link.startswith(("https://", "http://127.0.0.1")):
                continue
            target = page.parent / path if path else page
            if not target.is_file() or (
                anchor and f'id="{anchor}"' not in target.read_text("utf-8")
            ):
                broken.append(f"{page.name}: {link}")
    assert not broken


class _Loads(HTMLParser):
    """Gathers what a page loads by itself."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("link", "script", "img"):
            self.addresses += [v for k in ("href", "src") if (v := values.get(k)) is not None]


def test_pages_load_nothing_of_other_hosts_and_have_no_inline_script_or_style(site: Path) -> None:
    for page in site.glob("*.html"):
        assert not Links(page).inline, page.name
        assert not [each for each in _Loads(page).addresses if ":" in each], page.name
        assert "script-src 'self';" in page.read_text("utf-8")


def test_the_python_reference_has_the_public_names(site: Path) -> None:
    import zoo
    import zoo.client

    page = (site / "api.html").read_text("utf-8")
    for name in (*zoo.__all__, *zoo.client.__all__):
        assert f'<span class="pre">{name}</span>' in page, name


def test_an_indented_part_of_a_docstring_is_literal() -> None:
    pytest.importorskip("sphinx", reason="the documentation's group is not installed: make docs")
    settings = runpy.run_path(str(ROOT / "docs/conf.py"))

    assert settings["literal_blocks"](["One.", "", "    a -> b", "", "    c", "", "Two."]) == [
        "One.", "", "::", "", "    a -> b", "", "    c", "", "Two.",
    ]  # fmt: skip
