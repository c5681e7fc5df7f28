"""One step of a recurrent model: the same weights, the same answers."""

import textwrap

import pytest

PROGRAM = textwrap.dedent(
    """
    import numpy as np
    from zoo.training.framework import import_keras
    keras = import_keras().keras
    from zoo.datasets.dataset import Rows
    from zoo.errors import CheckFailed, RecipeError
    from zoo.export.trained import last_steps
    from zoo.recipes.sequence_step import step_model

    def stack(*layers):
        return keras.Sequential([keras.Input((5, 1), name="years"), *layers])

    random = np.random.default_rng(0)
    rows = Rows(x=random.normal(size=(9, 5, 1)).astype("f4"), y=np.zeros((9, 1), "f4"))
    one, two = ("hidden",), ("hidden", "cell")
    for kind, states in (("LSTM", two), ("GRU", one), ("SimpleRNN", one)):
        scale = keras.layers.Normalization(mean=[0.5], variance=[2.0])
        model = stack(scale, getattr(keras.layers, kind)(3), keras.layers.Dense(1))
        step = step_model(model, "step", states)
        last = last_steps(model, step, rows)
        assert last.x.shape == (9, 1, 1)
        assert list(last.more_x) == [f"{state}_before" for state in states]
        step.layers[-1].set_weights([w + 1 for w in step.layers[-1].get_weights()])
        try:
            last_steps(model, step, rows)
        except CheckFailed as error:
            assert "does not end where" in str(error)
        else:
            raise AssertionError("a step with other weights was not noticed")
    for model in (stack(keras.layers.Flatten()), stack(*(keras.layers.LSTM(2, return_sequences=True) for _ in "ab"))):
        try:
            step_model(model, "step", one)
        except RecipeError as error:
            assert "one recurrent layer" in str(error)
        else:
            raise AssertionError("no step of this can be right")
    try:
        step_model(stack(keras.layers.LSTM(2)), "step", one)
    except RecipeError as error:
        assert "states=('hidden',): lstm" in str(error), error
    else:
        raise AssertionError("an LSTM has two states")
    print("well")
    """
)


@pytest.mark.timeout(120)
def test_a_step_ends_where_the_model_does(python):
    """LSTM, GRU and SimpleRNN, scaled; other weights are noticed; other stacks are refused."""
    done = python("-c", PROGRAM, timeout=110)

    assert done.stdout.strip() == "well", done.stderr


def test_a_step_is_a_recipe_that_is_trained_as_its_source():
    """It has a name, data and a claim like any other; its tensors are its own."""
    from zoo.recipes.registry import Registry

    known = Registry.default(installed=())
    step, source = known.get("lstm_sunspots_step"), known.get("lstm_sunspots")

    assert step.trained_as is source
    assert source.trained_as is source
    assert step.inputs == ("value", "hidden_before", "cell_before")
    assert step.outputs == ("forecast", "hidden_after", "cell_after")
    assert step.state_tensors == {"hidden_before": "hidden_after", "cell_before": "cell_after"}
    assert (step.claim, step.dataset) == (source.claim, source.dataset)
