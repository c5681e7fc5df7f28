"""Ill-conditioned networks, exported as they are and with small errors put into their files (test_conditioning.py)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from zoo.convert.conversion import convert
from zoo.convert.specification import signature_of
from zoo.errors import CheckFailed
from zoo.export.from_model import export_model
from zoo.export.model_file import write_model
from zoo.parity.answered_rows import answered_rows
from zoo.parity.compare import Policy
from zoo.parity.conditioning import prove_ill_conditioned
from zoo.parity.keras_layers import KerasModel
from zoo.parity.prove import prove
from zoo.parity.runtimes import OnnxRuntime
from zoo.training.framework import import_keras


def images(keras: Any, blocks: int, gain: float) -> Any:
    """Blocks of a convolution, a normalization and a wave, each of which multiplies differences by the gain."""
    layers = keras.layers
    x = rows = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same")(x)
    for _ in range(blocks):
        y = layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
        y = layers.BatchNormalization(epsilon=1e-3)(y)
        x = layers.Add()([x, keras.ops.sin(gain * y)])
    return keras.Model(rows, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))


def words(keras: Any, blocks: int, gain: float) -> Any:
    """Blocks of attention and dense layers, likewise."""
    layers = keras.layers
    tokens = keras.Input((12,), dtype="int32")
    x = layers.Embedding(50, 32, embeddings_initializer="random_normal")(tokens)
    for _ in range(blocks):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, 16)(y, y)])
        y = layers.Dense(64, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, keras.ops.sin(gain * layers.Dense(32)(y))])
    return keras.Model(tokens, layers.Dense(5)(x))


def steps(keras: Any, blocks: int, gain: float) -> Any:
    """Recurrent layers, of a subclassed model."""
    layers = keras.layers

    class Steps(keras.Model):  # type: ignore[misc, name-defined]  # Keras ships no types
        def __init__(self) -> None:
            super().__init__()
            self.first = layers.Dense(16)
            self.recurrent = [layers.GRU(16, return_sequences=True) for _ in range(blocks)]
            self.last = layers.Dense(5)

        def call(self, x: Any) -> Any:
            x = self.first(x)
            for layer in self.recurrent:
                x = keras.ops.sin(gain * layer(x))
            return self.last(x)

    model = Steps()
    model(np.zeros((1, 6, 4), np.float32))
    return model


def _weights(model: Any, operator: str) -> list[Any]:
    """Return the matrices and kernels that nodes of a kind read, in the graph's order."""
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    read = [n.input[1] for n in model.graph.node if n.op_type == operator]
    return [known[name] for name in read if name in known and len(known[name].dims) > 1]


def _scaled(tensor: Any, change: Callable[[np.ndarray], None]) -> None:
    array = numpy_helper.to_array(tensor).copy()
    change(array)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def swapped(model: Any, at: int, operator: str) -> None:
    """Two layers' weights are exchanged."""
    weights = [w for w in _weights(model, operator) if list(w.dims) == _dims(model, operator)]
    one, other = weights[at % len(weights)], weights[(at + 1) % len(weights)]
    first, second = numpy_helper.to_array(one), numpy_helper.to_array(other)
    one.CopyFrom(numpy_helper.from_array(second, one.name))
    other.CopyFrom(numpy_helper.from_array(first, other.name))


def _dims(model: Any, operator: str) -> list[int]:
    """Return the most frequent shape."""
    shapes = [tuple(w.dims) for w in _weights(model, operator)]
    return list(max(set(shapes), key=shapes.count))


def epsilon(model: Any, at: int, operator: str) -> None:
    """A normalization's epsilon was 1e-5 in the place of 1e-3, at a variance of 1."""

    def change(array: np.ndarray) -> None:
        array *= np.float32(np.sqrt(1.001 / 1.00001))

    weights = _weights(model, operator)
    _scaled(weights[at % len(weights)], change)


def element(model: Any, at: int, operator: str) -> None:
    """One weight of a layer is a hundredth more."""

    def change(array: np.ndarray) -> None:
        array.reshape(-1)[np.abs(array).argmax()] *= np.float32(1.01)

    weights = _weights(model, operator)
    _scaled(weights[at % len(weights)], change)


def padding(model: Any, at: int, operator: str) -> None:
    """A convolution's window is moved by one."""
    nodes = [n for n in model.graph.node if n.op_type == "Conv"]
    pads = next(a for a in nodes[at % len(nodes)].attribute if a.name == "pads")
    before, after = pads.ints[0] - 1, pads.ints[2] + 1
    pads.ints[0], pads.ints[2] = (before, after) if before >= 0 else (before + 2, after - 2)


#: Which errors are put into which network, and where its weights are read.
ERRORS = {
    images: ("Conv", (swapped, epsilon, element, padding)),
    words: ("MatMul", (swapped, epsilon, element)),
}

#: A network and how ill-conditioned it is: differences are lost in a few blocks, or grow to a hundredth.
NETWORKS: dict[str, tuple[Callable[..., Any], int, float]] = {
    "chaotic images": (images, 14, 6.0),
    "steep images": (images, 7, 5.0),
    "chaotic words": (words, 4, 60.0),
    "chaotic steps": (steps, 6, 40.0),
    "calm images": (images, 3, 1.5),
}


class Network:
    """A model, converted once, with Keras's answers to its rows, which are computed once."""

    def __init__(self, name: str) -> None:
        keras = import_keras().keras
        keras.utils.set_random_seed(3)
        self.build, self.blocks, gain = NETWORKS[name]
        model = self.build(keras, self.blocks, gain)
        signature, answered = answered_rows(model, signature_of(model))
        self.conversion = convert(model, signature=signature)
        self.cases = [row.case(self.conversion.outputs) for row in answered]
        itself = KerasModel(model=model, signature=signature, outputs=self.conversion.outputs)
        self.first_rows = itself.first_rows
        self._itself, self._known = itself, dict[tuple[str, int], Any]()

    def in_float64(self, feeds: Any) -> Any:
        """As KerasModel."""
        return self._once("in_float64", feeds)

    def layers(self, feeds: Any) -> Any:
        """As KerasModel."""
        return self._once("layers", feeds)

    def _once(self, what: str, feeds: Any) -> Any:
        key = what, len(next(iter(feeds.values())))
        if key not in self._known:
            self._known[key] = getattr(self._itself, what)(feeds)
        return self._known[key]

    def proven(self, path: Path, change: Callable[[Any], None] | None = None) -> dict[str, Any]:
        """Write the file, with a change if there is one, and say how it was judged."""
        graph = onnx.ModelProto()
        graph.CopyFrom(self.conversion.onnx)
        if change is not None:
            change(graph)
        write_model(graph, path, self.conversion.large)
        proof = prove(path, self.cases, Policy(), runtimes=(OnnxRuntime(),))
        plain = proof.report.ok
        proof, tolerance = prove_ill_conditioned(proof, path, self.cases, Policy(), self)
        try:
            proof.require()
            refusal = ""
        except CheckFailed as error:
            refusal = str(error)
        return {
            "plain": plain,
            "refusal": refusal,
            "conditioning": dict(proof.conditioning),
            "bound": tolerance.scaled,
        }


def outcomes_of(name: str, folder: Path) -> Any:
    """Judge a network's own file, and files with an error in the first, a middle and the last layer."""
    network = Network(name)
    told = {"itself": network.proven(folder / "itself.onnx")}
    operator, errors = ERRORS.get(network.build, ("", ()))
    for error in errors:
        for at in (0, network.blocks // 2, -1):
            path = folder / f"{error.__name__}{at}.onnx"
            told[f"{error.__name__} {at}"] = network.proven(
                path, partial(error, at=at, operator=operator)
            )
    return told


def saved(folder: Path) -> Any:
    """Export through the front door, whose report says it, and save the model for `zoo export`."""
    keras = import_keras().keras
    keras.utils.set_random_seed(3)
    build, blocks, gain = NETWORKS["steep images"]
    model = build(keras, blocks, gain)
    report = export_model(model, folder / "net.onnx")
    model.save(folder / "net.keras")
    return list(report.notes)


CASES: dict[str, Callable[[Path], Any]] = {
    name: partial(outcomes_of, name) for name in NETWORKS
} | {"saved": saved}
