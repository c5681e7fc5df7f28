"""The commands of `zoo`, one module each, and the options that several of them share."""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import MissingPackage, UsageError
from zoo.models.find import existing_repository
from zoo.publish.versions import REPOSITORY, export_command, model_names
from zoo.terminal.messages import say
from zoo_server.config import repository_place
from zoo_server.repository import layout

if TYPE_CHECKING:
    from zoo.recipes.recipe import Recipe
    from zoo.recipes.registry import Registry

RUNS = Path("build/runs")
COMPAT = Path("build/compat")


RECIPES = "add the recipes of this file"


def add_models(parser: argparse.ArgumentParser, what: str, modules: str = RECIPES) -> None:
    """Add MODEL... and --module; `modules` as add_modules takes it."""
    parser.add_argument("models", nargs="*", metavar="MODEL", help=what)
    add_modules(parser, modules)


def add_modules(parser: argparse.ArgumentParser, what: str = RECIPES) -> None:
    """Add --module FILE.py, for recipes and classes outside the package; `what` is done with it."""
    parser.add_argument(
        "--module",
        dest="modules",
        action="append",
        default=[],
        type=Path,
        metavar="FILE.py",
        help=f"{what} (repeatable)",
    )


def add_published_model(parser: argparse.ArgumentParser) -> None:
    """Add MODEL, and where it is asked: --repository or --server; --module for what is not exported yet."""
    parser.add_argument("model", metavar="MODEL", help="a model's name, its folder, or a FILE.onnx")
    add_published(parser)
    parser.add_argument(
        "--server", metavar="HOST:PORT", help="ask the server whose gRPC listens there"
    )
    add_modules(parser)


def add_model_version(parser: argparse.ArgumentParser, what: str) -> None:
    """Add MODEL[@VERSION], a pair of name and version, None where none is given."""
    parser.add_argument(
        "model",
        type=_model_version,
        metavar="MODEL[@VERSION]",
        help=f"a model's name, and the {what}",
    )


def _model_version(text: str) -> tuple[str, int | None]:
    name, sign, digits = text.rpartition("@")
    if not sign:
        return text, None
    number = layout.version_number(digits)
    if number is None:
        raise argparse.ArgumentTypeError(f"{digits!r} is no version: write MODEL@1")
    return name, number


def add_repository(parser: argparse.ArgumentParser, *, or_url: bool = False) -> None:
    """Add --repository DIR, where a URL of an object store is read or written as well, as text."""
    parser.add_argument(
        "--repository",
        type=repository_place if or_url else Path,
        default=REPOSITORY,
        metavar="DIR|URL" if or_url else "DIR",
        help=f"the model repository{', or s3://bucket/path and the like' if or_url else ''} "
        "(default: %(default)s)",
    )


def add_published(parser: argparse.ArgumentParser) -> None:
    """Add --repository DIR for a command that only reads: None where it is not given."""
    parser.add_argument(
        "--repository",
        type=Path,
        metavar="DIR",
        help="the model repository (default: models, else the installed layer-zoo-models)",
    )


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add --runs DIR."""
    parser.add_argument(
        "--runs",
        type=Path,
        default=RUNS,
        metavar="DIR",
        help="folder of finished trainings (default: %(default)s)",
    )


def add_compat(parser: argparse._ActionsContainer) -> None:
    """Add --compat DIR."""
    parser.add_argument(
        "--compat",
        type=Path,
        default=COMPAT,
        metavar="DIR",
        help="folder for the environments of other runtimes (6 GB for all) and their results "
        "(default: %(default)s)",
    )


def add_json(parser: argparse.ArgumentParser | argparse._MutuallyExclusiveGroup) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def registry(options: argparse.Namespace) -> Registry:
    """Return the recipes of the package, of installed plug-ins and of --module files."""
    from zoo.recipes.registry import Registry

    known = Registry.default()
    for path in options.modules:
        known.add_file(path)
    return known


def chosen_recipes(options: argparse.Namespace) -> list[Recipe]:
    """Return the recipes of MODEL..., or all whose data is here; says which are left out and why."""
    known = registry(options)
    if options.models:
        return [known.get(name) for name in dict.fromkeys(options.models)]
    recipes = [known.get(name) for name in known.names()]
    for recipe in recipes:
        if recipe.dataset.is_left_out:
            say(
                f"{recipe.name} is left out: its data, {recipe.dataset.title}, is not on this "
                f"machine: {recipe.dataset.obtain}"
            )
    return [recipe for recipe in recipes if not recipe.dataset.is_left_out]


def require_export(options: argparse.Namespace) -> None:
    """Raise UsageError where MODEL is a recipe that is not in the repository yet, with what exports it."""
    if options.server is not None:
        return
    repository = existing_repository(options.repository)
    if options.model in model_names(repository):
        return
    if options.model in registry(options).names():
        command = export_command(options.repository or REPOSITORY, options.model, options.modules)
        raise UsageError(f"{options.model} is not exported yet: run {command}")


def require_training(purpose: str) -> None:
    """Raise MissingPackage before anything is begun that needs the train extra."""
    for package in ("tensorflow", "keras", "tf2onnx", "onnx"):
        if find_spec(package) is None:
            raise MissingPackage(package, purpose)


def print_json(values: Any) -> None:
    """Print values as indented JSON."""
    print(json.dumps(values, indent=2, default=str))
