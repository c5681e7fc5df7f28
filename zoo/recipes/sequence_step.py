"""One step of a recurrent recipe, as a recipe: for servers that keep sequences.

    model   years (batch, 5, 1)                              -> forecast (batch, 1)
    step    value (batch, 1, 1), hidden, cell (batch, units) -> forecast, hidden, cell

The step is derived: it has the model's trained weights, data and claim. Fed one value at a time,
from zeros, it gives after the last value of a window what the model gives for the whole window. A
server that knows Triton's sequence_batching keeps the state, so that a client sends values only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from zoo.errors import RecipeError
from zoo.recipes.recipe import Recipe

if TYPE_CHECKING:
    import keras


def sequence_step(source: Recipe, *, name: str, states: Sequence[str]) -> Recipe:
    """Return the recipe of one step of `source`; `states` as in `hidden`, `cell` for an LSTM.

    Each state goes in as STATE_before and comes out as STATE_after, after the forecast. Raises
    RecipeError for what is no recipe, and for states that are not a list of names.
    """
    if not isinstance(source, Recipe):
        raise RecipeError(f"step {name}: source={source!r}: must be a recipe")
    if not isinstance(states, tuple | list) or not states:
        raise RecipeError(f"step {name}: states={states!r}: must be a tuple of one name or more")

    def build() -> keras.Model:
        return step_model(source.build(), name, states)

    # To the registry it belongs to the module that its source is from.
    build.__module__ = source.builder.__module__
    return replace(
        source,
        name=name,
        builder=build,
        step_of=source,
        search={},
        states=tuple(states),
        doc=f"One step of {source.name}: a value and the state so far in, the forecast and the new "
        f"state out.\n\n{source.doc}",
        tutorial=f"{source.tutorial}, one value at a time",
        input_name="value",
        more_inputs=tuple(f"{state}_before" for state in states),
        more_outputs={f"{state}_after": "regression" for state in states},
    )


def step_model(model: keras.Model, name: str, states: Sequence[str]) -> keras.Model:
    """Return the Keras model of one step, with the weights of `model`.

    RecipeError if the model is not a stack with exactly one recurrent layer of these states.
    """
    import keras

    recurrent, sizes = _recurrent_layer(model, name, states)
    features = model.inputs[0].shape[-1]
    value = keras.Input((1, features), name="value")
    before = [
        keras.Input((size,), name=f"{state}_before")
        for state, size in zip(states, sizes, strict=True)
    ]
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
    return step


def _recurrent_layer(
    model: keras.Model, name: str, states: Sequence[str]
) -> tuple[keras.layers.RNN, list[int]]:
    """Return the one recurrent layer of a stack, and the size of each of its states; else RecipeError."""
    import keras

    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.RNN)]
    if len(layers) != 1 or not isinstance(model, keras.Sequential):
        raise RecipeError(
            f"{name}: a step needs a stack with one recurrent layer, not {len(layers)}"
        )
    (recurrent,) = layers
    sizes = recurrent.cell.state_size
    sizes = [sizes] if isinstance(sizes, int) else list(sizes)
    if len(sizes) != len(states):
        raise RecipeError(
            f"{name}: states={tuple(states)!r}: {recurrent.name} keeps {len(sizes)}: name each"
        )
    return recurrent, sizes
