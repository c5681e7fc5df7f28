"""What a card says of a model's inside, against Keras's own states and the equations of LSTM and GRU."""

import textwrap

import pytest

PROGRAM = textwrap.dedent(
    """
    import numpy as np
    from zoo.training.framework import import_keras
    keras = import_keras().keras
    from zoo.export.internals import activations, filters, memories

    layers, random = keras.layers, np.random.default_rng(0)
    rows = random.normal(size=(7, 5, 2)).astype("f4")

    def model(*stack):
        built = keras.Sequential([keras.Input((5, 2)), *stack])
        built.set_weights([random.normal(size=w.shape) * 0.5 for w in built.get_weights()])
        return built

    def final(layer, x):
        inner = type(layer).from_config(layer.get_config() | {"return_state": True})
        inner(x)
        inner.set_weights(layer.get_weights())
        return [np.asarray(each) for each in inner(x)][1:]

    options = ({}, {"return_sequences": True}, {"go_backwards": True}, {"use_bias": False})
    for more in options:
        built = model(layers.LSTM(3, **more), layers.Dense(1))
        (memory,) = memories(built, [rows])
        hidden, cell = final(built.layers[0], rows)
        np.testing.assert_allclose(memory.states["hidden state"], hidden, atol=1e-5)
        np.testing.assert_allclose(memory.states["cell state"], cell, atol=1e-5)
        assert list(memory.states) == ["cell state", "hidden state"]
        # What leaves the cell is what the output gate lets through.
        np.testing.assert_allclose(memory.gates["output gate"] * np.tanh(cell), hidden, atol=1e-5)
        assert all(((0 <= gate) & (gate <= 1)).all() for gate in memory.gates.values())

    for reset_after in (True, False):
        built = model(layers.GRU(3, reset_after=reset_after), layers.Dense(1))
        (memory,) = memories(built, [rows])
        np.testing.assert_allclose(memory.states["hidden state"], final(built.layers[0], rows)[0], atol=1e-5)
        kernel, recurrent, bias = built.layers[0].get_weights()
        last = keras.Sequential([keras.Input((4, 2)), layers.GRU(3, reset_after=reset_after)])
        last.set_weights(built.layers[0].get_weights())
        total = rows[:, -1] @ kernel + np.asarray(last(rows[:, :-1])) @ recurrent + bias.reshape(-1, 9).sum(axis=0)
        np.testing.assert_allclose(memory.gates["update gate"], 1 / (1 + np.exp(-total[:, :3])), atol=1e-5)
        np.testing.assert_allclose(memory.gates["reset gate"], 1 / (1 + np.exp(-total[:, 3:6])), atol=1e-5)

    built = model(layers.Bidirectional(layers.LSTM(3, return_sequences=True)), layers.Flatten(), layers.Dense(1))
    forward, backward = memories(built, [rows])
    answer = np.asarray(built.layers[0](rows))
    np.testing.assert_allclose(forward.states["hidden state"], answer[:, -1, :3], atol=1e-5)
    np.testing.assert_allclose(backward.states["hidden state"], answer[:, 0, 3:], atol=1e-5)

    class Cell(layers.LSTMCell):
        pass

    masked = rows.copy()
    masked[:, 3:] = 0
    assert memories(model(layers.Masking(), layers.LSTM(3)), [masked]) == []
    assert memories(model(layers.Bidirectional(layers.LSTM(3), merge_mode="sum")), [rows]) == []
    assert memories(model(layers.RNN(Cell(3))), [rows]) == memories(model(layers.Dense(1)), [rows]) == []

    image = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, name="first")(image)
    x = layers.MaxPooling2D(name="pool")(layers.ReLU()(x))
    vision = keras.Model(image, layers.Dense(1)(layers.GlobalAveragePooling2D(name="mean")(x)))
    picture = random.normal(size=(1, 6, 6, 2)).astype("f4")
    name, kernels = filters(vision)
    assert name == "first" and kernels.shape == (3, 3, 2, 4)
    found = activations(vision, [picture])
    assert {key: value.shape for key, value in found.items()} == {"first": (4, 4, 4), "pool": (2, 2, 4), "mean": (4,)}
    np.testing.assert_allclose(found["first"][0, 0], np.einsum("ijc,ijcf->f", picture[0, :3, :3], kernels), atol=1e-4)
    assert filters(built) is None and activations(built, [rows]) == {}
    print("well")
    """
)


@pytest.mark.timeout(120)
def test_states_gates_kernels_and_maps_are_the_models_own(python):
    """LSTM, GRU and both directions, in each form; nothing is said of masks and of cells of one's own."""
    done = python("-c", PROGRAM, timeout=110)

    assert done.stdout.strip() == "well", done.stderr
