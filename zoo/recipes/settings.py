"""What the settings of a recipe may be: each value by itself, unknown ones, missing ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from zoo.datasets.dataset import Dataset
from zoo.errors import did_you_mean
from zoo.recipes.search import is_space

#: The tasks, and what each is trained on unless the recipe says otherwise.
LOSSES: Mapping[str, str] = {
    "multiclass": "sparse_categorical_crossentropy",
    "binary": "binary_crossentropy",
    "regression": "mean_squared_error",
    "forecast": "mean_squared_error",
}

#: The naive answers a model must beat, and the tasks each one makes sense for.
BASELINES: Mapping[str, tuple[str, ...]] = {
    "majority": ("multiclass", "binary"),  # always the commonest class of the training split
    "mean": ("regression", "forecast"),  # always the mean of the training split
    "last_value": ("forecast",),  # tomorrow is like today
}


#: The settings that say how a model is trained, and that one training may change.
TRAINING = ("seed", "epochs", "batch_size", "learning_rate", "patience")


def one_of(values: Collection[str]) -> str:
    """Return the values as a message lists them."""
    return "one of " + ", ".join(repr(value) for value in values)


def is_task(value: object) -> bool:
    """Tell whether this is a task's name, whatever its type."""
    return isinstance(value, str) and value in LOSSES


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_tensor_name(value: object) -> bool:
    # The names end up in ONNX, config.pbtxt and URLs alike.
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", value) is not None


#: By setting: whether a value is right, and what is wanted.
RULES: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "name": (
        lambda value: isinstance(value, str) and bool(re.fullmatch(r"[a-z][a-z0-9_]*", value)),
        "lower-case letters, digits and underscores, a letter first",
    ),
    "tutorial": (_is_text, "the piece of the tutorial, such as 'Dense(8, relu)'"),
    "dataset": (lambda value: isinstance(value, Dataset), "a zoo.datasets.dataset.Dataset"),
    "task": (is_task, one_of(LOSSES)),
    "input_name": (_is_tensor_name, "a letter, then letters, digits and underscores"),
    "output_name": (_is_tensor_name, "a letter, then letters, digits and underscores"),
    "more_inputs": (
        lambda value: isinstance(value, tuple) and all(map(_is_tensor_name, value)),
        "a tuple of names, each a letter, then letters, digits and underscores",
    ),
    "more_outputs": (
        lambda value: (
            isinstance(value, Mapping)
            and all(map(_is_tensor_name, value))
            and all(map(is_task, value.values()))
        ),
        f"a mapping from a name to its task, {one_of(LOSSES)}",
    ),
    "parameters": (_is_count, "the number of trainable parameters, 1 or more"),
    "baseline": (
        lambda value: isinstance(value, str) and value in BASELINES,
        one_of(BASELINES),
    ),
    "seed": (lambda v: type(v) is int and 0 <= v < 2**32, "a whole number from 0 to 2**32 - 1"),
    "epochs": (_is_count, "a whole number, 1 or more"),
    "batch_size": (_is_count, "a whole number, 1 or more"),
    "learning_rate": (
        lambda value: isinstance(value, float) and 0 < value < 10,
        "a float above 0 and below 10, such as 0.001",
    ),
    "patience": (_is_count, "a whole number of epochs, 1 or more"),
    "loss": (_is_text, "the name of a Keras loss"),
    "backup": (lambda value: isinstance(value, bool), "True or False"),
    "search": (
        is_space,
        "for each setting two values or more in a tuple, or uniform(low, high) or log_uniform(low, high)",
    ),
    "why_not_linear": (lambda value: isinstance(value, str), "a sentence, or nothing"),
}


def wrong_values(settings: Mapping[str, object]) -> list[str]:
    """Return what is wrong with each value by itself; settings without a rule are passed over."""
    return [
        f"{key}={settings[key]!r}: must be {expected}"
        for key, (valid, expected) in RULES.items()
        if key in settings and not valid(settings[key])
    ]


def wrong_names(
    settings: Mapping[str, object], known: Collection[str], required: Collection[str]
) -> list[str]:
    """Return which settings there are none of, with near names, and which are missing."""
    every = f"it takes {', '.join(known)}"
    faults = [
        f"no setting is called {key!r}: {did_you_mean(key, known) or every}"
        for key in settings
        if key not in known
    ]
    missing = [key for key in required if key not in settings]
    return [*faults, *([f"{', '.join(missing)} must be given"] if missing else [])]
