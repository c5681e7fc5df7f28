"""Small ONNX files with a trained model's metadata, for tests that need no training."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_classifier(path: Path, **metadata: str) -> Path:
    """Two features, two classes: the softmax of the features; named columns."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["x"], ["p"])],
        "classifier",
        [info("x", TensorProto.FLOAT, ["batch", 2])],
        [info("p", TensorProto.FLOAT, ["batch", 2])],
    )
    facts = {"task": "multiclass", "classes": "left,right", "features": "l,r"} | metadata
    return _write(path, graph, facts)


def write_running_sum(path: Path) -> Path:
    """A state: the sum of a sequence's values so far, in metres."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["value", "sum_before"], ["sum_after"]),
            helper.make_node("Mul", ["sum_after", "one"], ["total"]),
        ],
        "sum",
        [
            info("value", TensorProto.FLOAT, ["batch", 1]),
            info("sum_before", TensorProto.FLOAT, ["batch", 1]),
        ],
        [
            info("total", TensorProto.FLOAT, ["batch", 1]),
            info("sum_after", TensorProto.FLOAT, ["batch", 1]),
        ],
        [numpy_helper.from_array(np.ones(1, np.float32), "one")],
    )
    facts = {"task": "forecast", "units": "metres", "states": "sum_before=sum_after"}
    return _write(path, graph, facts)


def _write(path: Path, graph: onnx.GraphProto, metadata: dict[str, str]) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path
