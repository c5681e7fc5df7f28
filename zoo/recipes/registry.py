"""The registry of recipes: every model's name, owner and recipe.

Three kinds of owner: the families in `zoo/recipes/`, packages that declare the entry-point group
`zoo.models` (listed by name, imported on use), and files given with `--module`. A name belongs to
one owner; a second one is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from zoo.errors import RecipeError, UsageError, ZooError, did_you_mean
from zoo.recipes import FAMILIES
from zoo.recipes.recipe import Recipe

GROUP = "zoo.models"


class Registry:
    """Recipes by name, in the order they were added."""

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}
        self._loaders: dict[str, Callable[[], Recipe]] = {}

    @classmethod
    def default(cls, installed: Iterable[EntryPoint] | None = None) -> Registry:
        """Return the built-in models, then those of installed packages, by name."""
        registry = cls()
        for family in FAMILIES:
            for recipe in recipes_of(import_module(f"zoo.recipes.{family}")):
                registry.add(recipe)
        entries = entry_points(group=GROUP) if installed is None else installed
        for entry in sorted(entries, key=lambda entry: entry.name):
            owner = entry.dist.name if entry.dist is not None else "an installed package"
            registry._claim(entry.name, f"{owner} ({entry.value})", _entry_loader(entry))
        return registry

    def add(self, recipe: Recipe) -> None:
        """Add one recipe; raises UsageError when its name is taken."""
        self._claim(recipe.name, recipe.owner, lambda: recipe)

    def add_file(self, path: Path) -> tuple[str, ...]:
        """Run a Python file and add the recipes it defines; returns their names.

        Raises UsageError naming the file, and the line, when it cannot be run or defines none.
        """
        recipes = recipes_of(run_file(path))
        if not recipes:
            raise UsageError(
                f"{path} defines no recipe: mark a function with @zoo.recipes.recipe.recipe"
            )
        for recipe in recipes:
            self.add(recipe)
        return tuple(recipe.name for recipe in recipes)

    def names(self) -> tuple[str, ...]:
        """Return every name in stable order; imports nothing."""
        return tuple(self.owners)

    def get(self, name: str) -> Recipe:
        """Return the recipe of a name; raises UsageError with near matches for an unknown one."""
        if name not in self._loaders:
            raise self.unknown(name)
        return self._loaders[name]()

    def unknown(self, name: str) -> UsageError:
        """Return the error that says that no model has this name, and which names are near."""
        hint = (
            version_hint(name, self.owners)
            or did_you_mean(name, self.owners)
            or "`zoo list` shows them all"
        )
        return UsageError(f"no model is called {name!r}: {hint}")

    def _claim(self, name: str, owner: str, load: Callable[[], Recipe]) -> None:
        if name in self.owners:
            both = f"{self.owners[name]} and {owner}"
            raise UsageError(f"two recipes are called {name!r}: {both}: rename one")
        self.owners[name] = owner
        self._loaders[name] = load


def version_hint(name: str, known: Iterable[str]) -> str:
    """Return how else a version is named, for NAME@VERSION of a known name; empty for another text."""
    base, _, number = name.rpartition("@")
    if base not in known or not number.isdecimal():
        return ""
    return (
        f"@{number} is understood by `zoo push` and `zoo pull` alone: `zoo predict {base}` takes "
        f"--model-version {number} (zoo.load: version={number}), `zoo bench` the version's folder, `zoo verify` its "
        f"model.onnx, and the others take {base}"
    )


def recipes_of(module: ModuleType) -> list[Recipe]:
    """Return the recipes a module defines itself, in order; imported ones belong to others."""
    recipes = (value for value in vars(module).values() if isinstance(value, Recipe))
    return [recipe for recipe in recipes if recipe.builder.__module__ == module.__name__]


def _entry_loader(entry: EntryPoint) -> Callable[[], Recipe]:
    def load() -> Recipe:
        try:
            recipe = entry.load()
        except ZooError:
            raise
        except Exception as error:
            raise UsageError(f"{entry.value}: {type(error).__name__}: {error}") from error
        if not isinstance(recipe, Recipe) or recipe.name != entry.name:
            raise RecipeError(f"{entry.value} is {recipe!r}, not a recipe called {entry.name!r}")
        return recipe

    return load


def check_file(path: Path) -> None:
    """Raise UsageError for what cannot be run as a file of --module."""
    if not path.is_file():
        raise UsageError(f"--module {path}: there is no such file")
    if path.suffix != ".py":
        raise UsageError(f"--module {path}: not a Python file: its name must end in .py")


def run_file(path: Path) -> ModuleType:
    """Run a Python file and return its module. Raises UsageError naming the file and the line."""
    check_file(path)
    name = f"zoo_module_{path.stem}_{abs(hash(path.resolve()))}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ZooError:
        raise
    except SyntaxError as error:
        raise UsageError(f"{error.filename}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        steps = [s for s in extract_tb(error.__traceback__) if s.filename == spec.origin]
        line = f":{steps[-1].lineno}" if steps else ""
        raise UsageError(f"{path}{line}: {type(error).__name__}: {error}") from error
    return module
