"""Digits that are drawn on a pad of the gallery, stroke by stroke."""

from __future__ import annotations

from playwright.sync_api import Page

#: A two by hand, from 0 to 1 across and down the pad.
TWO = [(0.3, 0.3), (0.4, 0.18), (0.55, 0.17), (0.66, 0.3), (0.55, 0.5), (0.32, 0.82), (0.72, 0.8)]

#: A zero by hand.
ZERO = [(0.5, 0.15), (0.33, 0.3), (0.3, 0.6), (0.42, 0.84), (0.6, 0.84), (0.7, 0.6), (0.66, 0.28), (0.5, 0.15)]  # fmt: skip


def draw(page: Page, points: list[tuple[float, float]], pad: int = 0) -> None:
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
