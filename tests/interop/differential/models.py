"""The same models for both: ONNX for us; for Triton its Python backend, running the same file."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from zoo_server.datatypes import DATA_TYPES

HERE = Path(__file__).parent
#: onnxruntime has no BF16 in numpy, and so neither has Triton's Python backend.
KINDS = tuple(row for row in DATA_TYPES if row.wire != "BF16")

_START = '{ name: "START" control [{ kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] }] }'


def write(folder: Path, *, triton: bool) -> None:
    """Write the repository in the form that one of the two serves."""
    (folder / "chain" / "1").mkdir(parents=True)
    (folder / "chain" / "config.pbtxt").write_text(_chain_config())
    for name, (graph, config, versions) in _models().items():
        for version in versions:
            place = folder / name / str(version)
            place.mkdir(parents=True)
            (place / "model.onnx").write_bytes(graph)
            if triton:
                shutil.copyfile(HERE / "triton_model.py", place / "model.py")
        backend = 'backend: "python"\n' if triton else 'backend: "onnxruntime"\n'
        (folder / name / "config.pbtxt").write_text(backend + config)
        if name == "classes":
            (folder / name / "labels.txt").write_text("cat\ndog\nbird\n")


def _models() -> dict[str, tuple[bytes, str, tuple[int, ...]]]:
    models = {
        f"identity_{row.wire.lower()}": (
            _identity(row.onnx_enum, ["batch", 4]),
            _config(8, row.config, "4"),
            (1,),
        )
        for row in KINDS
    }
    real = TensorProto.FLOAT
    for name in ("variable", "doomed"):
        models[name] = (_identity(real, ["b", "n"]), _config(8, "TYPE_FP32", "-1"), (1,))
    text = TensorProto.STRING
    models["strings"] = (_identity(text, ["b", "n"]), _config(8, "TYPE_STRING", "-1"), (1,))
    models["unbatched"] = (_identity(real, [2, 3]), _config(0, "TYPE_FP32", "2, 3"), (1,))
    models["versions"] = (
        _identity(real, ["batch", 4]),
        _config(8, "TYPE_FP32", "4") + "version_policy { all {} }",
        (1, 3),
    )
    labelled = _config(8, "TYPE_FP32", "4").replace(
        'name: "y"', 'name: "y" label_filename: "labels.txt"'
    )
    models["classes"] = (_identity(real, ["batch", 4]), labelled, (1,))
    models["simple"] = (_simple(), _simple_config(), (1,))
    models["optional"] = (_with_default(), _optional_config(), (1,))
    models["cached"] = (
        _identity(real, ["b", "n"]),
        _config(8, "TYPE_FP32", "-1") + "response_cache { enable: true }",
        (1,),
    )
    models["warm"] = (
        _identity(real, ["batch", 4]),
        _config(8, "TYPE_FP32", "4") + _warm_up("zero_data: true"),
        (1,),
    )
    models["sequence"] = (_sequence(), _sequence_config(), (1,))
    return models


def _graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], *constants: Any) -> bytes:
    graph = helper.make_graph(nodes, "differential", inputs, outputs, initializer=list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _values(names: str, kind: int, dims: list[Any]) -> list[Any]:
    return [helper.make_tensor_value_info(name, kind, dims) for name in names.split()]


def _config(rows: int, kind: str, dims: str) -> str:
    tensor = f"data_type: {kind} dims: [ {dims} ]"
    return (
        f'max_batch_size: {rows}\ninput [{{ name: "x" {tensor} }}]\n'
        f'output [{{ name: "y" {tensor} }}]\n'
    )


def _identity(kind: int, dims: list[Any]) -> bytes:
    node = helper.make_node("Identity", ["x"], ["y"])
    return _graph([node], _values("x", kind, dims), _values("y", kind, dims))


def _simple() -> bytes:
    nodes = [
        helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
        helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
    ]
    dims, kind = ["batch", 4], TensorProto.INT32
    inputs = _values("INPUT0 INPUT1", kind, dims)
    return _graph(nodes, inputs, _values("OUTPUT0 OUTPUT1", kind, dims))


def _simple_config() -> str:
    tensor = "data_type: TYPE_INT32 dims: [ 4 ]"
    return (
        f'max_batch_size: 8\ninput [{{ name: "INPUT0" {tensor} }}, {{ name: "INPUT1" {tensor} }}]\n'
        f'output [{{ name: "OUTPUT0" {tensor} }}, {{ name: "OUTPUT1" {tensor} }}]\n'
    )


def _chain_config() -> str:
    """An ensemble: a, b -> their sum and difference, and of these again: twice a, twice b."""
    steps = (
        {"INPUT0": "a", "INPUT1": "b", "OUTPUT0": "sum", "OUTPUT1": "difference"},
        {"INPUT0": "sum", "INPUT1": "difference", "OUTPUT0": "c", "OUTPUT1": "d"},
    )
    written = ""
    for maps in steps:
        tensors = " ".join(
            f'{name[:-1].lower()}_map {{ key: "{name}" value: "{tensor}" }}'
            for name, tensor in maps.items()
        )
        written += f'step {{ model_name: "simple" model_version: -1 {tensors} }} '
    tensor = "data_type: TYPE_INT32 dims: [ 4 ]"
    return (
        f'platform: "ensemble"\nmax_batch_size: 8\n'
        f'input [{{ name: "a" {tensor} }}, {{ name: "b" {tensor} }}]\n'
        f'output [{{ name: "c" {tensor} }}, {{ name: "d" {tensor} }}]\n'
        f"ensemble_scheduling {{ {written} }}\n"
    )


def _warm_up(data: str) -> str:
    inputs = f'inputs {{ key: "x" value {{ data_type: TYPE_FP32 dims: [ 4 ] {data} }} }}'
    return f'model_warmup [{{ name: "first" batch_size: 2 count: 3 {inputs} }}]'


def _with_default() -> bytes:
    bias = numpy_helper.from_array(np.full((1, 4), 10, np.float32), "bias")
    kind = TensorProto.FLOAT
    inputs = [*_values("x", kind, ["b", 4]), *_values("bias", kind, ["rows", 4])]
    node = helper.make_node("Add", ["x", "bias"], ["y"])
    return _graph([node], inputs, _values("y", kind, ["b", 4]), bias)


def _optional_config() -> str:
    tensor = "data_type: TYPE_FP32 dims: [ 4 ]"
    return (
        f'max_batch_size: 8\ninput [{{ name: "x" {tensor} }}, '
        f'{{ name: "bias" {tensor} optional: true }}]\noutput [{{ name: "y" {tensor} }}]\n'
    )


def _sequence() -> bytes:
    dims, kind = ["batch", 1], TensorProto.INT32
    node = helper.make_node("Add", ["x", "START"], ["y"])
    return _graph([node], _values("x START", kind, dims), _values("y", kind, dims))


def _sequence_config() -> str:
    return _config(8, "TYPE_INT32", "1") + (
        f"sequence_batching {{ max_sequence_idle_microseconds: 60000000 direct {{}} "
        f"control_input [{_START}] }}"
    )
