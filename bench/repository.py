"""The models of the benchmark, as a repository in Triton's layout.

tiny       the tutorial's CNN, 8x8x1 -> 3: the published cnn_digits, or the same layers untrained
mobile     convolutions of MobileNetV2's size and cost, random weights: 224x224x3 -> 1000
identity   one FP32 tensor of any length, unchanged
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Stages of MobileNetV2: expansion, channels, repeats, stride.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip

DYNAMIC = "dynamic_batching { }\n"


def prepare(folder: Path, published: Path) -> None:
    """Write the repository; what is published is taken, not made again."""
    shutil.rmtree(folder, ignore_errors=True)
    tiny = folder / "tiny" / "1"
    tiny.mkdir(parents=True)
    source = published / "cnn_digits"
    versions = sorted(source.glob("[0-9]*/model.onnx"), key=lambda path: int(path.parent.name))
    if not versions:
        raise FileNotFoundError(f"{source} is not there: run `make export` first")
    shutil.copyfile(versions[-1], tiny / "model.onnx")
    for name, model in (("mobile", _mobile()), ("identity", _identity())):
        place = folder / name / "1"
        place.mkdir(parents=True)
        onnx.save(model, place / "model.onnx")
    for name, text in (("tiny", DYNAMIC), ("mobile", DYNAMIC), ("identity", "")):
        rows = 0 if name == "identity" else 64 if name == "mobile" else 1024
        config = f'backend: "onnxruntime"\nmax_batch_size: {rows}\n{text}'
        (folder / name / "config.pbtxt").write_text(config)


def _identity() -> Any:
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


def _mobile() -> Any:
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
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.float32(6), "six"),
    ]
    graph = helper.make_graph(
        build.nodes,
        "mobile",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 224, 224])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 1000])],
        build.weights,
    )
    return _model(graph)
