"""Stores the matrices of dense layers in 4 or 8 bits; the rest of the graph stays float32.

    MatMul(x, W)  ->  MatMul(x, DequantizeLinear(W in int4, a scale for each block of 32 rows))

Standard operators of opset 21. onnxruntime runs the pair as one (MatMulNBits), without writing the
matrix out: a run of one row reads an eighth or a quarter of the bytes. It rounds what it multiplies to
8 bits, block by block, unless session.qdq_matmulnbits_accuracy_level says otherwise; the measured loss
has that in it. No calibration: rounding to the nearest.
"""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from zoo.convert.passes.view import nested_graphs, reads_of
from zoo.parity.compare import Arrays

#: DequantizeLinear has blocks since this one.
OPSET = 21

#: Rows that share a scale: what onnxruntime's kernels are made for.
BLOCK = 32

#: A matrix of fewer numbers is not worth a node.
FEWEST = 1024

TYPES = {4: ml_dtypes.int4, 8: np.int8}


class NothingLarge(Exception):
    """No matrix of the graph is worth it."""


def in_bits(bits: int, model: ModelProto, calibration: Sequence[Arrays]) -> ModelProto:
    """Return the graph with its large matrices in 4 or 8 bits. Raises NothingLarge if it has none."""
    (opset,) = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    variant = onnx.version_converter.convert_version(model, max(OPSET, opset))
    graph = variant.graph
    weights = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    outer = {name for node in graph.node for g in nested_graphs(node) for name in reads_of(g)}
    nodes: list[NodeProto] = []
    stored: set[str] = set()
    for node in graph.node:
        name = _matrix(node, weights)
        if name is None or name in outer:
            nodes.append(node)
            continue
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        key = f"{name}/columns" if transposed else f"{name}/rows"
        if key not in stored:
            matrix = numpy_helper.to_array(weights[name])
            values, scales = rounded(matrix.T if transposed else matrix, bits)
            graph.initializer.append(numpy_helper.from_array(values, f"{key}/values"))
            graph.initializer.append(numpy_helper.from_array(scales, f"{key}/scales"))
            stored.add(key)
        nodes += _product(node, key)
    if not stored:
        raise NothingLarge(f"no matrix of a dense layer has {FEWEST} numbers or more")
    del graph.node[:]
    graph.node.extend(_without_relu_behind(nodes, graph))
    left = {name for node in graph.node for name in node.input} | outer
    kept = [t for t in graph.initializer if t.name in left]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return variant


def _without_relu_behind(nodes: Sequence[NodeProto], graph: GraphProto) -> list[NodeProto]:
    """Return the nodes, with Max in the place of a Relu that reads a product of a stored matrix.

    onnxruntime 1.32 takes a Relu there for one that a quantised output makes needless, and then
    leaves the two nodes apart: each run would write the matrix out.
    """
    read = {n.output[0] for n in nodes if n.op_type == "DequantizeLinear"}
    products = {n.output[0] for n in nodes if read.intersection(n.input)}
    behind = {n.output[0] for n in nodes if n.op_type == "Relu" and n.input[0] in products}
    if behind:
        zero = numpy_helper.from_array(np.zeros((), np.float32), "stored/zero")
        graph.initializer.append(zero)
    return [
        helper.make_node("Max", [node.input[0], "stored/zero"], node.output)
        if node.output[0] in behind
        else node
        for node in nodes
    ]


def rounded(matrix: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the whole numbers of a matrix (rows, columns), and a scale for each block of a column."""
    rows, columns = matrix.shape
    count = -(-rows // BLOCK)
    padded = np.zeros((count * BLOCK, columns), np.float32)
    padded[:rows] = matrix
    blocks = padded.reshape(count, BLOCK, columns)
    most = 2 ** (bits - 1) - 1
    scales = np.abs(blocks).max(axis=1) / most
    scales = np.where(scales > 0, scales, 1).astype(np.float32)
    whole = np.clip(np.round(blocks / scales[:, None]), -most, most)
    return whole.reshape(-1, columns)[:rows].astype(TYPES[bits]), scales


def _matrix(node: NodeProto, weights: dict[str, TensorProto]) -> str | None:
    """Return the name of the matrix that a node multiplies by, if it is a large one."""
    if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in weights:
        return None
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    plain = values.get("alpha", 1.0) == values.get("beta", 1.0) == 1.0 and not values.get("transA")
    dims = weights[node.input[1]].dims
    large = len(dims) == 2 and int(np.prod(dims)) >= FEWEST and min(dims) > 1
    return node.input[1] if plain and large else None


def _product(node: NodeProto, key: str) -> list[NodeProto]:
    """Return a node that multiplies by a stored matrix, and one of its own that reads it.

    onnxruntime makes one of the two only where nothing else reads the matrix.
    """
    read = f"{node.output[0]}/matrix"
    stored = [f"{key}/values", f"{key}/scales"]
    product = NodeProto()
    product.CopyFrom(node)
    product.input[1] = read
    kept = [attribute for attribute in node.attribute if attribute.name != "transB"]
    del product.attribute[:]
    product.attribute.extend(kept)
    return [
        helper.make_node("DequantizeLinear", stored, [read], axis=0, block_size=BLOCK),
        product,
    ]
