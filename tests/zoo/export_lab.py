"""Exports small models in a process of its own, and prints what came out as JSON."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import zoo
from zoo.errors import ZooError
from zoo.parity.onnxruntime_session import OnnxRuntime
from zoo.publish.repository import sha256
from zoo.training.framework import import_keras, seed_everything

keras = import_keras().keras
layers = keras.layers


def tutorial_stack() -> Any:
    """The tutorial's CNN stack, without the zoo's Rescaling."""
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


def one(layer: Any, *shape: int | None) -> Any:
    """A model of one layer."""
    return keras.Sequential([keras.Input(shape), layer])


def branches() -> Any:
    """Two named inputs, two named outputs."""
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    both = layers.Concatenate()([left, right])
    total = layers.Dense(1, name="total")(both)
    kind = layers.Dense(2, activation="softmax", name="kind")(both)
    return keras.Model([left, right], [total, kind])


MODELS = {
    "tutorial_stack": tutorial_stack,
    "dense_relu": lambda: one(layers.Dense(8, activation="relu"), 4),
    "dense_3d": lambda: one(layers.Dense(8, activation="relu"), 5, 4),
    "lstm": lambda: one(layers.LSTM(3), 5, 1),
    "lstm_sequence": lambda: one(layers.LSTM(3, return_sequences=True), 5, 1),
    "lstm_backwards": lambda: one(layers.LSTM(3, go_backwards=True, return_sequences=True), 5, 1),
    "lstm_open": lambda: one(layers.LSTM(3), None, 1),
    "lstm_dropout": lambda: one(layers.LSTM(3, recurrent_dropout=0.3), 5, 1),
    "gru": lambda: one(layers.GRU(3), 5, 1),
    "gru_before": lambda: one(layers.GRU(3, reset_after=False), 5, 1),
    "simple_rnn": lambda: one(layers.SimpleRNN(3), 5, 1),
    "bidirectional": lambda: one(layers.Bidirectional(layers.LSTM(3, return_sequences=True)), 5, 2),
    "grouped": lambda: one(layers.Conv2D(4, 3, groups=2), 6, 6, 4),
    "gelu": lambda: one(layers.Dense(4, activation="gelu"), 3),
    "permuted_flatten": lambda: keras.Sequential(
        [keras.Input((4, 5, 6)), layers.Permute((3, 1, 2)), layers.Flatten(), layers.Dense(2)]
    ),
    "random_flip": lambda: one(layers.RandomFlip(), 6, 6, 3),
    "branches": branches,
}


def randomized(name: str) -> Any:
    """A model with weights that hide nothing: zero biases would be folded away."""
    seed_everything(3)
    model = MODELS[name]()
    random = np.random.default_rng(3)
    for weight in model.trainable_variables:
        weight.assign(random.normal(scale=0.5, size=weight.shape))
    return model


def measured(name: str, folder: Path) -> dict[str, Any]:
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
    given = OnnxRuntime().load(report.path)(feeds)
    deltas = [
        np.abs(np.asarray(e) - g).max() for e, g in zip(expected, given.values(), strict=True)
    ]
    return {
        "operators": [node.op_type for node in graph.node],
        "inputs": report.inputs,
        "outputs": report.outputs,
        "difference": float(max(deltas)),
        "sha256": [report.sha256, again.sha256],
        "portable_sha256": [sha256(made.portable) for made in (report, again) if made.portable],
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


def refused(folder: Path) -> dict[str, str]:
    """What cannot be exported, and what is said."""
    texts = {}

    cases = {
        "not_keras": (object(), folder / "a.onnx", {}),
        "unbuilt": (keras.Sequential([layers.Dense(2)]), folder / "b.onnx", {}),
        "no_folder": (tutorial_stack(), folder / "absent" / "c.onnx", {}),
        "opset": (tutorial_stack(), folder / "d.onnx", {"opset": 3}),
        "samples": (tutorial_stack(), folder / "e.onnx", {"samples": np.zeros((2, 3))}),
        "stateful": (
            keras.Sequential([keras.Input(batch_shape=(2, 5, 1)), layers.LSTM(3, stateful=True)]),
            folder / "f.onnx",
            {},
        ),
    }
    for name, (model, path, options) in cases.items():
        try:
            zoo.export_model(model, path, **options)
            texts[name] = "exported"
        except ZooError as error:
            texts[name] = f"{type(error).__name__}: {error}"
    texts["left"] = " ".join(sorted(path.name for path in folder.iterdir()))
    return texts


def main() -> None:
    """Export everything, or the one model that is named."""
    folder = Path(sys.argv[1])
    names = sys.argv[2:] or list(MODELS)
    result: dict[str, Any] = {name: measured(name, folder) for name in names}
    if len(sys.argv) == 2:
        empty = folder / "refused"
        empty.mkdir()
        result["refused"] = refused(empty)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
