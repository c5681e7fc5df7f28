"""Folds changes of layout into the large weights that they are made to.

tf2onnx transposes the kernels of convolutions, and reshapes others; of constants at once, of inputs, which
large weights are to it, by nodes. Right because a weight is a constant, only if no other node reads it:
else the file would hold it twice.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import NodeProto

from zoo.convert.passes.view import View, attribute, known

Change = Callable[[np.ndarray], np.ndarray]

LAYOUT = frozenset({"Reshape", "Squeeze", "Transpose", "Unsqueeze"})


def fold_layout(view: View) -> bool:
    """Fold the first such node; return whether there was one."""
    for node in view.graph.node:
        if node.op_type not in LAYOUT or node.output[0] in view.outputs:
            continue
        weight = view.large_weight(node.input[0])
        dims = view.shapes.get(node.output[0])
        if weight is None or not known(dims) or view.only_reader(weight.name) is not node:
            continue
        if int(np.prod(dims)) != int(np.prod(weight.dims)):
            continue
        name = view.add_large(weight, dims, "laid_out", _change(node, tuple(dims)))
        for reader in view.readers.get(node.output[0], []):
            reader.input[:] = [name if n == node.output[0] else n for n in reader.input]
        view.graph.node.remove(node)
        return True
    return False


def _change(node: NodeProto, dims: tuple[int, ...]) -> Change:
    """Return what a node does, as numpy does it: to the dimensions that were inferred."""
    if node.op_type == "Transpose":
        perm = attribute(node, "perm")
        return lambda array: array.transpose(perm)
    return lambda array: array.reshape(dims)
