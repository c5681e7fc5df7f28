"""The graphs of the benchmark: three models of known size, the same on every machine."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Stages of MobileNetV2 (arXiv:1801.04381, table 2): expansion, channels, repeats, stride.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def tiny() -> Any:
    """Return the tutorial's CNN, 178 parameters, untrained: (batch, 8, 8, 1) -> (batch, 3)."""
    random = np.random.default_rng(2)
    shapes = {
        "k1": (2, 1, 3, 3), "b1": (2,), "k2": (3, 2, 2, 2), "b2": (3,),
        "d1": (12, 8), "c1": (8,), "d2": (8, 3), "c2": (3,),
    }  # fmt: skip
    weights = [
        numpy_helper.from_array(random.normal(0, 0.5, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Transpose", ["image"], ["x0"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["x0", "k1", "b1"], ["x1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["x1"], ["x2"]),
        helper.make_node("MaxPool", ["x2"], ["x3"], **pool),
        helper.make_node("Conv", ["x3", "k2", "b2"], ["x4"], pads=[0, 0, 1, 1]),
        helper.make_node("Relu", ["x4"], ["x5"]),
        helper.make_node("MaxPool", ["x5"], ["x6"], **pool),
        helper.make_node("Flatten", ["x6"], ["x7"]),
        helper.make_node("Gemm", ["x7", "d1", "c1"], ["x8"]),
        helper.make_node("Relu", ["x8"], ["x9"]),
        helper.make_node("Gemm", ["x9", "d2", "c2"], ["x10"]),
        helper.make_node("Softmax", ["x10"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 8, 8, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])],
        weights,
    )
    return _model(graph)


def identity() -> Any:
    """Return one FP32 tensor of any length, unchanged."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "identity", values[:1], values[1:]
    )
    return _model(graph)


def _model(graph: Any) -> Any:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


class _Builder:
    """Adds layers to a graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._random = np.random.default_rng(0)

    def conv(self, x: str, inner: int, outer: int, size: int, stride: int, groups: int = 1) -> str:
        number = len(self.weights)
        spread = 1 / np.sqrt(inner // groups * size * size)
        weight = self._random.normal(0, spread, (outer, inner // groups, size, size))
        self.weights.append(numpy_helper.from_array(weight.astype(np.float32), f"w{number}"))
        pad = size // 2
        self.nodes.append(
            helper.make_node(
                "Conv",
                [x, f"w{number}"],
                [f"c{number}"],
                kernel_shape=[size, size],
                strides=[stride] * 2,
                pads=[pad] * 4,
                group=groups,
            )
        )
        return f"c{number}"

    def relu6(self, x: str) -> str:
        self.nodes.append(helper.make_node("Clip", [x, "zero", "six"], [f"{x}_r"]))
        return f"{x}_r"

    def add(self, x: str, y: str) -> str:
        self.nodes.append(helper.make_node("Add", [x, y], [f"{x}_a"]))
        return f"{x}_a"


def mobile() -> Any:
    """Return MobileNetV2's layers with random weights: 14 MB, 300 million multiplications a row."""
    build = _Builder()
    x, channels = build.relu6(build.conv("image", 3, 32, 3, 2)), 32
    for expansion, outer, repeats, first_stride in _STAGES:
        for index in range(repeats):
            stride = first_stride if index == 0 else 1
            wide = channels * expansion
            y = build.relu6(build.conv(x, channels, wide, 1, 1)) if expansion > 1 else x
            y = build.relu6(build.conv(y, wide, wide, 3, stride, wide))
            y = build.conv(y, wide, outer, 1, 1)
            x = build.add(y, x) if stride == 1 and channels == outer else y
            channels = outer
    x = build.relu6(build.conv(x, channels, 1280, 1, 1))
    build.nodes += [
        helper.make_node("GlobalAveragePool", [x], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "last"], ["scores"]),
    ]
    last = np.random.default_rng(1).normal(0, 0.03, (1280, 1000)).astype(np.float32)
    build.weights += [
        numpy_helper.from_array(last, "last"),
        numpy_helper.from_array(np.array(0, np.float32), "zero"),
        numpy_helper.from_array(np.array(6, np.float32), "six"),
    ]
    graph = helper.make_graph(
        build.nodes,
        "mobile",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 224, 224])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 1000])],
        build.weights,
    )
    return _model(graph)
