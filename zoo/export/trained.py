"""Loads a finished training for export: the model with its weights, its record, its held-out rows.

Of a step of a recurrent recipe (zoo/recipes/sequence_step.py) these follow from its source's run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.datasets.dataset import Rows
from zoo.errors import CheckFailed
from zoo.parity.compare import Tolerance, compare, scale_of
from zoo.recipes.architecture import describe
from zoo.recipes.recipe import Recipe
from zoo.recipes.sequence_step import step_model
from zoo.training.framework import import_keras
from zoo.training.loop import call
from zoo.training.record import TrainingRecord
from zoo.training.runs import RunFolder

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a run of a recipe left, ready to be exported."""

    model: keras.Model
    record: TrainingRecord
    held_out: Rows


def load_trained(recipe: Recipe, run: RunFolder) -> Trained:
    """Return a recipe's trained model from the finished run of `recipe.trained_as`.

    Raises CheckFailed for a step that does not end where its source does.
    """
    if recipe.step_of is not None:
        return _step(recipe, load_trained(recipe.step_of, run))
    assert run.record is not None
    # Forgets the names handed out so far. Collecting garbage with it would take as long as
    # building the model; and there is nothing to seed, since every weight is loaded.
    import_keras().keras.backend.clear_session(free_memory=False)
    model = run.chosen_settings(recipe).build()
    model.load_weights(run.weights)
    return Trained(model=model, record=run.record, held_out=run.held_out())


def _step(recipe: Recipe, source: Trained) -> Trained:
    """Return a step with its source's weights; the record is the source's, with other layers."""
    model = step_model(source.model, recipe.name, recipe.states)
    layers: list[Mapping[str, Any]] = [layer.to_json() for layer in describe(model, recipe.outputs)]
    return Trained(
        model=model,
        record=replace(source.record, name=recipe.name, layers=layers),
        held_out=last_steps(source.model, model, source.held_out),
    )


def last_steps(model: keras.Model, step: Any, held_out: Rows) -> Rows:
    """Return each held-out window's last step: its value, the state before it, and the answer.

    CheckFailed if stepping through the windows does not end at the model's own answers.
    """
    windows = held_out.x
    units = [tensor.shape[-1] for tensor in step.inputs[1:]]
    state = [np.zeros((len(windows), size), np.float32) for size in units]
    for at in range(windows.shape[1]):
        value = np.ascontiguousarray(windows[:, at : at + 1])
        before = state
        answer, *state = (np.asarray(a) for a in call(step, [value, *before], training=False))
    whole = np.asarray(call(model, [windows], training=False)[0])
    row = compare(whole, answer, Tolerance(), scale=scale_of(whole))
    if not row["ok"]:
        raise CheckFailed(
            f"{step.name} does not end where {model.name} does: {row['reason']} over "
            f"{len(windows)} windows"
        )
    names = [tensor.name for tensor in step.inputs[1:]]
    return Rows(x=value, y=held_out.y, more_x=dict(zip(names, before, strict=True)))
