"""zoo site: build the gallery, a static site whose models run in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.commands import add_modules, add_published, add_runs, registry

SUMMARY = "build the gallery: a static site whose models run in the browser"
EXAMPLE = "zoo site --output site && zoo serve"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("site"),
        metavar="DIR",
        help="the folder to write; a site that is there is replaced (default: %(default)s)",
    )
    parser.add_argument(
        "--runtime-archive",
        type=Path,
        metavar="FILE.tgz",
        help="the npm package of onnxruntime-web, for a machine without network",
    )
    parser.add_argument(
        "--docs",
        type=Path,
        metavar="DIR",
        help="folder of the documentation as HTML, which `make docs` builds, for docs/ of the site",
    )
    parser.add_argument(
        "--time",
        action="store_true",
        help="measure how long each model takes for one row on this machine, and show the time and the machine",
    )
    add_modules(parser)
    add_published(parser)
    add_runs(parser)


def run(options: argparse.Namespace) -> int:
    """Build the site, and say what it holds."""
    from zoo.models.find import existing_repository
    from zoo.site.build import Sources, build_site

    sources = Sources(
        repository=existing_repository(options.repository),
        runs=options.runs,
        registry=registry(options),
        runtime_archive=options.runtime_archive,
        docs=options.docs,
        timed=options.time,
    )
    files = build_site(sources, options.output)
    models = sum(name.endswith("/model.onnx") for name in files)
    size = sum(files.values()) / 1e6
    print(f"{options.output}: {models} models, {len(files)} files, {size:.1f} MB")
    return 0
