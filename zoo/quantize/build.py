"""Builds the smaller files of an fp32 graph, the first two by onnxruntime's own tools.

    int8   static quantisation in QDQ form: onnxruntime.quantization, weights per channel, ranges of
           activations (MinMax) from calibration rows
    fp16   weights and arithmetic in half precision: onnxruntime.transformers.float16; inputs and
           outputs stay float32
    w8     the matrices of dense layers in 8 bits, and w4 in 4 bits (weights.py)

Only what lies between operators with weights changes its numbers. The scaling before the first
and after the last of them stays float32: one 8-bit scale over raw columns of unlike size leaves
nothing of the small ones (breast cancer: accuracy 0.63 instead of 0.98), and half precision holds
three digits of a raw value that is yet to lose its mean.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from zoo.convert.conversion import check_graph
from zoo.convert.opsets import IR_VERSIONS
from zoo.convert.passes.canonical import canonicalize
from zoo.convert.passes.order import order_nodes
from zoo.convert.passes.precision import drop_round_trips
from zoo.convert.passes.view import nested_graphs, reads_of
from zoo.errors import first_line
from zoo.parity.compare import Arrays
from zoo.parity.runtimes import import_onnxruntime
from zoo.quantize.overflow import overflowing
from zoo.quantize.weights import NothingLarge, in_bits

#: Operators whose weights are worth storing in fewer bits, per variant: onnxruntime quantises no
#: recurrent operator statically, and runs their float16 variant.
WEIGHTED: Mapping[str, frozenset[str]] = {
    "int8": frozenset({"Conv", "ConvTranspose", "Gather", "Gemm", "MatMul"}),
    "fp16": frozenset({"Conv", "ConvTranspose", "GRU", "Gather", "Gemm", "LSTM", "MatMul", "RNN"}),
}


class CannotBuild(Exception):
    """A variant of this graph makes no sense, or the tool refuses it; the reason in one line."""


def build(kind: str, model: ModelProto, calibration: Sequence[Arrays]) -> ModelProto:
    """Return the variant of a graph, checked, with names and metadata in our own way.

    `calibration` are batches of training rows by input name, all of one size. The same arguments
    give the same bytes. Raises CannotBuild with the reason; OSError where the disk refuses.
    """
    try:
        with _quiet():
            variant = BUILDERS[kind](model, calibration)
        return _finish(variant, model)
    except (CannotBuild, OSError):
        raise
    except NothingLarge as error:
        raise CannotBuild(str(error)) from error
    except Exception as error:  # the tools raise anything, and what they say is the reason
        raise CannotBuild(first_line(error)[:200]) from error


def float_edges(model: ModelProto, weighted: frozenset[str]) -> list[str]:
    """Name the nodes that no path leads to, or from which none leads, an operator with weights.

    Nodes with nested graphs are among them: their bodies are left as they are. Raises CannotBuild
    if there is no operator with weights.
    """
    initializers = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}

    def counts(node: NodeProto) -> bool:
        if node.op_type == "Gather":  # an embedding, and not arithmetic on shapes
            return node.input[0] in initializers
        return node.op_type in weighted

    after: set[str] = set()
    before: set[str] = set()
    fed, feeding = set(), set()
    for node in model.graph.node:
        if after.intersection(node.input):
            fed.add(node.name)
        if node.name in fed or counts(node):
            after.update(node.output)
    for node in reversed(model.graph.node):
        if before.intersection(node.output):
            feeding.add(node.name)
        if node.name in feeding or counts(node):
            before.update(node.input)
    if not after:
        raise CannotBuild(f"the graph has none of {', '.join(sorted(weighted))}")
    return [
        node.name
        for node in model.graph.node
        if any(nested_graphs(node)) or not (counts(node) or node.name in fed & feeding)
    ]


class _Batches:
    """Calibration batches as onnxruntime's CalibrationDataReader hands them out."""

    def __init__(self, batches: Sequence[Arrays]) -> None:
        self._rest = iter(batches)

    def get_next(self) -> dict[str, object] | None:
        """Return the next batch, None after the last."""
        batch = next(self._rest, None)
        return None if batch is None else dict(batch)


def _int8(model: ModelProto, calibration: Sequence[Arrays]) -> ModelProto:
    """Quantise statically: activations unsigned, weights signed and per channel.

    onnxruntime's pre-processing comes first, as its quantiser asks (constants folded, shapes
    known): symbolic inference would need sympy, and our graphs' shapes are plain.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="zoo-int8-") as folder:
        source, prepared, target = (Path(folder) / f"{n}.onnx" for n in ("fp32", "ready", "int8"))
        onnx.save(model, source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            _Batches(calibration),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=float_edges(onnx.load(prepared), WEIGHTED["int8"]),
        )
        variant = onnx.load(target)
    if not any(node.op_type == "DequantizeLinear" for node in variant.graph.node):
        raise CannotBuild("nothing in the graph can be quantised")
    return variant


def _fp16(model: ModelProto, calibration: Sequence[Arrays]) -> ModelProto:
    """Convert to half precision between float32 inputs and outputs."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    edges = float_edges(model, WEIGHTED["fp16"])
    for node in model.graph.node:
        if any(_reads_outside(graph) for graph in nested_graphs(node)):
            raise CannotBuild(
                f"{node.name} ({node.op_type}) has a body that reads values from outside, and the "
                "converter does not follow them"
            )
    copy = ModelProto()
    copy.CopyFrom(model)
    variant: ModelProto = convert_float_to_float16(copy, keep_io_types=True, node_block_list=edges)
    if not any(t.data_type == TensorProto.FLOAT16 for t in variant.graph.initializer):
        raise CannotBuild("no weight became float16")
    # The tool appends its casts at the end, and casts to half and back before what stays float32.
    order_nodes(variant.graph)
    drop_round_trips(variant)
    if name := overflowing(variant, calibration):
        raise CannotBuild(f"{name} goes beyond half precision's 65504 on calibration rows")
    return variant


def _reads_outside(graph: GraphProto) -> bool:
    """Whether a nested graph reads a value that is not its own."""
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own.update(name for node in graph.node for name in node.output)
    return any(name and name not in own for name in reads_of(graph))


BUILDERS: Mapping[str, Callable[[ModelProto, Sequence[Arrays]], ModelProto]] = {
    "int8": _int8,
    "fp16": _fp16,
    "w8": partial(in_bits, 8),
    "w4": partial(in_bits, 4),
}


def _finish(variant: ModelProto, model: ModelProto) -> ModelProto:
    """Give a variant the source's inputs and outputs, IR version and metadata, and our names; check it whole.

    The tools leave their own marks, inner shapes, and operator sets that nothing uses.
    """
    del variant.graph.value_info[:]
    del variant.metadata_props[:]
    variant.metadata_props.extend(model.metadata_props)
    (opset,) = [o.version for o in variant.opset_import if o.domain in ("", "ai.onnx")]
    variant.ir_version = IR_VERSIONS[opset]
    variant.producer_name, variant.producer_version = model.producer_name, model.producer_version
    canonicalize(variant)
    for values, source_values in (
        (variant.graph.input, model.graph.input),
        (variant.graph.output, model.graph.output),
    ):
        del values[:]
        values.extend(source_values)
    variant.doc_string = model.doc_string
    check_graph(variant)
    return variant


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tools' advice off the terminal: it speaks to people who call them by hand.

    The handler keeps `logging.warning`, which they use, from adding one of its own to the root
    logger for good.
    """
    onnxruntime = import_onnxruntime()
    root, handler = logging.getLogger(), logging.NullHandler()
    disabled = root.manager.disable
    root.addHandler(handler)
    logging.disable(logging.CRITICAL)
    onnxruntime.set_default_logger_severity(3)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        onnxruntime.set_default_logger_severity(2)
        logging.disable(disabled)
        root.removeHandler(handler)
