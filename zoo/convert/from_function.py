"""Runs tf2onnx on a traced function. The one module that imports it to convert.

`from_function` rather than `from_keras`: the latter fails with Keras 3 (tf2onnx issue 2448).
tf2onnx logs what it cannot convert and still writes a file, so its logged errors are errors here.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onnx import ModelProto

from zoo.convert.effects import layer_of
from zoo.convert.function import Traced
from zoo.convert.handlers import EXTRA_OPSETS, handlers
from zoo.convert.weights import WEIGHT
from zoo.errors import CheckFailed, first_line

if TYPE_CHECKING:
    import keras
    from tensorflow.core.framework.graph_pb2 import GraphDef

#: tf2onnx 1.17 writes up to this one; newer ones come from onnx's version converter.
TF2ONNX_OPSET = 18


class _Errors(logging.Handler):
    """Collects what tf2onnx logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # The last line of an exception says what happened; the ones before, where.
        lines = record.getMessage().strip().splitlines()
        self.messages.append(lines[0] if record.exc_info is None else f"{lines[0]}: {lines[-1]}")
        if record.exc_info and record.exc_info[1] is not None:
            self.messages[-1] = f"{lines[0]}: {record.exc_info[1]}"


def from_function(model: keras.Model, traced: Traced, opset: int) -> ModelProto:
    """Run tf2onnx; its exceptions and its logged errors are failures alike."""
    errors = _Errors()
    logger = logging.getLogger("tf2onnx")
    # tf2onnx's own handlers would print its progress; its errors reach the user as ours.
    propagate, level = logger.propagate, logger.level
    logger.addHandler(errors)
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    try:
        try:
            converted = _convert(traced, opset, catch_errors=False)
        except Exception:  # in an optimizer: without it the model may still be converted
            errors.messages.clear()
            converted = _convert(traced, opset, catch_errors=True)
    except Exception as error:  # whatever tf2onnx raises means the same to the user
        raise CheckFailed(f"tf2onnx cannot convert {model.name}: {first_line(error)}") from error
    finally:
        logger.removeHandler(errors)
        logger.propagate, logger.level = propagate, level
    if errors.messages:
        raise CheckFailed(_reason(model, errors.messages))
    return converted


def _convert(traced: Traced, opset: int, *, catch_errors: bool) -> ModelProto:
    """Call tf2onnx; with `catch_errors` an optimizer that fails is skipped.

    For that tf2onnx copies the whole graph, weights included, before each optimizer, unless this
    environment variable is set, whatever to: a quarter of the time of an EfficientNet.
    """
    import tf2onnx

    variable = tf2onnx.constants.ENV_TF2ONNX_CATCH_ERRORS
    before = os.environ.pop(variable, None)
    if not catch_errors:
        os.environ[variable] = "FALSE"
    try:
        converted: ModelProto
        with _without_values_of_weights():
            converted, _ = tf2onnx.convert.from_function(
                traced.function,
                input_signature=traced.specification,
                opset=opset,
                custom_op_handlers=handlers(traced.tokens, traced.captures),
                extra_opset=list(EXTRA_OPSETS),
            )
    finally:
        os.environ.pop(variable, None)
        if before is not None:
            os.environ[variable] = before
    return converted


@contextmanager
def _without_values_of_weights() -> Iterator[None]:
    """Let TensorFlow's optimizer make no values for large weights.

    It makes zeros for every Placeholder, as many as the model has weights. A FakeParam too has a type
    and a shape, and gets none.
    """
    from tensorflow.python.grappler import tf_optimizer

    original = tf_optimizer.OptimizeGraph

    def optimize(config: Any, meta_graph: Any, *others: Any, **options: Any) -> GraphDef:
        _retype_weights(meta_graph.graph_def, "Placeholder", "FakeParam")
        graph = original(config, meta_graph, *others, **options)
        _retype_weights(graph, "FakeParam", "Placeholder")
        return graph

    tf_optimizer.OptimizeGraph = optimize
    try:
        yield
    finally:
        tf_optimizer.OptimizeGraph = original


def _retype_weights(graph: GraphDef, before: str, after: str) -> None:
    """Make the operators that stand for large weights others of the same attributes."""
    for node in graph.node:
        if node.op == before and node.name.startswith(WEIGHT):
            node.op = after


#: How tf2onnx names what it does not know: [TensorFlow's name, with the layers' scopes: operator].
UNKNOWN = re.compile(r"Tensorflow op \[(?P<name>[^\]]*): (?P<kind>\w+)\] is not supported")
FAILED = re.compile(r"Failed to convert node '(?P<name>[^']*)'[^:]*: *(?P<reason>.*)")


#: What to do instead of what ONNX lacks, by layer.
CURES = {
    "TextVectorization": "clean and split the text before, and look its words up by a StringLookup",
    "StringLookup": "or give it num_oov_indices=1, which needs no hashing",
    "Hashing": "hash before, and give the model the buckets",
    "HashedCrossing": "cross and hash before, and give the model the buckets",
}


def _reason(model: keras.Model, messages: Sequence[str]) -> str:
    """Say which layer and operator cannot be converted, and what to do."""
    for message in messages:
        match = UNKNOWN.search(message) or FAILED.search(message)
        if not match:
            continue
        facts = match.groupdict()
        layer = layer_of(model, facts["name"])
        where = f"layer {layer}" if layer else f"{model.name} ({facts['name']})"
        cures = [cure for kind, cure in CURES.items() if layer and layer.endswith(f"({kind})")]
        cure = next(iter(cures), "do its work before or after")
        if not facts.get("kind"):
            return f"{where} cannot be converted: {facts['reason']}" + (
                f"; {cure}" if cures else ""
            )
        return (
            f"{where} needs TensorFlow's {facts['kind']}, which ONNX lacks: "
            f"take it out of the model; {cure}"
        )
    return f"tf2onnx cannot convert {model.name}: {'; '.join(dict.fromkeys(messages))}"
