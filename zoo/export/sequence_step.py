"""One step of a recurrent model, with its state in and out: for servers that keep sequences.

    model   years (batch, 5, 1)                              -> forecast (batch, 1)
    step    year (batch, 1, 1), hidden, cell (batch, units)  -> forecast, hidden, cell

The step wears the model's trained weights. Fed one value at a time, from zeros, it gives after the
last value of a window what the model gives for the whole window: `proven_rows` sees to that. A
server that knows Triton's sequence_batching keeps the state, so that a client sends values only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zoo.datasets.dataset import Rows
from zoo.errors import CheckFailed, RecipeError
from zoo.parity.compare import Tolerance, compare, scale_of
from zoo.recipes.architecture import describe
from zoo.recipes.recipe import Recipe
from zoo.training.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One tensor that goes out of a step and into the next; `units` elements a row."""

    before: str
    after: str
    units: int


def step_recipe(recipe: Recipe, states: Sequence[State]) -> Recipe:
    """Return the recipe of the step: the same data and claim, another interface."""
    return replace(
        recipe,
        name=recipe.step,
        step="",
        doc=f"One step of {recipe.name}: a value and the state so far in, the forecast and the new "
        f"state out.\n\n{recipe.doc}",
        tutorial=f"{recipe.tutorial}, one value at a time",
        input_name="value",
        more_inputs=tuple(state.before for state in states),
        more_outputs={state.after: "regression" for state in states},
    )


def step_record(recipe: Recipe, record: Record, model: Any) -> Record:
    """Return the training's record as that of the step, whose layers are others."""
    return replace(record, name=recipe.name, layers=[layer.to_json() for layer in describe(model)])


def step_model(model: Any, name: str) -> tuple[Any, tuple[State, ...]]:
    """Return the Keras model of one step, with the trained weights of `model`, and its states.

    RecipeError if the model is not a stack with exactly one recurrent layer.
    """
    import keras

    found = [layer for layer in model.layers if isinstance(layer, keras.layers.RNN)]
    if len(found) != 1 or not isinstance(model, keras.Sequential):
        raise RecipeError(
            f"{name}: a step needs a stack with one recurrent layer, not {len(found)}"
        )
    (recurrent,) = found
    names = ("hidden", "cell") if isinstance(recurrent, keras.layers.LSTM) else ("hidden",)
    states = tuple(
        State(before=f"{kind}_before", after=f"{kind}_after", units=recurrent.units)
        for kind in names
    )
    features = model.inputs[0].shape[-1]
    value = keras.Input((1, features), name="value")
    before = [keras.Input((state.units,), name=state.before) for state in states]
    x, after = value, before
    pairs = []
    for layer in model.layers:
        trained = recurrent.cell if layer is recurrent else layer
        # A layer of its own: one that is called twice has no single shape to show.
        own = type(trained).from_config(trained.get_config())
        if layer is recurrent:
            x = keras.layers.Flatten(name="now")(x)
            x, after = own(x, before)
        else:
            x = own(x)
        pairs.append((own, trained))
    step = keras.Model([value, *before], [x, *after], name=name)
    for own, trained in pairs:
        own.set_weights(trained.get_weights())
        if hasattr(trained, "finalize_state"):
            own.finalize_state()  # Normalization reads its weights once
    return step, states


def proven_rows(model: Any, step: Any, held_out: Rows) -> Rows:
    """Return each held-out window's last step: its value, the state before it, and the answer.

    CheckFailed if stepping through the windows does not end at the model's own answers.
    """
    from zoo.training.loop import call

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
