"""The gallery's other pages in the machine's Chromium: index, tutorial, files of one's own; for every screen and reader."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from tests.conftest import ZOO
from tests.web.conftest import PATIENCE
from tests.web.pad import TWO, draw
from tests.web.reader import move, open_model
from zoo.errors import ZooError
from zoo.site.build import Sources, build_site
from zoo.site.npm import Package

pytestmark = pytest.mark.slow

AXE = Package(
    "axe-core",
    "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)


def test_the_index_filters_sorts_compares_and_reads_a_digit(page: Page) -> None:
    page.goto("")
    page.fill("#search", "sunspots")
    assert page.locator(".card:visible").count() == 6
    page.fill("#search", "")
    page.click(".chip[data-family=dense]")
    assert page.locator(".card:visible").count() == 3
    page.click(".chip[data-family=all]")
    page.select_option("#sort", "bytes")
    sizes = page.locator(".card").evaluate_all("cards => cards.map(c => Number(c.dataset.bytes))")
    assert sizes == sorted(sizes)
    for name in ("dense_iris", "cnn_rgb"):
        page.locator(f".card[data-name={name}] input").check(force=True)
    assert page.locator("#comparison tbody tr:visible").count() == 2
    page.click(".hero-demo button")
    draw(page, TWO)
    page.wait_for_selector(".hero-demo[data-answer='2']")


@pytest.mark.parametrize("path", ["tutorial/", "ko/tutorial/"])
def test_every_figure_of_the_tutorial_runs(page: Page, path: str) -> None:
    page.goto(path)
    figures = page.locator("[data-play]")
    assert figures.count() == 7
    for figure in figures.all():
        figure.scroll_into_view_if_needed()
        page.wait_for_function("f => f.dataset.ready === 'yes'", arg=figure.element_handle())
        for control in figure.locator("input[type=range]").all()[:4]:
            control.focus()
            page.keyboard.press("End")
    sides = page.locator("[data-play=convolution] .place")
    page.locator("[data-choice=same]").click()
    assert sides.get_attribute("data-side") == "6"  # 16 pixels by steps of 3, borders filled
    page.locator("[data-choice=valid]").click()
    assert sides.get_attribute("data-side") == "4"  # (16 - 5) // 3 + 1
    pool = page.locator("[data-play=pool] .place")
    assert int(pool.get_attribute("data-after") or 0) < int(pool.get_attribute("data-before") or 0)
    page.locator("[data-play=network] .on").nth(6).hover()
    assert "=" in page.locator("[data-play=network] .equation").inner_text()


def test_a_dropped_file_runs_and_wrong_ones_are_explained(
    page: Page, sources: Sources, tmp_path: Path
) -> None:
    page.goto("try/")
    page.set_input_files("#file", sources.repository / "dense_iris/1/model.onnx")
    page.wait_for_selector("#dropped[data-opened='model.onnx']")
    page.evaluate(
        """async () => {
          const bytes = await (await fetch("/data/cnn_rgb/model.onnx")).arrayBuffer();
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], "dropped.onnx"));
          dispatchEvent(new DragEvent("drop", { dataTransfer }));
        }"""
    )
    page.wait_for_selector("#dropped[data-opened='dropped.onnx']")
    page.set_input_files("#file", [])
    page.set_input_files("#file", sources.repository / "dense_iris/1/model.onnx")
    page.wait_for_selector("#dropped[data-opened='model.onnx']")
    page.fill("#dropped textarea", "5.1, 3.5, 1.4, 0.2")
    page.click("#dropped button:has-text('Run')")
    page.wait_for_selector("#dropped .result")
    shares = [float(part) for part in page.inner_text("#dropped .result").split(",")]
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    page.fill("#dropped textarea", "5.1, 3.5")
    page.click("#dropped button:has-text('Run')")
    page.wait_for_selector("#dropped [role=alert] >> text=takes 4 numbers")
    (tmp_path / "letter.onnx").write_text("dear")
    page.set_input_files("#file", tmp_path / "letter.onnx")
    page.wait_for_selector("#status >> text=letter.onnx cannot be run")


@pytest.mark.parametrize("name", ["mine.keras", "it's mine.keras"])
def test_a_dropped_keras_file_is_answered_with_the_command_that_exports_it(
    page: Page, sources: Sources, tmp_path: Path, name: str
) -> None:
    """Whatever its name; the file that the command makes runs on the same page."""
    (tmp_path / name).write_bytes((sources.repository / "dense_iris/1/model.keras").read_bytes())
    page.goto("try/")
    page.set_input_files("#file", tmp_path / name)
    page.wait_for_selector(f"#status >> text={name} is a Keras file")
    command = shlex.split(page.inner_text("#dropped code"))
    output = f"{name.removesuffix('.keras')}.onnx"
    assert command == ["zoo", "export", name, "-o", output]
    done = subprocess.run(
        [ZOO, *command[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    page.set_input_files("#file", tmp_path / output)
    page.wait_for_selector(f'#dropped[data-opened="{output}"]')
    for other, said in (
        ("old.h5", "zoo export old.h5 --trust -o old.onnx"),
        ("old", "zoo export old.h5 --trust -o old.onnx"),
    ):
        (tmp_path / other).write_bytes(b"\x89HDF\r\n\x1a\n")
        page.set_input_files("#file", tmp_path / other)
        page.wait_for_selector(f"#status >> text={other} is a Keras file")
        assert page.inner_text("#dropped code") == said


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "path", ["", "try/", "tutorial/", "ko/tutorial/", "models/dense_iris/", "models/cnn_digits10/",
             "models/cnn_digit_pair/", "models/lstm_sunspots/", "models/lstm_sunspots_step/",
             "docs/", "docs/tour.html", "docs/configuration.html", "docs/api.html", "docs/search.html?q=batch"],
)  # fmt: skip
def test_axe_finds_no_serious_fault(
    browser: Browser, gallery: str, path: str, scheme: Literal["light", "dark"]
) -> None:
    try:
        (axe,) = AXE.files(("axe.min.js",))
    except ZooError as error:
        pytest.skip(f"axe-core cannot be fetched here: {error}")
    # The policy of the pages would refuse what a tool brings along.
    context = browser.new_context(color_scheme=scheme, base_url=gallery, bypass_csp=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    if path.startswith("models/"):
        open_model(page, path)
    else:
        page.goto(path)
    for figure in page.locator("[data-play]").all():
        figure.scroll_into_view_if_needed()
        page.wait_for_function("f => f.dataset.ready === 'yes'", arg=figure.element_handle())
    page.evaluate(axe.decode())
    violations = page.evaluate("() => axe.run()")["violations"]
    context.close()
    assert not [(v["id"], v["nodes"][0]["html"]) for v in violations if v["impact"] != "minor"]


def test_the_documentation_is_found_searched_and_left(page: Page) -> None:
    """By the links of every page, under the server's policy; a search needs no network."""
    page.goto("")
    page.click("nav >> text=Docs")
    page.wait_for_url("**/docs/index.html")
    page.fill("#pages input[type=search]", "idle sequence")
    page.press("#pages input[type=search]", "Enter")
    page.wait_for_selector("#search-results li a")
    page.click("#search-results li a >> nth=0")
    page.wait_for_selector("main h1")
    page.click("nav >> text=Models")
    page.wait_for_selector(".cards")


def test_the_scheme_is_chosen_and_kept(page: Page) -> None:
    page.goto("")
    page.click("#theme")
    page.goto("tutorial/")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 17, 20)"


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_no_page_is_wider_than_the_screen(browser: Browser, gallery: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, base_url=gallery)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    for path in ("", "ko/", "tutorial/", "ko/tutorial/", "try/", "models/cnn_digits10/", "models/lstm_sunspots/",
                 "docs/", "docs/tour.html", "docs/api.html", "docs/compatibility.html", "docs/search.html?q=batch"):  # fmt: skip
        page.goto(path)
        move(page)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    context.close()


def test_a_host_of_files_is_enough(
    browser: Browser, sources: Sources, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Below another folder, from Python's own file server: the model runs, and no server is offered."""
    import functools
    import http.server
    import threading

    folder = tmp_path_factory.mktemp("files")
    try:
        build_site(sources, folder / "zoo")
    except ZooError as error:
        pytest.skip(f"the gallery cannot be built here: {error}")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"http://127.0.0.1:{server.server_port}/zoo/models/cnn_digits/")
        move(page)
        page.wait_for_selector("#demo[data-answer='2']")
        assert not page.is_visible("#server")
        page.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_build_is_the_same_twice(sources: Sources, tmp_path: Path) -> None:
    lists = []
    for name in ("one", "two"):
        try:
            build_site(sources, tmp_path / name)
        except ZooError as error:
            pytest.skip(f"the gallery cannot be built here: {error}")
        lists.append(json.loads((tmp_path / name / "site.json").read_text()))
    assert lists[0] == lists[1]
