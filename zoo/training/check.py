"""Checks that a recipe's model is what recipe and data say: names, shapes, parameters, rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from zoo.datasets.dataset import Rows, Splits
from zoo.errors import RecipeError, UsageError
from zoo.recipes.recipe import Recipe
from zoo.training.loop import prepare

if TYPE_CHECKING:
    import keras


def check_recipe(recipe: Recipe) -> None:
    """Build a recipe's model and compare it with recipe and data, and train nothing.

    Raises RecipeError with everything that is wrong, and as reading the data does.
    """
    from zoo.training.framework import seed_everything

    splits = recipe.dataset.load()
    seed_everything(recipe.seed)
    model = recipe.build()
    check_model(recipe, model, splits)
    prepare(recipe, model, splits.train)


def check_model(recipe: Recipe, model: keras.Model, splits: Splits) -> None:
    """Compare a built model with its recipe and its data; raises RecipeError with all that differs."""
    where = recipe.where
    if not getattr(model, "built", False) or not getattr(model, "inputs", None):
        raise RecipeError(f"{where}: returns a model without shapes: begin it with keras.Input")
    train = splits.train
    facts = [
        ("inputs are called", [tensor.name for tensor in model.inputs], list(recipe.inputs)),
        ("outputs are as many as", len(model.outputs), len(recipe.outputs)),
        ("data's inputs are called", list(train.more_x), list(recipe.more_inputs)),
        ("data's outputs are called", list(train.more_y), list(recipe.more_outputs)),
    ]
    faults = [
        f"its {what} {seen}, but recipe and data say {expected}"
        for what, seen, expected in facts
        if seen != expected
    ]
    if not faults:  # else nothing says which shapes belong together
        faults = _wrong_shapes(recipe, model, train)
    trainable = count(model.trainable_weights)
    # The author's number is that of the author's own arguments.
    if trainable != recipe.parameters and not recipe.arguments:
        faults.append(
            f"its trainable parameters are {trainable}, but recipe and data say {recipe.parameters}"
        )
    promised, rows = recipe.claim.rows, len(splits.test)
    if promised != rows:
        faults.append(f"claims {promised} held-out rows, but the test split has {rows}")
    if faults:
        raise RecipeError(f"{where}: {'; '.join(faults)}")


def check_shares(recipe: Recipe, rows: int, workers: int) -> None:
    """Raise UsageError if a worker would have no row of some batch."""
    smallest = min(rows, recipe.batch_size, rows % recipe.batch_size or recipe.batch_size)
    if smallest < workers:
        raise UsageError(
            f"{recipe.where}: {workers} workers cannot share its smallest batch of {smallest} "
            f"rows: {rows} rows to train, batch_size={recipe.batch_size}: take {smallest} at most"
        )


def _wrong_shapes(recipe: Recipe, model: keras.Model, train: Rows) -> list[str]:
    inputs = [
        ("input", tensor, (None, *x.shape[1:]))
        for tensor, x in zip(model.inputs, train.inputs, strict=True)
    ]
    outputs = [
        ("output", tensor, expected)
        for tensor, expected in zip(model.outputs, output_shapes(recipe, train), strict=True)
    ]
    return [
        f"its {side} has the shape {tuple(tensor.shape)}, but recipe and data say {expected}"
        for side, tensor, expected in (*inputs, *outputs)
        if not _fits(tuple(tensor.shape), expected)
    ]


def output_shapes(recipe: Recipe, rows: Rows) -> list[tuple[int | None, ...]]:
    """Return each output's shape as its task and the data ask for it, None for the batch."""

    def shape(task: str, y: np.ndarray) -> tuple[int | None, ...]:
        if task == "multiclass":
            return (None, len(recipe.classes))
        return (None, 1) if task == "binary" else (None, *y.shape[1:])

    return [shape(task, y) for task, y in zip(recipe.tasks, rows.answers, strict=True)]


def _fits(shape: tuple[int | None, ...], expected: tuple[int | None, ...]) -> bool:
    """Tell whether a model's shape holds the data's: an open dimension takes any size."""
    return len(shape) == len(expected) and all(
        seen in (None, size) for seen, size in zip(shape, expected, strict=True)
    )


def count(weights: Iterable[keras.Variable]) -> int:
    """Return how many numbers these weights hold."""
    return sum(int(np.prod(weight.shape)) for weight in weights)
