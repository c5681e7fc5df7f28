"""A gallery of every model, built once with a stand-in for its runtime; and a real one in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import Trained, listening
from tests.docs.documentation import build_documentation
from zoo.errors import ZooError
from zoo.recipes.registry import Registry
from zoo.site import build
from zoo.site.build import Sources, build_site

STAND_IN = {"ort.mjs": b"export const env = {};", "ort.wasm.gz": b"\x1f\x8b"}


@pytest.fixture(scope="session")
def sources(trained: Trained) -> Sources:
    """What the gallery is built from."""
    return Sources(repository=trained.repository, runs=trained.runs, registry=Registry.default())


@pytest.fixture(scope="session")
def site(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the gallery."""
    output = tmp_path_factory.mktemp("gallery") / "site"
    docs = tmp_path_factory.mktemp("docs")
    (docs / "index.html").write_text('<p>Read <a href="../index.html">the gallery</a>.</p>')
    (docs / ".buildinfo").write_text("the builder's own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "runtime_files", lambda _: STAND_IN)
        build_site(replace(sources, docs=docs), output)
        yield output


@pytest.fixture(scope="session")
def gallery(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a real server shows a real gallery, with the documentation."""
    output = tmp_path_factory.mktemp("real") / "site"
    docs = build_documentation(tmp_path_factory.mktemp("documentation"))
    try:
        build_site(replace(sources, docs=docs), output)
    except ZooError as error:
        pytest.skip(f"the gallery cannot be built here: {error}")
    with listening(sources.repository, "--site", str(output)) as addresses:
        yield f"http://{addresses['HTTP']}/"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium of this machine."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


#: What a page may take, in milliseconds: another's work may have the processors.
PATIENCE = 120_000


@pytest.fixture
def page(browser: Browser, gallery: str) -> Iterator[Page]:
    """A page that may ask no other host and write no error to the console."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=gallery)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    problems: list[str] = []
    page.on(
        "console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda r: None if r.url.startswith((gallery, "data:", "blob:")) else problems.append(r.url),
    )
    yield page
    context.close()
    assert not problems
