"""Models that are called in every way that Keras allows, exported (test_calls.py)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import zoo
from zoo.convert.specification import signature_of
from zoo.errors import ZooError
from zoo.parity.answered_rows import answered_rows
from zoo.training.framework import import_keras, seed_everything

Build = Callable[[Any], Any]


def fitted(keras: Any) -> Any:
    """A Sequential that learns its shape from the batches it is fitted on."""
    model = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.zeros((32, 10)), np.zeros((32, 1)), verbose=0, batch_size=32)
    return model


def two_arguments(keras: Any, *, build: bool) -> Any:
    """A call of two tensors; without `build`, Keras records the first alone."""

    class Both(keras.Model):  # type: ignore[misc, name-defined]  # Keras ships no types
        def call(self, x: Any, context: Any, mask: Any = None, training: Any = None) -> Any:
            return x - 2 * context[:, :3]

    if build:
        Both.build = lambda self, context_shape, x_shape: None
    model = Both()
    model(np.zeros((2, 3)), np.zeros((2, 5)))
    return model


def optional_argument(keras: Any) -> Any:
    """A call of one tensor, or of two; Keras saw it called on one."""

    class Optional(keras.Model):  # type: ignore[misc, name-defined]
        def call(self, x: Any, context: Any = None) -> Any:
            return x if context is None else x - 2 * context[:, :3]

    model = Optional()
    model(np.zeros((2, 3)))
    return model


def token_ids(keras: Any) -> Any:
    """A subclassed model of integers, called with rows of them; Keras records no type."""

    class Ids(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.table = keras.layers.Embedding(10, 4)

        def call(self, ids: Any, weights: Any = None) -> Any:
            return self.table(ids[:, 1:])

    model = Ids()
    model(np.zeros((2, 6), "int32"))
    return model


def one_layer(keras: Any, call: Callable[..., Any], *shape: int | None) -> Any:
    """A functional model around a layer whose call is a function of the layer and its input."""

    class Mine(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(name="mine")
            options = {"initializer": "ones", "trainable": False}
            self.total = self.add_weight(shape=(), name="total", **options)
            self.seeds = keras.random.SeedGenerator(3)

        def call(self, x: Any) -> Any:
            return call(self, x)

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

    x = keras.Input(shape)
    return keras.Model(x, Mine()(x))


def _counting(layer: Any, x: Any) -> Any:
    layer.total.assign_add(1.0)
    return x + layer.total


def _clipping(layer: Any, x: Any) -> Any:
    """What the second call finds is as the first left it."""
    layer.total.assign(layer.total * 0 + 0.5)
    return x * layer.total


def _noisy(keras: Any, layer: Any, x: Any) -> Any:
    return x + keras.random.uniform(keras.ops.shape(x), seed=layer.seeds)


def whole_numbers(keras: Any) -> Any:
    """A subclassed model that adds int32 to its input, which is none else then."""

    class Whole(keras.Model):  # type: ignore[misc, name-defined]
        def call(self, x: Any) -> Any:
            import tensorflow as tf

            return x + tf.fill(tf.shape(x), 7)

    model = Whole()
    model(np.zeros((2, 3), np.int32))
    return model


def fixed_noise(keras: Any) -> Any:
    """Random numbers in a model of fixed shape, where TensorFlow folds them into a constant."""
    x = keras.Input(batch_shape=(3, 4))
    seeds = keras.random.SeedGenerator(3)
    noise = keras.layers.Lambda(
        lambda x: x + keras.random.uniform((3, 4), seed=seeds), output_shape=(4,), name="noise"
    )
    return keras.Model(x, noise(x))


def rows_of_three(keras: Any) -> Any:
    """A model that divides its batch by three, so that it takes no other."""
    layer = keras.layers.Lambda(lambda x: keras.ops.reshape(x, (3, 5, 2)), output_shape=(5, 2))
    x = keras.Input((10,))
    return keras.Model(x, layer(x))


def words_in_order(keras: Any) -> Any:
    """A Sequential that was never called, and takes [batch, time] alone."""
    layers = [keras.layers.Embedding(9, 4), keras.layers.LSTM(3), keras.layers.Dense(2)]
    return keras.Sequential(layers)


def wide_windows(keras: Any) -> Any:
    """A text CNN: rows shorter than its windows have no answer."""
    x = keras.Input((None, 4))
    y = keras.layers.Conv1D(3, 9)(keras.layers.MaxPooling1D(2)(x))
    return keras.Model(x, keras.layers.GlobalMaxPooling1D()(y))


def whole_division(keras: Any) -> Any:
    """A model that divides by its input as a whole number, which 0 is for many normal numbers."""
    import tensorflow as tf

    def remainder(x: Any) -> Any:
        return tf.math.floormod(tf.fill(tf.shape(x), 7), tf.cast(x, tf.int32))

    x = keras.Input((40,))
    return keras.Model(x, keras.layers.Lambda(remainder, output_shape=(40,))(x))


def roots(keras: Any) -> Any:
    """A model of numbers that are not negative."""
    x = keras.Input((40,))
    return keras.Model(x, keras.ops.sqrt(x))


def large_answer(keras: Any) -> Any:
    """More than four million numbers for each row."""
    x = keras.Input((2,))
    return keras.Model(x, keras.layers.RepeatVector(2_100_000)(x))


def large_row(keras: Any) -> Any:
    """More than a hundred thousand numbers in a row, and 35 MB of weights."""
    layers = keras.layers
    net = [layers.AveragePooling1D(50), layers.Flatten(), layers.Dense(4200), layers.Dense(3)]
    return keras.Sequential([keras.Input((350, 300)), *net])


PAIR = {"x": np.ones((4, 3), "float32"), "context": np.arange(20.0).reshape(4, 5)}

#: A model each, and how it is exported.
MODELS: dict[str, tuple[Build, dict[str, Any]]] = {
    "fitted": (fitted, {}),
    "built": (partial(two_arguments, build=True), {}),
    "recorded": (partial(two_arguments, build=False), {}),
    "named": (partial(two_arguments, build=False), {"samples": PAIR}),
    "listed": (partial(two_arguments, build=True), {"samples": list(PAIR.values())}),
    "left_out": (optional_argument, {}),
    "given": (optional_argument, {"samples": PAIR}),
    "ids": (token_ids, {}),
    "ids_int64": (token_ids, {"samples": np.arange(6).reshape(1, 6)}),
    "whole_numbers": (whole_numbers, {}),
    "counter": (lambda k: one_layer(k, _counting, 4), {}),
    "settled": (lambda k: one_layer(k, _clipping, 4), {}),
    "noise": (lambda k: one_layer(k, partial(_noisy, k), 4), {}),
    "fixed_noise": (fixed_noise, {}),
    "rows_of_three": (rows_of_three, {}),
    "one_rank": (words_in_order, {}),
    "wide_windows": (wide_windows, {}),
    "large_answer": (large_answer, {}),
    "large_row": (large_row, {}),
    "whole_division": (whole_division, {}),
}


def exported(name: str, folder: Path) -> dict[str, Any]:
    """Export one into a folder, which names no file; what was written, or said."""
    seed_everything(5)
    build, options = MODELS[name]
    target = folder / name
    target.mkdir()
    keras = import_keras().keras
    try:
        report = zoo.export_model(build(keras), target, **options)
    except ZooError as error:
        return {"text": str(error), "left": [path.name for path in target.iterdir()]}
    inputs = {t["name"]: [t["datatype"], *t["shape"]] for t in report.inputs}
    cases = sorted({row.case for row in report.parity})
    return {"text": "", "inputs": inputs, "notes": report.notes, "cases": cases} | {
        "left": [path.name for path in target.iterdir()]
    }


def signed(folder: Path) -> dict[str, Any]:
    """Say what a call takes, in the forms that Keras's own export accepts."""
    keras = import_keras().keras
    spec = keras.InputSpec
    x, context = spec(shape=(None, 3), dtype="float32"), spec(shape=(None, 5), dtype="float32")
    forms = {
        "list": [x, context],
        "dict": {"context": context, "x": x},
        "fixed": [spec(shape=(2, 3), dtype="float32"), spec(shape=(2, 5), dtype="float32")],
        "tensors": [np.zeros((2, 3), "float32"), np.zeros((2, 5), "float32")],
    }
    inputs = {}
    for name, form in forms.items():
        model = two_arguments(keras, build=False)
        report = zoo.export_model(model, folder / "signed.onnx", input_signature=form)
        inputs[name] = {t["name"]: t["shape"] for t in report.inputs}
    ids = [spec(shape=(None, 6), dtype="int64", name="tokens")]
    report = zoo.export_model(token_ids(keras), folder / "signed.onnx", input_signature=ids)
    inputs["named"] = {t["name"]: [t["datatype"], *t["shape"]] for t in report.inputs}
    try:
        zoo.export_model(token_ids(keras), folder / "signed.onnx", input_signature=[123])
    except ZooError as error:
        inputs["wrong"] = str(error)
    return inputs


def rows_of_roots(folder: Path) -> bool:
    """Whether each random row of a model of roots has an answer."""
    model = roots(import_keras().keras)
    _, rows = answered_rows(model, signature_of(model))
    return all(row.has_numbers for row in rows)


CASES: dict[str, Callable[[Path], Any]] = {name: partial(exported, name) for name in MODELS} | {
    "signed": signed,
    "rows_of_roots": rows_of_roots,
}
