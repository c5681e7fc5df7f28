"""Settings: what one training changes of a recipe's own values, to try others. Plain values.

    with_settings(dense_iris, {"seed": 4, "learning_rate": 0.003})

A setting is one of the recipe's numbers below, or an argument of its builder that has a default.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from zoo.errors import UsageError, did_you_mean
from zoo.recipes.recipe import Recipe, builder_arguments
from zoo.recipes.search import draw
from zoo.recipes.settings import TRAINING, wrong_values

Settings = Mapping[str, Any]

#: Beside the recipe's seed when drawing, so that no other use of the seed draws the same.
SEARCH_STREAM = 0x5EA2C4

#: After so many draws without a new one a space has no more.
FRUITLESS = 200

#: Given in place of settings: go back to the recipe's own values.
OWN = "recipe"


def own_values(recipe: Recipe) -> dict[str, Any]:
    """Return everything that can be set, with the value that the recipe has now."""
    own = {key: getattr(recipe, key) for key in TRAINING}
    return own | builder_arguments(recipe.trained_as.builder) | dict(recipe.settings)


def with_settings(recipe: Recipe, settings: Settings) -> Recipe:
    """Return a recipe of the author's with these settings; equal ones to the author's are dropped.

    Raises UsageError for one that there is not, or whose value is wrong.
    """
    own = own_values(recipe)
    unknown = [key for key in settings if key not in own]
    if unknown:
        every = f"it takes {', '.join(own)}"
        raise UsageError(
            f"{recipe.where}: no setting is called {unknown[0]!r}: "
            f"{did_you_mean(unknown[0], own) or every}"
        )
    changed = {key: value for key, value in settings.items() if value != own[key]}
    fields = {key: value for key, value in changed.items() if key in TRAINING}
    faults = wrong_values(fields)
    faults += [
        f"{key}={value!r}: must be a number, a text, True or False"
        for key, value in changed.items()
        if not isinstance(value, int | float | str)
    ]
    if faults:
        raise UsageError(f"{recipe.where}: {'; '.join(faults)}")
    source = recipe.step_of
    if source is not None:
        fields["step_of"] = with_settings(source, settings)
    changed = dict(sorted(changed.items()))
    return replace(recipe, **fields, settings=changed) if changed else recipe


def drawn_settings(recipe: Recipe, count: int) -> list[dict[str, object]]:
    """Return up to `count` different settings of the recipe's space: its own values, then drawn ones.

    They follow from its seed: as often as one searches the same, and more of them begin with the same. A
    small space has fewer.
    """
    rng = np.random.default_rng([recipe.seed, SEARCH_STREAM])
    drawn = [dict(recipe.settings)]
    fruitless = 0
    while len(drawn) < count and fruitless < FRUITLESS:
        settings = dict(with_settings(recipe, draw(recipe.search, rng)).settings)
        fruitless = fruitless + 1 if settings in drawn else 0
        if not fruitless:
            drawn.append(settings)
    return drawn


def parsed_settings(words: list[str]) -> dict[str, object] | None:
    """Return the settings of KEY=VALUE...; None for none at all, {} for "recipe" alone.

    Raises UsageError for what is neither.
    """
    if not words:
        return None
    if words == [OWN]:
        return {}
    settings: dict[str, object] = {}
    for word in words:
        key, sign, text = word.partition("=")
        if not (sign and key and text):
            raise UsageError(
                f"--set {word}: write KEY=VALUE, or {OWN!r} for the recipe's own values"
            )
        settings[key] = _value(text)
    return settings


def settings_text(settings: Settings) -> str:
    """Return settings as --set takes them: learning_rate=0.003 units=16."""
    return " ".join(f"{key}={value}" for key, value in settings.items())


def _value(text: str) -> object:
    """Return a number, a truth value, or else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
