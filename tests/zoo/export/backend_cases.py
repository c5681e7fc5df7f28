"""Models that were saved under Keras's jax backend, exported under TensorFlow's (test_backends.py).

python -m tests.zoo.export.backend_cases FOLDER     under KERAS_BACKEND=jax: saves them, with
                                                    rows and the answers that jax gives
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.zoo.export.file_cases import exported

#: The layer that cannot be traced, for --module, and the same one as its refusal says.
OWN_CALLS = """
import keras, jax.numpy as jnp

class Mine(keras.layers.Layer):
    def call(self, x):
        return jnp.tanh(x)
"""
BY_OPS = OWN_CALLS.replace(", jax.numpy as jnp", "").replace("jnp.", "keras.ops.")


def _dense(layers: Any) -> list[Any]:
    return [
        layers.Input((3,)),
        layers.Dense(4, "gelu"),
        layers.BatchNormalization(),
        layers.Dense(2),
    ]


def _image(layers: Any) -> list[Any]:
    return [
        layers.Input((9, 8, 2)),
        layers.Conv2D(4, 3, padding="same", strides=2),
        layers.DepthwiseConv2D(3),
        layers.GroupNormalization(2),
        layers.Flatten(),
        layers.Dense(3, "softmax"),
    ]


def _series(layers: Any) -> list[Any]:
    return [
        layers.Input((6, 3)),
        layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
        layers.GRU(3),
    ]


def _words(layers: Any) -> list[Any]:
    return [layers.Input((5,), dtype="int32"), layers.Embedding(8, 4), layers.Conv1D(3, 2)]


#: The layers of each, by the names of their files.
MODELS = {"dense": _dense, "image": _image, "series": _series, "words": _words}


def _attention(keras: Any) -> Any:
    x = keras.Input((4, 6))
    y = keras.layers.MultiHeadAttention(2, 3)(x, x)
    return keras.Model(x, keras.layers.LayerNormalization()(x + y))


def save(folder: Path) -> None:
    """Save every model with eight rows and their answers."""
    import keras

    assert keras.backend.backend() == "jax"
    keras.utils.set_random_seed(4)
    models = {name: keras.Sequential(layers(keras.layers)) for name, layers in MODELS.items()}
    models["attention"] = _attention(keras)
    generator = np.random.default_rng(0)
    for name, model in models.items():
        rows = generator.normal(size=(8, *model.input_shape[1:])).astype("float32")
        if name == "words":
            rows = generator.integers(0, 8, rows.shape).astype("int32")
        model.save(folder / f"{name}.keras")
        np.savez(folder / f"{name}.npz", rows=rows, answers=np.asarray(model(rows)))
    module: dict[str, Any] = {"__name__": "mine"}
    exec(OWN_CALLS, module)
    keras.Sequential([keras.Input((3,)), module["Mine"]()]).save(folder / "own.keras")


def difference(name: str, folder: Path) -> float:
    """Return how far the exported file is from what jax answered."""
    import onnxruntime

    from zoo.export.from_file import FileExport, run
    from zoo.export.options import ExportOptions

    output = folder / f"{name}.onnx"
    run(
        FileExport(
            source=str(folder / f"{name}.keras"), output=str(output), options=ExportOptions()
        )
    )
    session = onnxruntime.InferenceSession(output)
    with np.load(folder / f"{name}.npz") as saved:
        (answer,) = session.run(None, {session.get_inputs()[0].name: saved["rows"]})
        return float(np.abs(answer - saved["answers"]).max())


def own_calls(code: str, folder: Path) -> dict[str, Any]:
    """Export the model whose layer a module defines."""
    module = folder / "own_layers.py"
    module.write_text(code)
    return exported("own.keras", lambda path: None, folder, modules=(str(module),))


CASES: dict[str, Callable[[Path], Any]] = {
    **{name: partial(difference, name) for name in (*MODELS, "attention")},
    "own calls": partial(own_calls, OWN_CALLS),
    "by keras.ops": partial(own_calls, BY_OPS),
}

if __name__ == "__main__":
    save(Path(sys.argv[1]))
