"""Fuses MatMul and the Add of a bias into Gemm.

Right where the left factor has two dimensions (Dense on a sequence has three, and Gemm takes
matrices only), the right one is a constant matrix [k, n], the bias a constant that broadcasts from
[n], [1, n] or a scalar to [m, n], and no other node reads the product.
"""

from __future__ import annotations

import numpy as np
from onnx import helper

from zoo.convert.passes.view import View


def matmul_add_to_gemm(view: View) -> bool:
    """Rewrite the first such pair; return whether there was one."""
    for node in view.graph.node:
        if node.op_type != "MatMul" or view.rank(node.input[0]) != 2:
            continue
        weight = view.weight(node.input[1])
        add = view.only_reader(node.output[0])
        if weight is None or len(weight.dims) != 2 or add is None or add.op_type != "Add":
            continue
        bias_name = next(name for name in add.input if name != node.output[0])
        bias = view.constant(bias_name)
        width, kind = weight.dims[1], helper.tensor_dtype_to_np_dtype(weight.data_type)
        if bias is None or not _broadcasts(bias, width) or bias.dtype != kind:
            continue
        # Gemm's C of one dimension is what every runtime reads.
        flat = np.broadcast_to(bias.reshape(-1), (width,))
        if bias.shape != flat.shape:
            bias_name = view.add_constant(flat, "bias")
        inputs = [node.input[0], node.input[1], bias_name]
        gemm = helper.make_node("Gemm", inputs, list(add.output), f"{node.name}/gemm")
        position = list(view.graph.node).index(add)
        view.graph.node.insert(position, gemm)
        view.graph.node.remove(add)
        view.graph.node.remove(node)
        return True
    return False


def _broadcasts(bias: np.ndarray, width: int) -> bool:
    """Whether a bias adds to each row of [m, width] and nothing more.

    [width, 1] does not: it has the right number of elements, and adds to columns.
    """
    return bias.ndim <= 2 and bias.size in (1, width) and bias.shape[-1:] in ((), (bias.size,))
