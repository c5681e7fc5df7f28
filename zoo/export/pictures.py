"""Draws the pictures beside a model card: training, answers, samples, and what goes on inside the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.card import charts, maps
from zoo.card.chart import Chart
from zoo.card.memory import memory
from zoo.datasets.dataset import Rows
from zoo.recipes.recipe import Recipe
from zoo.training.metrics import decisions
from zoo.training.runs import RunFolder

if TYPE_CHECKING:
    from zoo.export.trained import Trained


def write_pictures(
    folder: Path, recipe: Recipe, run: RunFolder, source: Trained, answers: np.ndarray
) -> None:
    """Write each picture as NAME.svg; `answers`: Keras's first output on every held-out row.

    history      loss by epoch
    held_out     answers against the truth
    samples      of images: some held-out ones
    filters      the first convolution's kernels
    activations  what its layers answer to one image
    memory       states and gates of a recurrent layer along the series
    """
    pictures = {
        "history": charts.history(run.history(), charts.ENGLISH),
        "held_out": charts.held_out(
            recipe.task,
            source.held_out.y,
            answers,
            classes=recipe.classes,
            units=recipe.units,
            words=charts.ENGLISH,
        ),
        **_images(recipe, source, answers),
        **_memory(recipe, source),
    }
    for name, chart in pictures.items():
        (folder / f"{name}.svg").write_bytes(chart.document())


def _images(recipe: Recipe, source: Trained, answers: np.ndarray) -> dict[str, Chart]:
    if recipe.image is None:
        return {}
    from zoo.export.internals import activations, filters

    rows, span = source.held_out, (recipe.image.low, recipe.image.high)
    pictures = {}
    if recipe.classes:
        truth, chosen = rows.y.astype(int), decisions(recipe.task, answers)
        pictures["samples"] = maps.samples(rows.inputs, span, truth, chosen, recipe.classes)
    kernels = filters(source.model)
    if kernels is not None:
        row = _row(rows)
        images = {
            name: maps.shares(values[0], span)
            for name, values in zip(recipe.inputs, row, strict=True)
        }
        pictures["filters"] = maps.filters(*kernels)
        pictures["activations"] = maps.activations(images, activations(source.model, row))
    return pictures


def _row(rows: Rows) -> list[np.ndarray]:
    """Return the held-out row whose first image has the most contrast, as a batch of one."""
    at = int(rows.x.reshape(len(rows), -1).std(axis=1).argmax())
    return [values[at : at + 1] for values in rows.inputs]


def _memory(recipe: Recipe, source: Trained) -> dict[str, Chart]:
    if recipe.task != "forecast":
        return {}
    from zoo.export.internals import memories

    rows = source.held_out
    states = memories(source.model, rows.inputs)
    series = rows.y.reshape(len(rows), -1)[:, -1]
    return {"memory": memory(series, recipe.units, states)} if states else {}
