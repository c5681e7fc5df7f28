"""Small models, exported as large ones are: without weights in the graph (test_large_models.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zoo.convert import weights
from zoo.convert.conversion import convert
from zoo.convert.passes.large_weights import is_large
from zoo.export.from_model import export_model
from zoo.export.model_file import write_model
from zoo.training.framework import import_keras


def dense(keras: Any) -> Any:
    """Two matrices."""
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((300,)), layers.Dense(256, "relu"), layers.Dense(100), layers.Dense(4)]
    )


def flattened(keras: Any) -> Any:
    """Kernels that are transposed, a normalization that is folded, rows that are put in another order."""
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((9, 9, 32)),
            layers.Conv2D(64, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(64, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(100),
        ]
    )
    random = np.random.default_rng(0)
    for variable in net.weights:
        if "normalization" in variable.path:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return net


def series(keras: Any) -> Any:
    """Kernels of one dimension, with dilation."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((20, 64)),
            layers.Conv1D(100, 5),
            layers.Conv1D(100, 5, padding="causal", dilation_rate=2),
            layers.GlobalAveragePooling1D(),
        ]
    )


def volumes(keras: Any) -> Any:
    """Kernels of three dimensions, forth and back."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4, 4, 4, 16)),
            layers.Conv3D(64, 3),
            layers.Conv3DTranspose(64, 3),
            layers.GlobalAveragePooling3D(),
        ]
    )


def words(keras: Any) -> Any:
    """A table, and a recurrent layer, whose weights stay in the graph."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((7,), dtype="int32"),
            layers.Embedding(2000, 128),
            layers.Bidirectional(layers.LSTM(64)),
            layers.Dense(300),
        ]
    )


def attention(keras: Any) -> Any:
    """A block of a transformer."""
    layers = keras.layers
    x = rows = keras.Input((5, 128))
    x = layers.Add()([x, layers.MultiHeadAttention(2, 64)(x, x)])
    y = layers.EinsumDense("abc,cd->abd", (None, 512), bias_axes="d", activation="gelu")(x)
    return keras.Model(rows, layers.LayerNormalization()(layers.Add()([x, layers.Dense(128)(y)])))


def half(keras: Any) -> Any:
    """Weights of half precision are written as float32."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((300,)),
            layers.Dense(256, "relu", dtype="bfloat16"),
            layers.Dense(100, dtype="mixed_float16"),
            layers.Dense(200, dtype="float16"),
        ]
    )


def tied(keras: Any) -> Any:
    """A table that is the last layer's matrix too, transposed."""
    layers = keras.layers
    table = layers.Embedding(2000, 64)
    ids = keras.Input((7,), dtype="int32")

    class Tied(layers.Layer):  # type: ignore[misc, name-defined]  # Keras ships no types
        def call(self, x: Any) -> Any:
            return keras.ops.matmul(x, keras.ops.transpose(table.embeddings))

    return keras.Model(ids, Tied()(table(ids)))


def masked(keras: Any) -> Any:
    """A kernel that every call assigns, as PixelCNN's does: its weights cannot be left out."""

    class Masked(keras.layers.Layer):  # type: ignore[misc, name-defined]  # likewise
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(shape[-1], 100), name="kernel")
            self.mask = np.tri(shape[-1], 100, dtype=np.float32)

        def call(self, x: Any) -> Any:
            self.kernel.assign(self.kernel * self.mask)
            return keras.ops.matmul(x, self.kernel)

    return keras.Sequential([keras.Input((300,)), Masked()])


#: Whose file is the same either way.
SAME = (dense, flattened, series, volumes, words, attention, half)


@contextmanager
def as_large() -> Iterator[None]:
    """Take every model for a large one."""
    before, weights.LARGE_MODEL = weights.LARGE_MODEL, 0
    try:
        yield
    finally:
        weights.LARGE_MODEL = before


def either_way(build: Callable[[Any], Any], folder: Path) -> Any:
    """Convert as any model, then as a large one; export it in two files, which are proven."""
    keras = import_keras().keras
    keras.utils.set_random_seed(0)
    net, name = build(keras), build.__name__
    plain = write_model(convert(net).onnx, folder / f"{name}.onnx")
    with as_large():
        conversion = convert(net)
        written = write_model(conversion.onnx, folder / f"{name} large.onnx", conversion.large)
        report = export_model(net, folder / f"{name} apart.onnx", opset=21, external_data=True)
    return {
        "left out": sum(map(is_large, conversion.onnx.graph.initializer)),
        "same": plain.sha256 == written.sha256,
        "bytes": [plain.bytes, written.bytes],
        "apart": bool(report.data),
    }


def portable(folder: Path) -> Any:
    """A recurrent model, with the variant that has no recurrent operators."""
    net = words(import_keras().keras)
    with as_large():
        report = export_model(net, folder / "words2.onnx", portable=True, external_data=True)
    return sorted(path.name for path in folder.glob("words2*")), report.max_abs


def quantised(folder: Path) -> Any:
    """A smaller variant of a large model."""
    net = dense(import_keras().keras)
    rows = np.random.default_rng(0).normal(size=(64, 300)).astype(np.float32)
    with as_large():
        report = export_model(
            net, folder / "q.onnx", samples=rows, quantize="w8", max_loss=50, external_data=True
        )
    return [variant.written.bytes / report.bytes for variant in report.smaller if variant.written]


CASES: dict[str, Callable[[Path], Any]] = {
    build.__name__: partial(either_way, build) for build in (*SAME, tied, masked)
} | {"portable": portable, "quantised": quantised}
