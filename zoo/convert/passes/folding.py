"""Constant folding: computes nodes that depend on constants alone.

Mostly what is left of shape arithmetic once its sizes are known (Keras's CenterCrop and Resizing
do it in floating point). Right because the operators listed are functions of their inputs, and the
evaluator is ONNX's own. Large results are left alone: a file should not grow.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper
from onnx.reference import ReferenceEvaluator

from zoo.convert.passes.view import SMALL, View, attribute

FOLDED = frozenset(
    [
        "Abs",
        "Add",
        "And",
        "Cast",
        "Ceil",
        "Concat",
        "Div",
        "Equal",
        "Floor",
        "Gather",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "Range",
        "Reshape",
        "Round",
        "Slice",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
)


def fold_constants(view: View) -> bool:
    """Replace every node of constant inputs by its value; return whether there was one."""
    changed = False
    for node in list(view.graph.node):
        if node.op_type not in FOLDED or node.domain or len(node.output) != 1:
            continue
        if node.output[0] in view.outputs or node.output[0] in view.read_inside:
            continue
        constants = {name: view.constant(name) for name in node.input if name}
        if any(value is None for value in constants.values()):
            continue
        value = _value(view, node, {k: v for k, v in constants.items() if v is not None})
        if value is None or value.size > SMALL:
            continue
        folded = view.add_constant(value, "folded")
        for reader in view.readers.get(node.output[0], []):
            reader.input[:] = [folded if n == node.output[0] else n for n in reader.input]
        view.graph.node.remove(node)
        changed = True
    return changed


def _value(view: View, node: NodeProto, constants: dict[str, np.ndarray]) -> np.ndarray | None:
    """Run one node in the reference evaluator; None for what it does not do, or is not to do."""
    if any(value.size > SMALL or value.dtype.kind not in "biuf" for value in constants.values()):
        return None  # words stay: numpy and ONNX read numbers in them differently
    if node.op_type in ("Div", "Mod"):
        divisor = constants[node.input[1]]
        if divisor.dtype.kind in "iu" and not divisor.all():
            return None  # integer division by zero has no value
    if node.op_type == "Cast" and attribute(node, "to") is None:
        return None
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for name, v in constants.items()
    ]
    outputs = [
        helper.make_value_info(
            node.output[0], helper.make_optional_type_proto(helper.make_tensor_type_proto(1, None))
        )
    ]
    graph = helper.make_graph([node], "one", inputs, outputs)
    one = helper.make_model(graph, opset_imports=view.model.opset_import, ir_version=8)
    try:
        (result,) = ReferenceEvaluator(one).run(None, constants)
    except Exception:  # it raises by operator; a node that stays is right as well
        return None
    value = np.asarray(result)
    return value if value.dtype.kind in "biuf" else None
