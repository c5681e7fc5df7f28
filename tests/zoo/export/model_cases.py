"""Small models, exported: what came out of each, and what is refused (test_from_model.py)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import zoo
from zoo.errors import ZooError
from zoo.files import sha256
from zoo.parity.runtimes import OnnxRuntime
from zoo.training.framework import import_keras, seed_everything


def tutorial_stack(keras: Any) -> Any:
    """The tutorial's CNN stack, without the zoo's Rescaling."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(2, (3, 3), padding="same", activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(3, (2, 2), padding="same", activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Flatten(),
            layers.Dense(8, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )


def one(keras: Any, layer: Any, *shape: int | None) -> Any:
    """A model of one layer."""
    return keras.Sequential([keras.Input(shape), layer])


def branches(keras: Any) -> Any:
    """Two named inputs, two named outputs."""
    layers = keras.layers
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    both = layers.Concatenate()([left, right])
    total = layers.Dense(1, name="total")(both)
    kind = layers.Dense(2, activation="softmax", name="kind")(both)
    return keras.Model([left, right], [total, kind])


#: A model each, of Keras.
MODELS: dict[str, Callable[[Any], Any]] = {
    "tutorial_stack": tutorial_stack,
    "dense_relu": lambda k: one(k, k.layers.Dense(8, activation="relu"), 4),
    "dense_3d": lambda k: one(k, k.layers.Dense(8, activation="relu"), 5, 4),
    "lstm": lambda k: one(k, k.layers.LSTM(3), 5, 1),
    "lstm_sequence": lambda k: one(k, k.layers.LSTM(3, return_sequences=True), 5, 1),
    "lstm_backwards": lambda k: one(
        k, k.layers.LSTM(3, go_backwards=True, return_sequences=True), 5, 1
    ),
    "lstm_open": lambda k: one(k, k.layers.LSTM(3), None, 1),
    "lstm_dropout": lambda k: one(k, k.layers.LSTM(3, recurrent_dropout=0.3), 5, 1),
    "gru": lambda k: one(k, k.layers.GRU(3), 5, 1),
    "gru_before": lambda k: one(k, k.layers.GRU(3, reset_after=False), 5, 1),
    "simple_rnn": lambda k: one(k, k.layers.SimpleRNN(3), 5, 1),
    "bidirectional": lambda k: one(
        k, k.layers.Bidirectional(k.layers.LSTM(3, return_sequences=True)), 5, 2
    ),
    "grouped": lambda k: one(k, k.layers.Conv2D(4, 3, groups=2), 6, 6, 4),
    "gelu": lambda k: one(k, k.layers.Dense(4, activation="gelu"), 3),
    "permuted_flatten": lambda k: k.Sequential(
        [k.Input((4, 5, 6)), k.layers.Permute((3, 1, 2)), k.layers.Flatten(), k.layers.Dense(2)]
    ),
    "random_flip": lambda k: one(k, k.layers.RandomFlip(), 6, 6, 3),
    "branches": branches,
}


def randomized(name: str) -> Any:
    """A model with weights that hide nothing: zero biases would be folded away."""
    seed_everything(3)
    model = MODELS[name](import_keras().keras)
    random = np.random.default_rng(3)
    for weight in model.trainable_variables:
        weight.assign(random.normal(scale=0.5, size=weight.shape))
    return model


def exported(name: str, folder: Path) -> dict[str, Any]:
    """Export one model twice; its facts, and the largest difference from Keras at batch 5."""
    model = randomized(name)
    report = zoo.export_model(model, folder / f"{name}.onnx", portable=name != "lstm_open")
    again = zoo.export_model(
        randomized(name), folder / "again.onnx", portable=report.portable is not None
    )
    import onnx

    loaded = onnx.load(report.path)
    graph = loaded.graph
    random = np.random.default_rng(5)
    feeds = {
        t["name"]: random.normal(size=[5, *(s if isinstance(s, int) else 9 for s in t["shape"][1:])])
        .astype(np.float32)
        for t in report.inputs
    }  # fmt: skip
    expected = model(
        list(feeds.values()) if len(feeds) > 1 else next(iter(feeds.values())), training=False
    )
    expected = expected if isinstance(expected, list) else [expected]
    answers = OnnxRuntime().load(report.path)(feeds)
    deltas = [
        np.abs(np.asarray(e) - g).max() for e, g in zip(expected, answers.values(), strict=True)
    ]
    return {
        "operators": [node.op_type for node in graph.node],
        "inputs": report.inputs,
        "outputs": report.outputs,
        "difference": float(max(deltas)),
        "sha256": [report.sha256, again.sha256],
        "portable_sha256": [
            sha256(export.portable) for export in (report, again) if export.portable
        ],
        "properties": {entry.key: entry.value for entry in loaded.metadata_props},
        "producer": [loaded.producer_name, loaded.producer_version],
        "portable": report.portable is not None,
        "portable_operators": sorted({n.op_type for n in onnx.load(report.portable).graph.node})
        if report.portable
        else [],
        "unwelcome_to_gemm": unwelcome_to_gemm(onnx.load(report.portable))
        if report.portable
        else [],
    }


def unwelcome_to_gemm(model: Any) -> list[str]:
    """Constants that a Gemm and another operator read, and computed values that a Gemm adds."""
    readers: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    constants = {tensor.name for tensor in model.graph.initializer}
    shared = [name for name in constants if "Gemm" in readers[name] and len(readers[name]) > 1]
    added = [n.input[2] for n in model.graph.node if n.op_type == "Gemm" and len(n.input) == 3]
    return shared + [name for name in added if name not in constants]


def _stateful(keras: Any) -> Any:
    inputs = keras.Input(batch_shape=(2, 5, 1))
    return keras.Sequential([inputs, keras.layers.LSTM(3, stateful=True)])


def _bytes(keras: Any) -> Any:
    return keras.Sequential([keras.Input((4,), dtype="uint8"), keras.layers.Dense(2)])


#: What cannot be exported: a model, where to, and how.
REFUSED: dict[str, tuple[Callable[[Any], Any], str, dict[str, Any]]] = {
    "not_keras": (lambda k: object(), "a.onnx", {}),
    "unbuilt": (lambda k: k.Sequential([k.layers.Dense(2)]), "a.onnx", {}),
    "no_folder": (tutorial_stack, "absent/a.onnx", {}),
    "opset": (tutorial_stack, "a.onnx", {"opset": 3}),
    "samples": (tutorial_stack, "a.onnx", {"samples": np.zeros((2, 3))}),
    "stateful": (_stateful, "a.onnx", {}),
    "no_model": (lambda k: None, "a.onnx", {}),
    "path_text": (tutorial_stack, "a\0.onnx", {}),
    "opset_type": (tutorial_stack, "a.onnx", {"opset": 17.0}),
    "tolerance": (tutorial_stack, "a.onnx", {"tolerance": 1e-3}),
    "names": (tutorial_stack, "a.onnx", {"input_names": [1]}),
    "name_twice": (tutorial_stack, "a.onnx", {"input_names": ["y"], "output_names": ["y"]}),
    "rows_uneven": (branches, "a.onnx", {"samples": [np.zeros((2, 3)), np.zeros((5, 3))]}),
    "rows_wrapped": (_bytes, "a.onnx", {"samples": np.full((2, 4), 300)}),
}


def refused(name: str, folder: Path) -> dict[str, Any]:
    """Try to export one; what is said, and what is left behind."""
    build, path, options = REFUSED[name]
    folder = folder / name
    folder.mkdir()
    try:
        zoo.export_model(build(import_keras().keras), folder / path, **options)
        text = "exported"
    except ZooError as error:
        text = f"{type(error).__name__}: {error}"
    return {"text": text, "left": sorted(path.name for path in folder.iterdir())}


CASES = {name: partial(exported, name) for name in MODELS} | {
    name: partial(refused, name) for name in REFUSED
}
