"""Runs graphs with long tensors of strings in parts: onnxruntime holds the GIL while it converts them.

    array of str ──join──> one str ──StringSplit──> OrtValue ──run──> OrtValue ──Slice──> array of str

onnxruntime makes strings out of Python's, and Python's out of them, one by one while no other thread of
the interpreter runs: about 120 ns each, so that a million hold everybody for a tenth of a second, twice.
Nor has it a call that makes an OrtValue of strings. But while a graph runs other threads go on. So one graph
makes the tensor, by splitting a constant, and another cuts out STRINGS_AT_ONCE elements at a time.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from zoo_proto import onnx_graph_pb2 as pb
from zoo_server.backends.onnxruntime.library import (
    InferenceSession,
    Onnxruntime,
    OrtValue,
    Run,
    RunOptions,
)
from zoo_server.datatypes import STRINGS_AT_ONCE, by_wire, empty_objects, pieces_of

_TYPE = "tensor(string)"
_STRING, _INT64 = (by_wire(name).onnx_enum for name in ("BYTES", "INT64"))

#: What may stand between strings: control characters, of which text seldom has all.
_SEPARATORS = "\x1f\x1e\x1d\x1c\x02\x03"

#: The first opset with StringSplit, and the version of the format that it came with.
_OPSET, _IR_VERSION = 20, 9

#: AttributeProto.AttributeType.STRING.
_ATTRIBUTE_STRING = 3


def has_strings(session: InferenceSession) -> bool:
    """Tell whether an input or output of an onnxruntime session is of strings."""
    return any(value.type == _TYPE for value in (*session.get_inputs(), *session.get_outputs()))


class StringRun:
    """Called like a session's `run`; long tensors of strings go in and come out in parts."""

    def __init__(self, session: InferenceSession, module: Onnxruntime) -> None:
        """`module` is onnxruntime."""
        self._session = session
        self._module = module
        self._short: Run = getattr(session, "_sess", session).run
        self._slicing = self._open(_slicing())

    def __call__(
        self, outputs: Sequence[str], feeds: Mapping[str, np.ndarray], options: RunOptions | None
    ) -> list[np.ndarray]:
        """Return the named outputs, in order; raises what onnxruntime raises."""
        values: dict[str, OrtValue] | None = None
        if sum([array.size for array in feeds.values()]) > STRINGS_AT_ONCE:
            values = self._values(feeds)
        if values is None:
            arrays: list[np.ndarray] = self._short(outputs, feeds, options)
            return arrays
        answers = self._session.run_with_ort_values(list(outputs), values, options)
        # One after the other, so that other threads run in between: each takes milliseconds to free.
        values.clear()
        answers.reverse()
        return [self._array(answers.pop()) for _ in outputs]

    def _values(self, feeds: Mapping[str, np.ndarray]) -> dict[str, OrtValue] | None:
        """Return OrtValues of the arrays; None if strings hold all that could stand between them."""
        values: dict[str, OrtValue] = {}
        for name, array in feeds.items():
            if not array.dtype.hasobject:
                # It keeps the address and not the array: `feeds` lives until the run is over.
                values[name] = self._module.OrtValue.ortvalue_from_numpy(array)
                continue
            joined = _join(array)
            if joined is None:
                return None
            shape = np.array(array.shape, np.int64)
            shape_value = self._module.OrtValue.ortvalue_from_numpy(shape)
            splitting = self._open(_splitting(*joined))
            (values[name],) = splitting.run_with_ort_values(["y"], {"shape": shape_value}, None)
        return values

    def _array(self, value: OrtValue) -> np.ndarray:
        shape = value.shape()
        if value.data_type() != _TYPE or np.prod(shape, dtype=np.int64) <= STRINGS_AT_ONCE:
            array: np.ndarray = value.numpy()
            return array
        array = empty_objects(shape)
        flat = array.reshape(-1)
        for begin in range(0, array.size, STRINGS_AT_ONCE):
            end = min(begin + STRINGS_AT_ONCE, array.size)
            numbers = np.array([[array.size], [begin], [end]], np.int64)
            feeds = {
                name: self._module.OrtValue.ortvalue_from_numpy(number)
                for name, number in zip(("shape", "begin", "end"), numbers, strict=True)
            }
            (part,) = self._slicing.run_with_ort_values(["y"], {"x": value, **feeds}, None)
            flat[begin:end] = part.numpy()
        return array

    def _open(self, model: pb.ModelProto) -> InferenceSession:
        module = self._module
        options = module.SessionOptions()
        options.intra_op_num_threads = 1
        options.graph_optimization_level = module.GraphOptimizationLevel.ORT_DISABLE_ALL
        return module.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


def _join(array: np.ndarray) -> tuple[str, str] | None:
    """Return a separator and the strings with it in between; None if they hold each of those known."""
    flat = array.reshape(-1)
    for separator in _SEPARATORS:
        parts: list[str] = []
        for piece in pieces_of(flat):
            part = separator.join(piece)
            if part.count(separator) != len(piece) - 1:
                break
            parts.append(part)
        else:
            return separator, separator.join(parts)
    return None


def _splitting(separator: str, text: str) -> pb.ModelProto:
    """Return a graph without data: its output is the strings, in a shape that it is told."""
    delimiter = pb.AttributeProto(name="delimiter", type=_ATTRIBUTE_STRING, s=separator.encode())
    nodes = [
        pb.NodeProto(
            op_type="StringSplit", input=["x"], output=["strings", "count"], attribute=[delimiter]
        ),
        pb.NodeProto(op_type="Reshape", input=["strings", "shape"], output=["y"]),
    ]
    model = _model(nodes, {"shape": _INT64})
    model.graph.initializer.add(name="x", dims=[1], data_type=_STRING, string_data=[text.encode()])
    return model


def _slicing() -> pb.ModelProto:
    """Return a graph that gives a part of a tensor of strings, flat."""
    nodes = [
        pb.NodeProto(op_type="Reshape", input=["x", "shape"], output=["flat"]),
        pb.NodeProto(op_type="Slice", input=["flat", "begin", "end"], output=["y"]),
    ]
    return _model(nodes, {"x": _STRING, "shape": _INT64, "begin": _INT64, "end": _INT64})


def _model(nodes: Sequence[pb.NodeProto], inputs: Mapping[str, int]) -> pb.ModelProto:
    model = pb.ModelProto(ir_version=_IR_VERSION)
    model.opset_import.add(version=_OPSET)
    model.graph.name = "strings"
    model.graph.node.extend(nodes)
    for name, kind in inputs.items():
        model.graph.input.add(name=name).type.tensor_type.elem_type = kind
    model.graph.output.add(name="y").type.tensor_type.elem_type = _STRING
    return model
