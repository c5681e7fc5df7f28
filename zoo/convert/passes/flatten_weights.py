"""Removes the Transpose before a Flatten, by reordering the rows of the weights behind it.

Keras flattens [height, width, channels]; convolutions in ONNX give [channels, height, width], so
tf2onnx puts a Transpose before the Reshape. Right where the Transpose keeps the batch first, the
Reshape makes exactly [batch, all the rest], of known size, nobody else reads either, and what
follows is a product with a constant matrix whose rows can be reordered. (A Transpose and Reshape
that leaves more than one axis, as in ConvNeXt, is no flatten.)
"""

from __future__ import annotations

from operator import itemgetter

import numpy as np
from onnx import NodeProto, numpy_helper

from zoo.convert.passes.large_weights import is_large
from zoo.convert.passes.view import Dim, Dims, View, attribute, known


def permute_rows_after_flatten(view: View) -> bool:
    """Rewrite the first Transpose, Reshape, Gemm (or MatMul); return whether there was one."""
    for node in view.graph.node:
        if node.op_type != "Transpose":
            continue
        perm = list(attribute(node, "perm", []))
        source: Dims = view.shapes.get(node.input[0]) or ()
        features = source[1:]
        if perm[:1] != [0] or len(perm) < 3 or not known(features):
            continue
        reshape = view.only_reader(node.output[0])
        if reshape is None or not _is_flatten(
            view, reshape, node.output[0], source[0], int(np.prod(features))
        ):
            continue
        product = view.only_reader(reshape.output[0])
        if product is None or not _is_product(product, reshape.output[0]):
            continue
        weight = view.weight(product.input[1])
        sizes = [features[axis - 1] for axis in perm[1:]]
        if weight is None or len(weight.dims) != 2 or weight.dims[0] != int(np.prod(sizes)):
            continue
        rows = np.arange(weight.dims[0]).reshape(sizes)
        # Axis i of the source is axis perm.index(i) of what the rows are ordered by now.
        order = rows.transpose([perm.index(axis) - 1 for axis in range(1, len(perm))]).ravel()
        if is_large(weight):
            changed = view.add_large(weight, weight.dims, "permuted", itemgetter(order))
        else:
            changed = view.add_constant(numpy_helper.to_array(weight)[order], "permuted")
        product.input[1] = changed
        reshape.input[0] = node.input[0]
        view.graph.node.remove(node)
        return True
    return False


def _is_flatten(view: View, node: NodeProto, value: str, batch: Dim, size: int) -> bool:
    """Whether a node is Reshape(value, [-1 or the batch, size of the rest])."""
    if node.op_type != "Reshape" or node.input[0] != value:
        return False
    target = view.constant(node.input[1])
    if target is None or target.shape != (2,) or int(target[1]) != size:
        return False
    return int(target[0]) in (-1, 0) or int(target[0]) == batch


def _is_product(node: NodeProto, value: str) -> bool:
    """Whether a node multiplies `value`, untransposed, with an untransposed matrix."""
    if node.input[0] != value or node.op_type not in ("Gemm", "MatMul"):
        return False
    return not attribute(node, "transA", 0) and not attribute(node, "transB", 0)
