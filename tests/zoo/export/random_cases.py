"""Models that draw random numbers at inference, exported with random=True (test_random.py)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import zoo
from zoo.errors import ZooError
from zoo.training.framework import import_keras, seed_everything

Draw = Callable[[Any, Any, Any], Any]

ROWS = np.ones((6, 4), np.float32)


def _layer(keras: Any, draw: Draw, *shape: int | None) -> Any:
    """A functional model of one layer that draws."""

    class Drawing(keras.layers.Layer):  # type: ignore[misc, name-defined]  # Keras ships no types
        def __init__(self) -> None:
            super().__init__(name="drawing")
            self.seeds = keras.random.SeedGenerator(3)

        def call(self, x: Any) -> Any:
            return draw(keras, x, self.seeds)

    x = keras.Input(shape or (4,))
    return keras.Model(x, Drawing()(x))


def uniform(keras: Any, x: Any, seeds: Any) -> Any:
    """Numbers from 2 to 6."""
    return 0 * x + keras.random.uniform(keras.ops.shape(x), 2.0, 6.0, seed=seeds)


def normal(keras: Any, x: Any, seeds: Any) -> Any:
    """Numbers of mean 3 and deviation 0.5."""
    return 0 * x + keras.random.normal(keras.ops.shape(x), 3.0, 0.5, seed=seeds)


def difference(keras: Any, x: Any, seeds: Any) -> Any:
    """Two draws of one shape, which must not become one."""
    shape = keras.ops.shape(x)
    first, second = (keras.random.normal(shape, seed=seeds) for _ in range(2))
    return x + first - second


def dropped(keras: Any, x: Any, seeds: Any) -> Any:
    """Monte Carlo dropout."""
    return keras.random.dropout(x, 0.5, seed=seeds)


def shuffled(keras: Any, x: Any, seeds: Any) -> Any:
    """Forty columns in another order."""
    columns = keras.ops.tile(x, (1, 10)) * keras.ops.arange(40.0)
    return keras.random.shuffle(columns, axis=1, seed=seeds)


def twice_as_many(keras: Any, x: Any, seeds: Any) -> Any:
    """An answer of numbers alone, of other rows than the input's."""
    return keras.random.normal((2 * keras.ops.shape(x)[0], 3), seed=seeds)


def of_tensorflow(keras: Any, x: Any, seeds: Any) -> Any:
    """TensorFlow's own, with a seed that keeps a state behind the graph."""
    import tensorflow as tf

    return x + tf.random.normal(tf.shape(x), seed=4)


def looped(keras: Any, x: Any, seeds: Any) -> Any:
    """As many draws as a loop has turns."""
    shape = keras.ops.shape(x)
    return keras.ops.fori_loop(0, 3, lambda _, y: y + keras.random.normal(shape, seed=seeds), x)


def one_seed(keras: Any, x: Any, seeds: Any) -> Any:
    """Two draws of TensorFlow's from one seed, which are the same numbers."""
    import tensorflow as tf

    seed, draw = seeds.next(), tf.random.stateless_normal
    return x + draw(tf.shape(x), seed) - draw(tf.shape(x), seed)


def next_seeds(keras: Any, x: Any, seeds: Any) -> Any:
    """Two draws from seeds that are computed from one, which are other numbers."""
    import tensorflow as tf

    seed, draw = seeds.next(), tf.random.stateless_normal
    return x + draw(tf.shape(x), seed) - draw(tf.shape(x), seed + 1)


def gamma(keras: Any, x: Any, seeds: Any) -> Any:
    """A source without counterpart in ONNX."""
    return x + keras.random.gamma(keras.ops.shape(x), 1.0, seed=seeds)


def autoencoder(keras: Any) -> Any:
    """A variational one, subclassed."""

    class Encoding(keras.Model):  # type: ignore[misc, name-defined]  # likewise
        def __init__(self) -> None:
            super().__init__()
            self.mean, self.spread, self.decoded = (keras.layers.Dense(n) for n in (2, 2, 4))
            self.seeds = keras.random.SeedGenerator(1)

        def call(self, x: Any) -> Any:
            mean, spread = self.mean(x), keras.ops.exp(self.spread(x))
            noise = keras.random.normal(keras.ops.shape(mean), seed=self.seeds)
            return self.decoded(mean + spread * noise)

    model = Encoding()
    model(ROWS)
    return model


SOURCES = {
    "uniform": uniform,
    "normal": normal,
    "difference": difference,
    "dropped": dropped,
    "shuffled": shuffled,
    "twice_as_many": twice_as_many,
    "of_tensorflow": of_tensorflow,
    "looped": looped,
    "gamma": gamma,
    "one_seed": one_seed,
    "next_seeds": next_seeds,
}

MODELS: dict[str, Callable[[Any], Any]] = {
    name: lambda keras, draw=draw: _layer(keras, draw) for name, draw in SOURCES.items()
} | {"autoencoder": autoencoder}


def exported(name: str, folder: Path) -> dict[str, Any]:
    """Export one; what was said, and what two calls of the file answer."""
    seed_everything(5)
    model = MODELS[name](import_keras().keras)
    before = [np.asarray(variable.numpy()) for variable in model.variables]
    path = folder / f"{name}.onnx"
    try:
        report = zoo.export_model(model, path, random=True)
    except ZooError as error:
        return {"text": str(error), "left": path.exists(), "kept": _same(before, model)}
    session = onnxruntime.InferenceSession(path)
    feeds = {session.get_inputs()[0].name: np.repeat(ROWS, 500, axis=0)}
    first, second = (session.run(None, feeds)[0] for _ in range(2))
    return {
        "text": "",
        "notes": report.notes,
        "max_abs": report.max_abs,
        "inputs": len(report.inputs),
        "outputs": [tensor["shape"] for tensor in report.outputs],
        "shape": list(first.shape),
        "mean": float(first.mean()),
        "deviation": float(first.std()),
        "differ": not np.array_equal(first, second),
        "kept": _same(before, model),
    }


def _same(before: list[np.ndarray], model: Any) -> bool:
    """Whether a model's variables, its seeds among them, are as they were."""
    after = [variable.numpy() for variable in model.variables]
    return all(np.array_equal(x, y) for x, y in zip(before, after, strict=True))


def with_external_data(folder: Path) -> dict[str, Any]:
    """Weights beside a file that draws."""
    model = autoencoder(import_keras().keras)
    path = folder / "external.onnx"
    report = zoo.export_model(model, path, random=True, external_data=True)
    session = onnxruntime.InferenceSession(path)
    (answer,) = session.run(None, {session.get_inputs()[0].name: ROWS})
    return {"data": report.data is not None, "shape": list(answer.shape)}


def refused(folder: Path) -> list[str]:
    """What does not go with random numbers."""
    model, said = _layer(import_keras().keras, normal), []
    options: list[dict[str, Any]] = [
        {"states": "inputs"},
        {"quantize": "fp16", "samples": np.ones((32, 4))},
    ]
    for more in options:
        try:
            zoo.export_model(model, folder / "refused.onnx", random=True, **more)
        except ZooError as error:
            said.append(str(error))
    return said


CASES: dict[str, Callable[[Path], Any]] = {name: partial(exported, name) for name in MODELS} | {
    "external": with_external_data,
    "refused": refused,
}
