"""Removes casts from float32 to float16 and straight back.

onnxruntime's float16 converter casts between any two nodes that it leaves in float32. Right where
the value is known to be float32, and more exact than what it replaces; another reader of the
float16 value keeps it.
"""

from __future__ import annotations

import onnx
from onnx import ModelProto, NodeProto, TensorProto

from zoo.convert.passes.dead import drop_dead
from zoo.convert.passes.view import View, attribute


def drop_round_trips(model: ModelProto) -> None:
    """Let whatever reads such a pair of casts read the value before it."""
    view = View(model)
    floats = _floats(model)
    while any(_drop(view, node, floats) for node in view.graph.node):
        view.refresh()
    drop_dead(model)


def _drop(view: View, back: NodeProto, floats: set[str]) -> bool:
    """Bypass the pair that ends in this node, if it does; return whether the graph changed."""
    half = view.producers.get(back.input[0]) if _casts_to(back, TensorProto.FLOAT) else None
    if half is None or not _casts_to(half, TensorProto.FLOAT16) or half.input[0] not in floats:
        return False
    source, output = half.input[0], back.output[0]
    if output not in view.outputs:
        return view.bypass(back, source)
    maker = view.producers.get(source)
    if maker is None or not (view.only_reader(source) and view.only_reader(half.output[0])):
        return False
    # The graph's output keeps its name, so what was cast takes it.
    maker.output[:] = [output if name == source else name for name in maker.output]
    view.graph.node.remove(half)
    view.graph.node.remove(back)
    return True


def _casts_to(node: NodeProto, kind: int) -> bool:
    return bool(node.op_type == "Cast" and attribute(node, "to") == kind)


def _floats(model: ModelProto) -> set[str]:
    """Return the names of the values that ONNX infers to be float32."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    return {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
