"""ONNX graphs with seeded weights to quantise, made without Keras.

python graphs.py      prints the sha256 of every variant of every small graph, as JSON
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from zoo.quantize.build import build

BATCH = 16

Pictures = tuple[np.ndarray, np.ndarray]
Ask = Callable[[ModelProto, Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


class Graph:
    """Collects nodes and weights; weights are normal, scaled by the size of their fan-in."""

    def __init__(self, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def constant(self, value: object) -> str:
        """Add an initializer."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, *shape: int) -> str:
        """Add random weights; the first dimension is the outputs'."""
        scale = np.sqrt(2 / max(1, int(np.prod(shape[1:]))))
        return self.constant(self.random.normal(scale=scale, size=shape).astype(np.float32))

    def add(self, kind: str, *inputs: str, to: str = "", **attributes: object) -> str:
        """Add a node; returns its output."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [to or name], name=name, **attributes))
        return to or name

    def model(
        self, inputs: Mapping[str, Sequence[int]], outputs: Mapping[str, Sequence[int]]
    ) -> ModelProto:
        """Close the graph: float32 inputs and outputs, dimensions behind the batch."""

        def sides(tensors: Mapping[str, Sequence[int]]) -> list[object]:
            return [
                helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", *dims])
                for n, dims in tensors.items()
            ]  # fmt: skip

        graph = helper.make_graph(self.nodes, "lab", sides(inputs), sides(outputs), self.weights)
        model = helper.make_model(
            graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)],
            producer_name="layer-zoo",
        )  # fmt: skip
        helper.set_model_props(model, {"task": "multiclass"})
        return model


def small_cnn() -> ModelProto:
    """Rescaling, two convolutions with pooling, a classifier: the tutorial's stack, wider."""
    g = Graph()
    x = g.add("Mul", "image", g.constant(np.float32(1 / 16)))
    x = g.add("Relu", g.add("Conv", x, g.weight(16, 1, 3, 3), g.weight(16), pads=[1, 1, 1, 1]))
    x = g.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = g.add("Relu", g.add("Conv", x, g.weight(32, 16, 3, 3), g.weight(32), pads=[1, 1, 1, 1]))
    x = g.add("Reshape", g.add("GlobalAveragePool", x), g.constant(np.int64([0, 32])))
    x = g.add("Gemm", x, g.weight(10, 32), g.weight(10), transB=1)
    g.add("Softmax", x, to="probabilities", axis=-1)
    return g.model({"image": (1, 8, 8)}, {"probabilities": (10,)})


def unlike_columns() -> ModelProto:
    """A regression on a column of thousands and one of thousandths, scaled inside the graph."""
    g = Graph()
    x = g.add("Sub", "columns", g.constant(np.float32([[5000, 0.005]])))
    x = g.add("Mul", x, g.constant(np.float32([[1 / 1000, 1000]])))
    x = g.add("Relu", g.add("Gemm", x, g.weight(16, 2), g.weight(16), transB=1))
    x = g.add("Gemm", x, g.weight(1, 16), g.weight(1), transB=1)
    x = g.add("Mul", x, g.constant(np.float32(50)))
    g.add("Add", x, g.constant(np.float32(150)), to="y")
    return g.model({"columns": (2,)}, {"y": (1,)})


def no_weights() -> ModelProto:
    """Arithmetic alone."""
    g = Graph()
    g.add("Tanh", g.add("Mul", "x", g.constant(np.float32([[1, 2]]))), to="y")
    return g.model({"x": (2,)}, {"y": (2,)})


def mobile_features(width: int = 64, blocks: int = 15, size: int = 96) -> Graph:
    """Depthwise-separable convolutions with residuals, of MobileNet's size; ends in `features`."""
    g = Graph()
    low, high = g.constant(np.float32(0)), g.constant(np.float32(6))
    first = g.weight(width, 3, 3, 3), g.weight(width)
    x = g.add("Conv", "image", *first, strides=[2, 2], pads=[1, 1, 1, 1])
    x = g.add("Clip", x, low, high)
    for block in range(blocks):
        wider = width * 2 if block % 3 == 2 else width
        strides = [2, 2] if wider > width else [1, 1]
        kernel = g.weight(width, 1, 3, 3), g.weight(width)
        y = g.add("Conv", x, *kernel, group=width, strides=strides, pads=[1, 1, 1, 1])
        y = g.add("Clip", y, low, high)
        y = g.add("Conv", y, g.weight(wider, width, 1, 1), g.weight(wider))
        x = g.add("Add", x, y) if wider == width else y
        width = wider
    g.add("Reshape", g.add("GlobalAveragePool", x), g.constant(np.int64([0, width])), to="features")
    return g


def mobile_classifier(ask: Ask, size: int = 96) -> tuple[ModelProto, Pictures, Pictures]:
    """A classifier whose last layer is fitted to the fixed convolutions' features by ridge regression.

    Returns it with pictures to calibrate on and pictures to measure on, each with its classes:
    eight coarse patterns under noise. `ask` runs a model on feeds.
    """
    random = np.random.default_rng(5)
    patterns = random.normal(size=(8, 3, 4, 4)).repeat(size // 4, 2).repeat(size // 4, 3)

    def pictures(count: int) -> Pictures:
        classes = random.integers(0, 8, count)
        noise = random.normal(scale=0.2, size=(count, 3, size, size))
        return (patterns[classes] + noise).astype(np.float32), classes

    fit, calibrate, measure = pictures(256), pictures(64), pictures(256)
    g = mobile_features(size=size)
    width = int(numpy_helper.to_array(g.weights[-1])[1])
    body = g.model({"image": (3, size, size)}, {"features": (width,)})
    features = ask(body, {"image": fit[0]})["features"].astype(np.float64)
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    scaled = (features - mean) / spread
    wanted = np.eye(8)[fit[1]] * 8 - 1
    ridge = scaled @ scaled.T + 10 * np.eye(len(scaled))
    head = (scaled.T @ np.linalg.solve(ridge, wanted)) / spread[:, None]
    weights = g.constant(head.astype(np.float32)), g.constant((-mean @ head).astype(np.float32))
    g.add("Softmax", g.add("Gemm", "features", *weights), to="probabilities", axis=-1)
    model = g.model({"image": (3, size, size)}, {"probabilities": (8,)})
    return model, calibrate, measure


def rows(model: ModelProto, count: int, seed: int = 2) -> dict[str, np.ndarray]:
    """Random rows for a graph; those of unlike columns have their scales."""
    random = np.random.default_rng(seed)
    (tensor,) = model.graph.input
    dims = [dim.dim_value for dim in tensor.type.tensor_type.shape.dim][1:]
    array = random.normal(size=(count, *dims))
    if tensor.name == "columns":
        array = array * [1000, 0.001] + [5000, 0.005]
    return {tensor.name: array.astype(np.float32)}


def batches(model: ModelProto, count: int = 4) -> list[dict[str, np.ndarray]]:
    """Calibration batches of one size."""
    whole = rows(model, count * BATCH)
    return [{n: a[i : i + BATCH] for n, a in whole.items()} for i in range(0, count * BATCH, BATCH)]


SMALL = {"small_cnn": small_cnn, "unlike_columns": unlike_columns}


def digests() -> dict[str, str]:
    """The sha256 of every variant of the small graphs."""
    return {
        f"{name}.{kind}": hashlib.sha256(
            build(kind, make(), batches(make())).SerializeToString(deterministic=True)
        ).hexdigest()
        for name, make in SMALL.items()
        for kind in ("int8", "fp16")
    }


if __name__ == "__main__":
    print(json.dumps(digests()))
