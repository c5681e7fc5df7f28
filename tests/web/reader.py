"""Opens a model's page as a reader does: the demonstration starts with the first move of the pointer."""

from __future__ import annotations

from playwright.sync_api import Page


def open_model(page: Page, address: str) -> None:
    """Go to a model's page, move the pointer, and wait until the demonstration runs."""
    page.goto(address)
    move(page)
    page.wait_for_selector("[data-ready=yes]")


def move(page: Page) -> None:
    """Be seen by the page."""
    page.mouse.move(5, 5)
    page.mouse.move(10, 10)
