"""Renders the gallery's pages from the templates in web/, once in each language.

index.html   models/NAME/   tutorial/   try/        and the same below ko/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import MissingPackage, ZooError
from zoo.site.runtime import RUNTIME

LANGUAGES: Mapping[str, str] = {"en": "", "ko": "ko/"}

#: Pages without a model: the template, and the folder below the language's.
PAGES: Mapping[str, str] = {"index.html": "", "tutorial.html": "tutorial/", "try.html": "try/"}


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its path below the site, and its HTML."""

    path: str
    html: str


def web_folder() -> Path:
    """Return the gallery's sources: in the package where it is installed, else in the repository."""
    for folder in (Path(__file__).parent / "web", Path(__file__).parents[2] / "web"):
        if (folder / "templates").is_dir():
            return folder
    raise ZooError("the gallery's sources (web/) are not installed: reinstall layer-zoo")


def render(
    models: Sequence[Mapping[str, Any]],
    version: str,
    *,
    documented: bool = False,
    measured: Mapping[str, str] | None = None,
    runtime_bytes: int,
) -> Iterator[Page]:
    """Yield every page; `models` are the facts of zoo/site/build.py, in the order of the index.

    `documented`: the site has the documentation too, and the pages link it. `measured`: under which conditions
    the models were timed, None if they were not. `runtime_bytes`: what a demonstration loads before it starts.
    """
    web = web_folder()
    environment = _environment(web / "templates")
    for language, below in LANGUAGES.items():
        texts = json.loads((web / "text" / f"{language}.json").read_text(encoding="utf-8"))
        common = {
            "models": models,
            "version": version,
            "documented": documented,
            "measured": measured,
            "runtime": RUNTIME.version,
            "runtime_bytes": runtime_bytes,
            "lang": language,
            "t": texts,
        }
        for template, folder in PAGES.items():
            yield _page(environment, template, below, folder, common)
        for model in models:
            folder = f"models/{model['name']}/"
            yield _page(environment, "model.html", below, folder, common | {"model": model})


def _page(
    environment: Any, template: str, below: str, folder: str, values: Mapping[str, Any]
) -> Page:
    """Render one page; its links are relative, so that a site may lie in any folder of a host."""
    path = f"{below}{folder}"
    root = "../" * path.count("/") or "./"
    html = environment.get_template(template).render(
        **values,
        root=root,
        home=f"{root}{below}",
        other={lang: f"{root}{start}{folder}" for lang, start in LANGUAGES.items()},
        here=template.removesuffix(".html"),
    )
    return Page(f"{path}index.html", html)


def _environment(templates: Path) -> Any:
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise MissingPackage("jinja2", "rendering the gallery", extra="export") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["compact"] = lambda value: json.dumps(value, separators=(",", ":"))
    return environment
