"""Every demonstration, used in the machine's Chromium against `zoo serve`: the browser's answer is the server's.

Skipped where there is no Chromium, or where the browser's runtime cannot be fetched.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import listening
from zoo.errors import ZooError
from zoo.images.description import Ink
from zoo.images.ink import normalise, resize
from zoo.site.build import Sources, build_site
from zoo.site.npm import Package

pytestmark = pytest.mark.slow

AXE = Package(
    "axe-core",
    "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)

#: A two by hand, from 0 to 1 across and down the pad.
TWO = [(0.3, 0.3), (0.4, 0.18), (0.55, 0.17), (0.66, 0.3), (0.55, 0.5), (0.32, 0.82), (0.72, 0.8)]

#: A zero by hand.
ZERO = [(0.5, 0.15), (0.33, 0.3), (0.3, 0.6), (0.42, 0.84), (0.6, 0.84), (0.7, 0.6), (0.66, 0.28), (0.5, 0.15)]  # fmt: skip


@pytest.fixture(scope="module")
def address(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a real server shows a real gallery."""
    output = tmp_path_factory.mktemp("real") / "site"
    try:
        build_site(sources, output)
    except ZooError as error:
        pytest.skip(f"the gallery cannot be built here: {error}")
    with listening(sources.repository, "--site", str(output)) as found:
        yield f"http://{found['HTTP']}/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium of this machine."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page that may ask no other host and write no error to the console."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=address)
    page = context.new_page()
    problems: list[str] = []
    page.on(
        "console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda r: None if r.url.startswith((address, "data:", "blob:")) else problems.append(r.url),
    )
    yield page
    context.close()
    assert not problems


def _open(page: Page, model: str) -> None:
    """Open a model's page, and switch the server's answer on."""
    page.goto(f"models/{model}/")
    page.wait_for_selector("[data-ready=yes]")
    page.check("#server")
    _agree(page)


def _agree(page: Page) -> None:
    """Wait until the server has answered too; the difference is within the bound of parity."""
    page.wait_for_selector(".agreement.good, .agreement.bad")
    assert page.get_attribute(".agreement", "class") == "agreement good", page.inner_text(
        ".agreement"
    )


def _draw(page: Page, points: list[tuple[float, float]], pad: int = 0) -> None:
    """Draw one stroke on a pad."""
    canvas = page.locator("#demo canvas.pad, .hero-pad canvas").nth(pad)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*at[0])
    page.mouse.down()
    for x, y in at[1:]:
        page.mouse.move(x, y, steps=6)
    page.mouse.up()


def _answer(page: Page) -> str:
    return page.locator("#demo").get_attribute("data-answer") or ""


@pytest.mark.parametrize("model", ["cnn_digits", "cnn_digits10", "cnn_valid", "cnn_digits_bn"])
def test_a_drawn_two_and_a_drawn_zero_are_read(page: Page, model: str) -> None:
    _open(page, model)
    for digit, points in (("2", TWO), ("0", ZERO)):
        page.click("#demo button:has-text('Clear')")
        assert page.locator("#demo .reading-answer").inner_text() == "Nothing drawn yet"
        _draw(page, points)
        page.wait_for_selector(f"#demo[data-answer='{digit}']")
        _agree(page)


def test_a_digit_is_drawn_by_keys(page: Page) -> None:
    _open(page, "cnn_digits")
    page.click("#demo button:has-text('Clear')")
    page.focus("#demo canvas.pad")
    keys = [*["ArrowUp"] * 5, "Space", *["ArrowDown"] * 10]
    for key in keys:
        page.keyboard.press(key)
    page.wait_for_selector("#demo[data-answer='1']")


def test_a_pixel_of_a_feature_map_is_what_its_window_and_kernel_give(page: Page) -> None:
    """The total that the page adds up is what the file has there, before relu."""
    _open(page, "cnn_digits10")
    for stage in (0, 2):
        maps = page.locator(".stages .maps").nth(stage)
        maps.locator("canvas").nth(3).hover(position={"x": 20, "y": 20})
        explained = page.locator(".explain.filled")
        total, value = (
            float(explained.get_attribute(f"data-{k}") or "nan") for k in ("total", "value")
        )
        assert max(total, 0) == pytest.approx(value, abs=1e-4)
    assert page.locator(".frame").count() > 1


@pytest.mark.parametrize("model", ["dense_iris", "dense_cancer", "dense_diabetes"])
def test_sliders_move_the_answer_and_the_surface(page: Page, model: str) -> None:
    _open(page, model)
    before = page.locator("#demo").inner_text()
    for end in ("Home", "End"):
        page.locator("#demo input[type=range]").first.focus()
        page.keyboard.press(end)
        page.wait_for_function(
            "before => document.getElementById('demo').innerText !== before", arg=before
        )
        before = page.locator("#demo").inner_text()
        _agree(page)
    page.locator("#demo .surface canvas").first.click(position={"x": 30, "y": 30})
    page.wait_for_function(
        "before => document.getElementById('demo').innerText !== before", arg=before
    )
    page.click("#demo button:has-text('Take a row')")
    page.wait_for_selector("#demo >> text=Truth:")
    _agree(page)


@pytest.mark.parametrize(
    "model", ["lstm_sunspots", "lstm_sunspots_sequence", "lstm_sunspots_any_length", "gru_sunspots", "bilstm_sunspots"]
)  # fmt: skip
def test_the_series_is_moved_and_extended(page: Page, model: str) -> None:
    """What the page computes of the gates is what the file gives."""
    _open(page, model)
    before = _answer(page)
    page.locator("#demo .handle").last.focus()
    for _ in range(3):
        page.keyboard.press("PageUp")
    page.wait_for_function(
        "before => document.getElementById('demo').dataset.answer !== before", arg=before
    )
    _agree(page)
    page.click("#demo button:has-text('Extend by a cycle')")
    page.wait_for_selector("#demo >> text=Forecast for 2020")
    _agree(page)
    assert float(page.locator("#demo").get_attribute("data-gates") or "nan") < 1e-5


def test_return_sequences_is_switched(page: Page) -> None:
    _open(page, "lstm_sunspots")
    assert page.locator("#demo .forecast").count() == 1
    page.click("[data-sequences=on]")
    page.wait_for_function("() => document.querySelectorAll('#demo .forecast').length === 5")
    _agree(page)


def test_the_server_s_sequence_is_the_browser_s(page: Page) -> None:
    """Each value goes to the server once, which keeps the state; the page keeps its own."""
    page.goto("models/lstm_sunspots_step/")
    page.wait_for_selector("[data-ready=yes]")
    page.check("#server")
    page.click("#demo button:has-text('Send twenty')")
    page.wait_for_selector("#demo >> text=State after 20 steps")
    _agree(page)


@pytest.mark.parametrize("model", ["cnn_digits10", "cnn_valid"])
def test_ink_becomes_the_numbers_that_python_makes_of_it(page: Page, model: str) -> None:
    """By the one description in the metadata; `mass` and `keep` are MNIST's, which no model has here."""
    page.goto(f"models/{model}/")
    rows, columns = np.mgrid[0:120, 0:120]
    ring = (np.hypot(rows - 40, columns - 70) < 25) & (np.hypot(rows - 40, columns - 70) > 17)
    stroke = (np.abs(rows - 60) < 50) & (np.abs(columns - 40 - rows / 3) < 6)
    for ink in (ring, stroke, ring | stroke):
        for changes in ({}, {"fit": "keep", "centre": "mass", "binary": False, "box": (20, 20)}):
            values = page.evaluate(
                """async ({ ink, model, changes }) => {
                  const { imageOf } = await import("/assets/digits.js");
                  const page = await (await fetch(`/data/${model}/page.json`)).json();
                  const image = { ...page.image, ink: { ...page.image.ink, ...changes } };
                  return { image, values: Array.from(imageOf(ink, 120, image)) };
                }""",
                {"ink": ink.astype(float).ravel().tolist(), "model": model, "changes": changes},
            )
            image = values["image"]
            how = Ink(**{**image["ink"], "box": tuple(image["ink"]["box"])})
            drawn = normalise(ink.astype(np.float32), how)
            assert drawn is not None
            wanted = image["low"] + resize(drawn, tuple(image["size"])) * (
                image["high"] - image["low"]
            )
            np.testing.assert_allclose(
                np.array(values["values"]).reshape(wanted.shape), wanted, atol=1e-4 * image["high"]
            )


def test_two_digits_are_compared_and_added(page: Page) -> None:
    _open(page, "cnn_digit_pair")
    page.locator("#demo button:has-text('Clear')").nth(1).click()
    _draw(page, ZERO, pad=1)
    page.wait_for_selector("#demo[data-answer]")
    _agree(page)
    page.click("#demo button:has-text('Or take one')")
    _agree(page)
    page.locator(".stages .maps").nth(2).locator("canvas").nth(3).hover(position={"x": 20, "y": 20})
    explained = page.locator(".explain.filled")
    total, value = (
        float(explained.get_attribute(f"data-{k}") or "nan") for k in ("total", "value")
    )
    assert max(total, 0) == pytest.approx(value, abs=1e-4)


def test_a_colour_patch_is_chosen(page: Page) -> None:
    _open(page, "cnn_rgb")
    for sample in (1, 4):
        page.locator("#demo .samples button").nth(sample).click()
        _agree(page)


def test_every_page_measures_itself_against_keras(page: Page, sources: Sources) -> None:
    """The line of the browser in the table: a share of the bound, below one."""
    for folder in sorted(sources.repository.glob("*/config.pbtxt")):
        page.goto(f"models/{folder.parent.name}/")
        page.wait_for_selector("#browser-row[data-share]", state="attached")
        assert float(page.locator("#browser-row").get_attribute("data-share") or "nan") < 1


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
    _draw(page, TWO)
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "path", ["", "try/", "tutorial/", "ko/tutorial/", "models/dense_iris/", "models/cnn_digits10/",
             "models/cnn_digit_pair/", "models/lstm_sunspots/", "models/lstm_sunspots_step/"],
)  # fmt: skip
def test_axe_finds_no_serious_fault(
    browser: Browser, address: str, path: str, scheme: Literal["light", "dark"]
) -> None:
    try:
        (axe,) = AXE.files(("axe.min.js",))
    except ZooError as error:
        pytest.skip(f"axe-core cannot be fetched here: {error}")
    # The policy of the pages would refuse what a tool brings along.
    context = browser.new_context(color_scheme=scheme, base_url=address, bypass_csp=True)
    page = context.new_page()
    page.goto(path)
    if path.startswith("models/"):
        page.wait_for_selector("[data-ready=yes]")
    for figure in page.locator("[data-play]").all():
        figure.scroll_into_view_if_needed()
        page.wait_for_function("f => f.dataset.ready === 'yes'", arg=figure.element_handle())
    page.evaluate(axe.decode())
    found = page.evaluate("() => axe.run()")["violations"]
    context.close()
    assert not [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] != "minor"]


def test_the_scheme_is_chosen_and_kept(page: Page) -> None:
    page.goto("")
    page.click("#theme")
    page.goto("tutorial/")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 17, 20)"


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_no_page_is_wider_than_the_screen(browser: Browser, address: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, base_url=address)
    page = context.new_page()
    for path in ("", "ko/", "tutorial/", "ko/tutorial/", "try/", "models/cnn_digits10/", "models/lstm_sunspots/"):  # fmt: skip
        page.goto(path)
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
        page.goto(f"http://127.0.0.1:{server.server_port}/zoo/models/cnn_digits/")
        page.wait_for_selector("[data-ready=yes]")
        assert page.locator("#demo").get_attribute("data-answer") == "2"
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
