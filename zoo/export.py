"""Keras to ONNX: the one door to tf2onnx.

    trace (training=False, batch unknown) -> tf2onnx -> captures to initializers -> signature
    -> canonical names -> ONNX checker with full shape inference

`from_function` rather than `from_keras`: the latter is broken with Keras 3. tf2onnx logs what it
cannot convert and still writes a file, so its logged errors are errors here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from server import tensors
from zoo.errors import CheckFailed
from zoo.graph.canonical import canonicalize
from zoo.graph.constants import captures_to_initializers
from zoo.graph.signature import sign

#: Read by every runtime tried, the oldest supported onnxruntime included; onnx's own defaults are
#: newer than most of them.
OPSET = 17
IR_VERSION = 8


def convert(
    model: Any, *, input_name: str, output_name: str, opset: int = OPSET
) -> onnx.ModelProto:
    """Return a built Keras model with one input and one output as a checked ONNX model.

    The first dimension of both is called `batch`; names are the ones given. Raises CheckFailed
    with the reason if the model cannot be converted right.
    """
    function, specification = _traced(model, input_name, output_name)
    captures = _captures(function)
    converted = _from_function(function, specification, opset)
    captures_to_initializers(converted, (input_name,), captures)
    sign(converted, {input_name: model.inputs[0].shape, output_name: model.outputs[0].shape})
    canonicalize(converted)
    converted.ir_version = IR_VERSION
    converted.producer_name = "layer-zoo"
    converted.producer_version = ""
    _check(converted)
    return converted


def serialized(model: onnx.ModelProto) -> bytes:
    """Return the file's bytes, the same for the same model."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _traced(model: Any, input_name: str, output_name: str) -> tuple[Any, list[Any]]:
    """Return the model as a TensorFlow function of one named input, for inference."""
    import tensorflow as tf

    symbolic = model.inputs[0]
    shape = (None, *symbolic.shape[1:])
    # The batch stays unknown while tracing: a fixed one turns every LSTM into a Loop.
    specification = [tf.TensorSpec(shape, symbolic.dtype, name=input_name)]

    def infer(x: Any) -> dict[str, Any]:
        return {output_name: model(x, training=False)}

    return tf.function(infer, input_signature=specification), specification


def _captures(function: Any) -> dict[str, np.ndarray]:
    """Return the eager tensors that the function captured by value, by their inner name."""
    graph = function.get_concrete_function().graph
    return {
        inner.name: outer.numpy()
        for outer, inner in graph.captures
        if outer.dtype.name not in ("resource", "variant")
    }


class _Errors(logging.Handler):
    """Collects what tf2onnx logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage().strip().splitlines()[0])


def _from_function(function: Any, specification: list[Any], opset: int) -> onnx.ModelProto:
    """Run tf2onnx; its exceptions and its logged errors are failures alike."""
    import tf2onnx

    errors = _Errors()
    logger = logging.getLogger("tf2onnx")
    # tf2onnx's own handlers would print its progress; its errors reach the user as ours.
    propagate, level = logger.propagate, logger.level
    logger.addHandler(errors)
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    try:
        converted, _ = tf2onnx.convert.from_function(
            function, input_signature=specification, opset=opset
        )
    except Exception as error:  # whatever tf2onnx raises means the same to the user
        raise CheckFailed(f"tf2onnx cannot convert the model: {error}") from error
    finally:
        logger.removeHandler(errors)
        logger.propagate, logger.level = propagate, level
    if errors.messages:
        raise CheckFailed(f"tf2onnx cannot convert the model: {'; '.join(errors.messages)}")
    return converted


def _check(model: onnx.ModelProto) -> None:
    """Run the ONNX checker with full shape inference."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        first = str(error).strip().splitlines()[0]
        raise CheckFailed(f"the exported graph is not valid ONNX: {first}") from error


def facts(model: onnx.ModelProto) -> Mapping[str, Any]:
    """Return the facts about a graph that the manifest records."""
    (domain,) = [o.version for o in model.opset_import if o.domain == ""]
    return {
        "opset": domain,
        "ir_version": model.ir_version,
        "nodes": len(model.graph.node),
        "inputs": [_tensor(value) for value in model.graph.input],
        "outputs": [_tensor(value) for value in model.graph.output],
    }


def _tensor(value: onnx.ValueInfoProto) -> dict[str, Any]:
    """Return name, element type (as on the wire) and dimensions, symbols as text."""
    tensor = value.type.tensor_type
    (datatype,) = [row for row in tensors.DATA_TYPES if row.onnx_enum == tensor.elem_type]
    return {
        "name": value.name,
        "datatype": datatype.wire,
        "shape": [dim.dim_param or dim.dim_value for dim in tensor.shape.dim],
    }
