"""Stateful models, exported with their states as inputs and outputs (test_states.py)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import zoo
from zoo.errors import ZooError
from zoo.parity.runtimes import OnnxRuntime
from zoo.training.framework import import_keras, seed_everything

STEPS = 3


def lstm(keras: Any) -> Any:
    """A layer that answers with every step, and one that answers with the last."""
    x = keras.Input(batch_shape=(2, 4, 3), name="x")
    every = keras.layers.LSTM(5, return_sequences=True, stateful=True, name="first")(x)
    return keras.Model(x, keras.layers.GRU(2, stateful=True, name="second")(every))


def both_directions(keras: Any) -> Any:
    """Each direction keeps a state of its own."""
    x = keras.Input(batch_shape=(2, 4, 3), name="x")
    recurrent = keras.layers.LSTM(2, stateful=True, name="cells")
    return keras.Model(x, keras.layers.Bidirectional(recurrent)(x))


def returned(keras: Any) -> Any:
    """The states are answers too, and one layer is called twice, going on where it stopped."""
    x = keras.Input(batch_shape=(2, 4, 3), name="x")
    layer = keras.layers.SimpleRNN(2, stateful=True, return_state=True, name="cells")
    first, _ = layer(x)
    again, state = layer(x)
    return keras.Model(x, [first, again, state])


def foreign(keras: Any) -> Any:
    """Cells that become no operator: masked steps, stacked cells, a convolution."""
    x = keras.Input(batch_shape=(2, 4, 3), name="x")
    cells = [keras.layers.LSTMCell(2), keras.layers.GRUCell(3)]
    y = keras.layers.RNN(cells, stateful=True, return_sequences=True, name="cells")(
        keras.layers.Masking()(x)
    )
    y = keras.layers.Reshape((4, 3, 1))(y)
    return keras.Model(x, keras.layers.ConvLSTM1D(2, 2, stateful=True, name="conv")(y))


def cached(keras: Any) -> Any:
    """A layer that keeps what it saw last in a cache of its own, and how much it saw."""
    length = 4 * (STEPS - 1)

    class Cached(keras.layers.Layer):  # type: ignore[misc, name-defined]  # Keras ships no types
        def build(self, shape: Any) -> None:
            self.cache = self.add_weight(
                shape=(shape[0], length, shape[2]), trainable=False, name="cache"
            )
            self.count = self.add_weight(
                shape=(), dtype="int32", trainable=False, initializer="zeros", name="count"
            )

        def call(self, x: Any) -> Any:
            ops = keras.ops
            self.cache.assign(ops.concatenate([self.cache[:, 4:], x], axis=1))
            self.count.assign(self.count + 4)
            scores = ops.einsum("bqd,bkd->bqk", x, self.cache)
            scores = ops.where(ops.arange(length) >= length - self.count, scores, -1e9)
            return ops.einsum("bqk,bkd->bqd", ops.softmax(scores), self.cache)

    x = keras.Input(batch_shape=(2, 4, 3), name="x")
    return keras.Model(x, Cached(name="attention")(x))


MODELS = {
    "lstm": lstm,
    "both_directions": both_directions,
    "returned": returned,
    "foreign": foreign,
    "cached": cached,
}


def stepped(name: str, folder: Path, **options: Any) -> dict[str, Any]:
    """Export one; run the file on what it gave before, beside Keras's own stateful calls."""
    seed_everything(5)
    keras = import_keras().keras
    model = MODELS[name](keras)
    model(np.ones((2, 4, 3), "float32"))  # leaves a state, which the export keeps
    kept_by = [getattr(layer, "states", None) for layer in model._flatten_layers(recursive=True)]
    variables = [v for v in keras.tree.flatten(kept_by) if v is not None]
    variables += model.non_trainable_variables
    before = [np.array(v) for v in variables]
    path = folder / f"{name}.onnx"
    report = zoo.export_model(model, path, states="inputs", **options)
    kept = all(np.array_equal(a, b) and a.any() for a, b in zip(before, variables, strict=True))
    for variable in variables:  # Keras cannot reset stacked cells
        variable.assign(np.zeros(variable.shape))
    run = OnnxRuntime().load(path)
    inputs = {t["name"]: t["shape"] for t in report.inputs}
    outputs = [t["name"] for t in report.outputs]
    kinds = {t["name"]: "int32" if t["datatype"] == "INT32" else "float32" for t in report.inputs}
    states = {n: np.zeros(shape, kinds[n]) for n, shape in inputs.items() if n != "x"}
    apart = 0.0
    for rows in np.random.default_rng(3).normal(size=(STEPS, 2, 4, 3)).astype("float32"):
        answers = run({"x": rows, **states})
        keras_answers = model(rows, training=False)
        flat = keras_answers if isinstance(keras_answers, list) else [keras_answers]
        for output, expected in zip(outputs, flat, strict=False):
            apart = max(apart, float(np.abs(answers[output] - np.array(expected)).max()))
        states = {n: answers[n.removesuffix("_before") + "_after"] for n in states}
    moved = max(float(np.abs(value).max()) for value in states.values())
    return {"inputs": inputs, "outputs": outputs, "apart": apart, "kept": kept, "moved": moved}


def refused(folder: Path) -> list[str]:
    """Options that do not go together, and a model that keeps nothing."""
    keras = import_keras().keras
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    texts = []
    for model, options in (
        (lstm(keras), {"states": "kept"}),
        (lstm(keras), {"states": "inputs", "reset_states": True}),
        (lstm(keras), {"states": "inputs", "quantize": "int8", "samples": np.ones((2, 4, 3))}),
        (plain, {"states": "inputs"}),
        (lstm(keras), {}),
    ):
        try:
            zoo.export_model(model, folder / "refused.onnx", **options)
        except ZooError as error:
            texts.append(str(error))
    return texts


CASES: dict[str, Callable[[Path], Any]] = {name: partial(stepped, name) for name in MODELS} | {
    "given_rows": partial(stepped, "lstm", samples=np.ones((2, 4, 3)), portable=True),
    "refused": refused,
}
