"""One step of a recurrent model: the same weights, the same answers."""

import subprocess
import sys
import textwrap

import pytest

PROGRAM = textwrap.dedent(
    """
    import numpy as np
    from zoo.training.framework import import_keras
    keras = import_keras().keras
    from zoo.datasets.dataset import Rows
    from zoo.errors import CheckFailed, RecipeError
    from zoo.export.sequence_step import proven_rows, step_model

    def stack(*layers):
        return keras.Sequential([keras.Input((5, 1), name="years"), *layers])

    random = np.random.default_rng(0)
    rows = Rows(x=random.normal(size=(9, 5, 1)).astype("f4"), y=np.zeros((9, 1), "f4"))
    for kind, states in (("LSTM", 2), ("GRU", 1), ("SimpleRNN", 1)):
        scale = keras.layers.Normalization(mean=[0.5], variance=[2.0])
        model = stack(scale, getattr(keras.layers, kind)(3), keras.layers.Dense(1))
        step, found = step_model(model, "step")
        assert len(found) == states, found
        last = proven_rows(model, step, rows)
        assert last.x.shape == (9, 1, 1) and len(last.more_x) == states
        step.layers[-1].set_weights([w + 1 for w in step.layers[-1].get_weights()])
        try:
            proven_rows(model, step, rows)
        except CheckFailed as error:
            assert "does not end where" in str(error)
        else:
            raise AssertionError("a step with other weights was not noticed")
    for model in (stack(keras.layers.Flatten()), stack(*(keras.layers.LSTM(2, return_sequences=True) for _ in "ab"))):
        try:
            step_model(model, "step")
        except RecipeError as error:
            assert "one recurrent layer" in str(error)
        else:
            raise AssertionError("no step of this can be right")
    print("well")
    """
)


@pytest.mark.timeout(120)
def test_a_step_ends_where_the_model_does():
    """LSTM, GRU and SimpleRNN, scaled; other weights are noticed; other stacks are refused."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, timeout=110
    )

    assert done.stdout.strip() == "well", done.stderr
