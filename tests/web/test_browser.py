"""Every demonstration, used in the machine's Chromium against `zoo serve`: the browser's answer is the server's.

Skipped where there is no Chromium, or where the browser's runtime cannot be fetched.
"""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Page

from tests.web.pad import TWO, ZERO, draw
from tests.web.reader import open_model
from zoo.site.build import Sources
from zoo_server.images.description import Ink
from zoo_server.images.ink import normalise, resize

pytestmark = pytest.mark.slow


def _open(page: Page, model: str) -> None:
    """Open a model's page, and switch the server's answer on."""
    open_model(page, f"models/{model}/")
    page.check("#server")
    _agree(page)


def _agree(page: Page) -> None:
    """Wait until the server has answered too; the difference is within the bound of parity."""
    page.wait_for_selector(".agreement.good, .agreement.bad")
    assert page.get_attribute(".agreement", "class") == "agreement good", page.inner_text(
        ".agreement"
    )


def _answer(page: Page) -> str:
    return page.locator("#demo").get_attribute("data-answer") or ""


@pytest.mark.parametrize("model", ["cnn_digits", "cnn_digits10", "cnn_valid", "cnn_digits_bn"])
def test_a_drawn_two_and_a_drawn_zero_are_read(page: Page, model: str) -> None:
    _open(page, model)
    for digit, points in (("2", TWO), ("0", ZERO)):
        page.click("#demo button:has-text('Clear')")
        assert page.locator("#demo .reading-answer").inner_text() == "Nothing drawn yet"
        draw(page, points)
        page.wait_for_selector(f"#demo[data-answer='{digit}']")
        _agree(page)


def test_the_runtime_waits_for_a_reader(page: Page) -> None:
    """Who only looks loads no megabytes; a key is as good as a move."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("models/cnn_digits/")
    page.wait_for_load_state("networkidle")
    assert page.locator("#demo .still img").is_visible()
    assert not [url for url in asked if "/runtime/" in url or url.endswith(".onnx")]
    page.keyboard.press("Tab")
    page.wait_for_selector("[data-ready=yes]")
    assert page.locator("#demo .still").count() == 0
    assert [url for url in asked if "/runtime/" in url]


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
    open_model(page, "models/lstm_sunspots_step/")
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
    draw(page, ZERO, pad=1)
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


@pytest.mark.timeout(900)  # fifteen pages, each with the runtime
def test_every_page_measures_itself_against_keras(page: Page, sources: Sources) -> None:
    """The line of the browser in the table: a share of the bound, below one."""
    for folder in sorted(sources.repository.glob("*/config.pbtxt")):
        open_model(page, f"models/{folder.parent.name}/")
        page.wait_for_selector("#browser-row[data-share]", state="attached")
        assert float(page.locator("#browser-row").get_attribute("data-share") or "nan") < 1
