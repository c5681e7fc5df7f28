"""Removes additions of 0 and multiplications by 1.

Keras's Rescaling adds its offset even where it is 0. Right where the constant is exactly 0 (or 1)
throughout and does not widen the other side: it is a scalar or has one element and no more
dimensions, or the result has the other side's inferred shape. The one difference is the sign of a
zero: -0 + 0 is 0. Cast and Identity to what a value is already do nothing either.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from zoo.convert.passes.view import View

#: Operator -> (neutral value, whether it may stand on the left).
NEUTRAL = {"Add": (0, True), "Sub": (0, False), "Mul": (1, True), "Div": (1, False)}


def drop_neutral(view: View) -> bool:
    """Remove the first such node; return whether there was one."""
    for node in view.graph.node:
        if node.op_type == "Identity" and view.bypass(node, node.input[0]):
            return True
        if node.op_type not in NEUTRAL:
            continue
        value, commutes = NEUTRAL[node.op_type]
        for side in (1, 0) if commutes else (1,):
            constant = view.constant(node.input[side])
            other = node.input[1 - side]
            if constant is None or constant.size == 0 or not np.all(constant == value):
                continue
            if _keeps_shape(view, node, other, constant) and view.bypass(node, other):
                return True
    return False


def _keeps_shape(view: View, node: NodeProto, other: str, constant: np.ndarray) -> bool:
    shape = view.shapes.get(other)
    if shape is None:
        return constant.ndim == 0
    if constant.size == 1 and constant.ndim <= len(shape):
        return True
    result = view.shapes.get(node.output[0])
    return None not in shape and shape == result
