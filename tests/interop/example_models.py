"""The models that the client examples of Triton ask for, written as ONNX graphs of our own.

Names, shapes and what each must answer are read off the examples' assertions; `simple_identity` and
`custom_identity_int32`, which Triton serves from other backends, are ONNX Identity here.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Which of them lie in the repository when an example counts what the index lists: the counts are
#: asserted by simple_grpc_model_control.py (8) and simple_http_model_control.py (7).
COUNTED_BY_GRPC = (
    "simple", "simple_int8", "simple_string", "simple_identity", "simple_sequence",
    "simple_dyna_sequence", "simple_string_dyna_sequence", "custom_identity_int32",
)  # fmt: skip
COUNTED_BY_HTTP = COUNTED_BY_GRPC[:7]

IMAGE_SIDE, IMAGE_CLASSES = 224, 1000

#: Of the pictures of ensemble_image_client.py, as text: the size, and what stands before the values.
TEXT_SIDE = 8
TEXT_HEAD = f"P3 {TEXT_SIDE} {TEXT_SIDE} 255"

_PAIRS = """
max_batch_size: 8
input [{ name: "INPUT0" data_type: TYPE_%(kind)s dims: [ 16 ] },
       { name: "INPUT1" data_type: TYPE_%(kind)s dims: [ 16 ] }]
output [{ name: "OUTPUT0" data_type: TYPE_%(kind)s dims: [ 16 ] },
        { name: "OUTPUT1" data_type: TYPE_%(kind)s dims: [ 16 ] }]
"""
_START = '{ name: "START" control [{ kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] }] }'
_END = '{ name: "END" control [{ kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] }] }'
_CORRID = '{ name: "CORRID" control [{ kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_%s }] }'
_TOTAL = 'state [{ input_name: "BEFORE" output_name: "AFTER" data_type: TYPE_INT32 dims: [ 1 ] }]'
#: The sequences of one example are fewer than 8; a minute is longer than a slow machine needs.
_SEQUENCES = """
max_batch_size: 8
sequence_batching { max_sequence_idle_microseconds: 60000000 %s }
"""


def write(repository: Path, names: tuple[str, ...] | None = None) -> None:
    """Write the named models, all by default, as a model repository."""
    for name in names or tuple(_MODELS):
        graph, config = _MODELS[name]()
        folder = repository / name / "1"
        folder.mkdir(parents=True)
        if graph:
            (folder / "model.onnx").write_bytes(graph)
        (repository / name / "config.pbtxt").write_text(config)
        if name == "densenet_onnx":
            labels = "".join(f"class {number}\n" for number in range(IMAGE_CLASSES))
            (repository / name / "labels.txt").write_text(labels)
        if name == "inception_graphdef":
            (repository / name / "labels.txt").write_text("red\ngreen\nblue\n")


def _graph(
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    constants: tuple[Any, ...] = (),
    opset: int = 17,
) -> bytes:
    graph = helper.make_graph(nodes, "example", inputs, outputs, initializer=list(constants))
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8 if opset < 20 else 9)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _values(names: str, kind: int, *dims: int | str) -> list[Any]:
    return [helper.make_tensor_value_info(name, kind, list(dims)) for name in names.split()]


def _cast(source: str, result: str, kind: int) -> Any:
    return helper.make_node("Cast", [source], [result], to=kind)


def _simple(kind: int, config_kind: str) -> tuple[bytes, str]:
    """OUTPUT0 is the sum and OUTPUT1 the difference of 16 numbers."""
    nodes = [
        helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
        helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
    ]
    inputs = _values("INPUT0 INPUT1", kind, "batch", 16)
    outputs = _values("OUTPUT0 OUTPUT1", kind, "batch", 16)
    return _graph(nodes, inputs, outputs), _PAIRS % {"kind": config_kind}


def _converted(kind: int, config_kind: str) -> tuple[bytes, str]:
    """The same where the runtime computes in INT32 only: each number is converted there and back."""
    nodes = [
        _cast("INPUT0", "a", TensorProto.INT32),
        _cast("INPUT1", "b", TensorProto.INT32),
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Sub", ["a", "b"], ["difference"]),
        _cast("sum", "OUTPUT0", kind),
        _cast("difference", "OUTPUT1", kind),
    ]
    inputs = _values("INPUT0 INPUT1", kind, "batch", 16)
    outputs = _values("OUTPUT0 OUTPUT1", kind, "batch", 16)
    return _graph(nodes, inputs, outputs), _PAIRS % {"kind": config_kind}


def _identity(kind: int, config_kind: str) -> tuple[bytes, str]:
    nodes = [helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])]
    graph = _graph(
        nodes,
        _values("INPUT0", kind, "batch", "length"),
        _values("OUTPUT0", kind, "batch", "length"),
    )
    tensor = f"data_type: TYPE_{config_kind} dims: [ -1 ]"
    return graph, (
        f'max_batch_size: 8\ninput [{{ name: "INPUT0" {tensor} }}]\n'
        f'output [{{ name: "OUTPUT0" {tensor} }}]\n'
    )


def _sequence() -> tuple[bytes, str]:
    """OUTPUT = INPUT, one more on the first request of a sequence."""
    graph = _graph(
        [helper.make_node("Add", ["INPUT", "START"], ["OUTPUT"])],
        _values("INPUT START", TensorProto.INT32, "batch", 1),
        _values("OUTPUT", TensorProto.INT32, "batch", 1),
    )
    return graph, _SEQUENCES % f"direct {{}} control_input [{_START}]"


def _dyna_sequence() -> tuple[bytes, str]:
    """The same, and the correlation id is added on the last request."""
    nodes = [
        helper.make_node("Add", ["INPUT", "START"], ["begun"]),
        _cast("CORRID", "number", TensorProto.INT32),
        helper.make_node("Mul", ["number", "END"], ["ended"]),
        helper.make_node("Add", ["begun", "ended"], ["OUTPUT"]),
    ]
    graph = _graph(
        nodes,
        [
            *_values("INPUT START END", TensorProto.INT32, "batch", 1),
            *_values("CORRID", TensorProto.UINT64, "batch", 1),
        ],
        _values("OUTPUT", TensorProto.INT32, "batch", 1),
    )
    controls = f"control_input [{_START}, {_END}, {_CORRID % 'UINT64'}]"
    return graph, _SEQUENCES % f"oldest {{ max_candidate_sequences: 8 }} {controls}"


def _string_dyna_sequence() -> tuple[bytes, str]:
    """OUTPUT is the running sum; the id, a number in text, is added on the last request."""
    nodes = [
        _cast("CORRID", "number", TensorProto.INT32),
        helper.make_node("Mul", ["number", "END"], ["ended"]),
        helper.make_node("Add", ["INPUT", "BEFORE"], ["sum"]),
        helper.make_node("Add", ["sum", "ended"], ["OUTPUT"]),
        helper.make_node("Identity", ["OUTPUT"], ["AFTER"]),
    ]
    graph = _graph(
        nodes,
        [
            *_values("INPUT BEFORE END", TensorProto.INT32, "batch", 1),
            *_values("CORRID", TensorProto.STRING, "batch", 1),
        ],
        _values("OUTPUT AFTER", TensorProto.INT32, "batch", 1),
    )
    controls = f"control_input [{_END}, {_CORRID % 'STRING'}]"
    return graph, _SEQUENCES % f"oldest {{ max_candidate_sequences: 8 }} {controls} {_TOTAL}"


def _image_classifier() -> tuple[bytes, str]:
    """A picture's three mean colours, through one dense layer to 1000 scores: no batch dimension."""
    dense = np.random.default_rng(5).standard_normal((3, IMAGE_CLASSES)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["data_0"], ["means"]),
        helper.make_node("Flatten", ["means"], ["colours"]),
        helper.make_node("MatMul", ["colours", "dense"], ["scores"]),
        helper.make_node("Reshape", ["scores", "shape"], ["fc6_1"]),
    ]
    shape = numpy_helper.from_array(np.array([1, IMAGE_CLASSES, 1, 1]), "shape")
    graph = _graph(
        nodes,
        _values("data_0", TensorProto.FLOAT, 1, 3, IMAGE_SIDE, IMAGE_SIDE),
        _values("fc6_1", TensorProto.FLOAT, 1, IMAGE_CLASSES, 1, 1),
        (numpy_helper.from_array(dense, "dense"), shape),
    )
    side, classes = IMAGE_SIDE, IMAGE_CLASSES
    return graph, (
        f'max_batch_size: 0\ninput [{{ name: "data_0" data_type: TYPE_FP32 format: FORMAT_NCHW '
        f"dims: [ 3, {side}, {side} ] reshape {{ shape: [ 1, 3, {side}, {side} ] }} }}]\n"
        f'output [{{ name: "fc6_1" data_type: TYPE_FP32 dims: [ {classes} ] '
        f'reshape {{ shape: [ 1, {classes}, 1, 1 ] }} label_filename: "labels.txt" }}]\n'
    )


def _text_picture() -> tuple[bytes, str]:
    """Files of pictures in plain PPM of one size -> values 0 to 1, channels first.

    ONNX strings are text, and onnxruntime has no decoder of JPEG: hence the one format that is text.
    """
    side, head = TEXT_SIDE, len(TEXT_HEAD.split())
    nodes = [
        helper.make_node("StringSplit", ["INPUT"], ["words", "count"]),
        helper.make_node("Slice", ["words", "from", "to", "axis"], ["texts"]),
        _cast("texts", "numbers", TensorProto.FLOAT),
        helper.make_node("Reshape", ["numbers", "shape"], ["pixels"]),
        helper.make_node("Transpose", ["pixels"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node("Div", ["channels", "most"], ["OUTPUT"]),
    ]
    constants = {
        "from": np.array([head]),
        "to": np.array([head + 3 * side * side]),
        "axis": np.array([2]),
        "shape": np.array([-1, side, side, 3]),
        "most": np.array(255, np.float32),
    }
    graph = _graph(
        nodes,
        _values("INPUT", TensorProto.STRING, "batch", 1),
        _values("OUTPUT", TensorProto.FLOAT, "batch", 3, side, side),
        tuple(numpy_helper.from_array(array, name) for name, array in constants.items()),
        opset=20,
    )
    return graph, "max_batch_size: 4\n"


def _colours() -> tuple[bytes, str]:
    """The mean of each channel of a picture: three scores."""
    graph = _graph(
        [
            helper.make_node("GlobalAveragePool", ["input"], ["means"]),
            helper.make_node("Flatten", ["means"], ["scores"]),
        ],
        _values("input", TensorProto.FLOAT, "batch", 3, TEXT_SIDE, TEXT_SIDE),
        _values("scores", TensorProto.FLOAT, "batch", 3),
    )
    return graph, (
        'max_batch_size: 4\noutput [{ name: "scores" data_type: TYPE_FP32 dims: [ 3 ] '
        'label_filename: "labels.txt" }]\n'
    )


def _image_ensemble() -> tuple[bytes, str]:
    """A picture's file -> which of its channels is the brightest."""
    return b"", (
        'platform: "ensemble" max_batch_size: 4\n'
        'input [{ name: "INPUT" data_type: TYPE_STRING dims: [ 1 ] }]\n'
        'output [{ name: "OUTPUT" data_type: TYPE_FP32 dims: [ 3 ] }]\n'
        "ensemble_scheduling {\n"
        'step { model_name: "preprocess" model_version: -1\n'
        'input_map { key: "INPUT" value: "INPUT" } output_map { key: "OUTPUT" value: "pixels" } }\n'
        'step { model_name: "inception_graphdef" model_version: -1\n'
        'input_map { key: "input" value: "pixels" } output_map { key: "scores" value: "OUTPUT" } }\n'
        "}\n"
    )


_MODELS = {
    "simple": lambda: _simple(TensorProto.INT32, "INT32"),
    "simple_int8": lambda: _converted(TensorProto.INT8, "INT8"),
    "simple_string": lambda: _converted(TensorProto.STRING, "STRING"),
    "simple_identity": lambda: _identity(TensorProto.STRING, "STRING"),
    "simple_sequence": _sequence,
    "simple_dyna_sequence": _dyna_sequence,
    "simple_string_dyna_sequence": _string_dyna_sequence,
    "custom_identity_int32": lambda: _identity(TensorProto.INT32, "INT32"),
    "densenet_onnx": _image_classifier,
    "preprocess": _text_picture,
    "inception_graphdef": _colours,
    "preprocess_inception_ensemble": _image_ensemble,
}
