"""What a page of the site points at, and what its content security policy would refuse."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path


class Links(HTMLParser):
    """Gathers what a page points at, and what would break its content security policy."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.inline: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [v for k in ("href", "src") if (v := values.get(k)) is not None]
        if tag == "script":
            if "src" in values:
                self.scripts.append(values["src"] or "")
            elif values.get("type") != "application/json":
                self.inline.append("script")
        if tag == "link" and values.get("rel") == "stylesheet":
            self.styles.append(values["href"] or "")
        self.inline += [k for k in values if k == "style" or k.startswith("on")]
