"""Sphinx's settings: the pages of this folder as a site, in the gallery's own style.

python -m sphinx --fail-on-warning docs build/docs      # `make site` puts it into site/docs
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

from sphinx.addnodes import pending_xref

project = "Layer Zoo"
version = release = metadata.version("layer-zoo")
html_title = "Layer Zoo"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["theme"]
myst_heading_anchors = 4  # fragments as GitHub forms them, so that a link holds in both places
myst_enable_extensions = ["colon_fence"]

default_role = "code"  # docstrings write `name`, as everywhere here
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "separated"
nitpicky = False  # types of other packages have no page here

highlight_language = "none"
html_theme = "theme"
html_theme_path = ["."]
# The style and the two scripts that the gallery's pages have, and no other.
html_static_path = [
    "../web/assets/style.css", "../web/assets/theme.js", "../web/assets/app.js",
    "../web/assets/dom.js", "../web/assets/icon.svg",
]  # fmt: skip
html_copy_source = False
html_use_index = False
html_domain_indices = False


def scrolling(body: str) -> str:
    """Let tables and code that are wider than the page be scrolled, by keys too."""
    return (
        body.replace("<pre>", '<pre tabindex="0">')
        .replace(
            "<table ", '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table '
        )
        .replace("</table>", "</table></div>")
    )


def literal_blocks(lines: list[str]) -> list[str]:
    """Mark indented parts of a docstring as literal: docstrings here draw with them, and say no `::`."""
    marked: list[str] = []
    inside = False
    for line in lines:
        indented = line.startswith("    ")
        if indented and not inside and marked and not marked[-1]:
            marked += ["::", ""]
            inside = True
        elif line and not indented:
            inside = False
        marked.append(line)
    return marked


def _docstring(
    _app: Any, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]
) -> None:
    lines[:] = literal_blocks(lines)


def _without_sequences(_app: Any, document: Any) -> None:
    """Take the links from annotations that say Sequence: they mean Python's, and would lead to zoo.client's."""
    for reference in list(document.findall(pending_xref)):
        if reference.get("reftarget") == "Sequence":
            reference.replace_self(reference.children)


def _page(_app: Any, _name: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    if "body" in context:
        context["body"] = scrolling(context["body"])


def setup(app: Any) -> None:
    """Hook the changes into the build."""
    app.connect("html-page-context", _page)
    app.connect("doctree-read", _without_sequences)
    app.connect("autodoc-process-docstring", _docstring)
