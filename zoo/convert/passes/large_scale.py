"""Folds a BatchNormalization behind a convolution into its kernel, where that is a large weight.

At inference it is a factor and a summand for each channel. TensorFlow's optimizer folds them into kernels
that are constants, and large ones are not there. Right because a convolution is linear in its kernel:

    Add(Mul(Conv(x, W, b), c), d)  ->  Conv(x, W * c, b * c + d)

if c and d have one number a channel or one for all, and nothing else reads what lies between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto, TensorProto

from zoo.convert.passes.view import View


def fold_scale(view: View) -> bool:
    """Fold the first Mul or Add behind such a convolution; return whether there was one."""
    for conv in view.graph.node:
        weight = view.large_weight(conv.input[1]) if conv.op_type == "Conv" else None
        reader = None if weight is None else view.only_reader(conv.output[0])
        if weight is None or reader is None or reader.op_type not in ("Mul", "Add"):
            continue
        numbers = _by_channel(view, reader, conv.output[0], weight.dims)
        bias = view.constant(conv.input[2]) if len(conv.input) > 2 else None
        if numbers is None or (bias is None and len(conv.input) > 2):
            continue
        if reader.op_type == "Mul":
            if view.only_reader(weight.name) is not conv:
                continue
            conv.input[1] = view.add_large(weight, weight.dims, "scaled", _times(numbers, weight))
            shifted = None if bias is None else bias * numbers
        else:
            shifted = numbers if bias is None else bias + numbers
        if shifted is not None:
            conv.input[2:] = [view.add_constant(shifted, "shifted")]
        conv.output[0] = reader.output[0]
        view.graph.node.remove(reader)
        return True
    return False


def _by_channel(
    view: View, node: NodeProto, value: str, kernel: Sequence[int]
) -> np.ndarray | None:
    """Return the constant that a node combines a value with, one number for each channel."""
    if list(node.input).count(value) != 1:
        return None
    constant = view.constant(next(name for name in node.input if name != value))
    if constant is None or constant.dtype != np.float32:
        return None
    channels, rank = kernel[0], len(kernel)
    if constant.ndim > rank:
        return None
    dims = (1,) * (rank - constant.ndim) + constant.shape
    if dims not in ((1, channels) + (1,) * (rank - 2), (1,) * rank):
        return None
    return np.broadcast_to(constant.reshape(-1), (channels,))


def _times(numbers: np.ndarray, weight: TensorProto) -> Callable[[np.ndarray], np.ndarray]:
    factors = numbers.reshape(-1, *[1] * (len(weight.dims) - 1))
    return lambda array: array * factors
