"""The models that the rows of bench.stall ask: echoes, runs as long as their data says, two that want every thread."""

import itertools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_THREADS = 'parameters { key: "intra_op_thread_count" value { string_value: "2" } }\n'


def _unbatched(datatype: str) -> str:
    tensor = f"data_type: {datatype} dims: [ -1 ]"
    return (
        f'max_batch_size: 0\ninput [ {{ name: "x" {tensor} }} ]\n'
        f'output [ {{ name: "y" {tensor} }} ]\n'
    )


_SHAPES = {
    "echo": _unbatched("TYPE_FP32"),
    "text": _unbatched("TYPE_STRING"),
    "integers": _unbatched("TYPE_INT64"),
}


def _save(folder: Path, name: str, graph: onnx.GraphProto, config: str = "") -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    (folder / name / "1").mkdir(parents=True)
    onnx.save(model, folder / name / "1" / "model.onnx")
    (folder / name / "config.pbtxt").write_text(f'backend: "onnxruntime"\n{config}')


def _values(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def make_models(folder: Path) -> None:
    """Write the repository."""
    kinds = {
        "echo": TensorProto.FLOAT, "text": TensorProto.STRING, "integers": TensorProto.INT64,
    }  # fmt: skip
    for name, kind in kinds.items():
        node = helper.make_node("Identity", ["x"], ["y"])
        ends = [_values(end, kind, "n") for end in "xy"]
        _save(folder, name, helper.make_graph([node], name, ends[:1], ends[1:]), _SHAPES[name])
    # A row's run takes a time that its length decides: 24 sines an element.
    names = ["x", *(f"h{index}" for index in range(23)), "y"]
    nodes = [
        helper.make_node("Sin", [before], [after]) for before, after in itertools.pairwise(names)
    ]
    ends = [_values(end, TensorProto.FLOAT, "rows", "n") for end in "xy"]
    _save(
        folder,
        "variable",
        helper.make_graph(nodes, "variable", ends[:1], ends[1:]),
        "max_batch_size: 8\n",
    )
    _save(folder, "loop", _loop())
    _save(folder, "lstm", _lstm(), "max_batch_size: 8\n")
    # Two models that want every thread: a run of one takes long, of the other next to nothing.
    for name, size, layers in (("long", 1024, 48), ("brief", 16, 1)):
        weights = numpy_helper.from_array(np.eye(size, dtype=np.float32), "w")
        names = ["x", *(f"h{index}" for index in range(layers - 1)), "y"]
        nodes = [
            helper.make_node("MatMul", [before, "w"], [after])
            for before, after in itertools.pairwise(names)
        ]
        ends = [_values(end, TensorProto.FLOAT, "n", size) for end in "xy"]
        graph = helper.make_graph(nodes, name, ends[:1], ends[1:], [weights])
        _save(folder, name, graph, _THREADS)


def _loop() -> onnx.GraphProto:
    """Count to n, which is data: as slow as asked for."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["c"], ["d"]),
            helper.make_node("Add", ["t", "one"], ["u"]),
        ],
        "body",
        [
            _values("i", TensorProto.INT64),
            _values("c", TensorProto.BOOL),
            _values("t", TensorProto.INT64, 1),
        ],
        [_values("d", TensorProto.BOOL), _values("u", TensorProto.INT64, 1)],
        [numpy_helper.from_array(np.ones(1, np.int64), "one")],
    )
    nodes = [
        helper.make_node("Squeeze", ["x"], ["trips"]),
        helper.make_node("Loop", ["trips", "", "zero"], ["y"], body=body),
    ]
    ends = [_values(end, TensorProto.INT64, 1) for end in "xy"]
    zero = numpy_helper.from_array(np.zeros(1, np.int64), "zero")
    return helper.make_graph(nodes, "loop", ends[:1], ends[1:], [zero])


def _lstm(units: int = 32) -> onnx.GraphProto:
    """A layer over sequences of any length, one number a step."""
    weights = {"w": (1, 4 * units, 1), "r": (1, 4 * units, units)}
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "w", "r"], ["", "last"], hidden_size=units),
        helper.make_node("Squeeze", ["last", "zero"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.full(shape, 0.01, np.float32), name)
        for name, shape in weights.items()
    ]
    return helper.make_graph(
        nodes,
        "lstm",
        [_values("x", TensorProto.FLOAT, "rows", "steps", 1)],
        [_values("y", TensorProto.FLOAT, "rows", units)],
        [*constants, numpy_helper.from_array(np.zeros(1, np.int64), "zero")],
    )
