"""A float32 value cast to float16 and straight back to float32 is read as it was.

onnxruntime's float16 converter casts between any two nodes that it leaves in float32. Right where
the value is known to be float32, and more exact than what it replaces; another reader of the
float16 value keeps it.
"""

from __future__ import annotations

import onnx
from onnx import ModelProto, NodeProto, TensorProto

from zoo.graph.dead import drop_dead
from zoo.graph.view import View, attribute


def drop_round_trips(model: ModelProto) -> None:
    """Remove every such pair of casts, and casts of what is float32 already."""
    view = View(model)
    floats = _floats(model)
    while _drop_one(view, floats):
        view.refresh()
    drop_dead(model)


def _drop_one(view: View, floats: set[str]) -> bool:
    for node in view.graph.node:
        if not _casts_to(node, TensorProto.FLOAT):
            continue
        half = view.producers.get(node.input[0])
        if half is None or not _casts_to(half, TensorProto.FLOAT16) or half.input[0] not in floats:
            continue
        source, output = half.input[0], node.output[0]
        if output not in view.outputs:
            if view.bypass(node, source):
                return True
            continue
        maker = view.producers.get(source)
        if (
            maker is None
            or view.only_reader(source) is not half
            or not view.only_reader(half.output[0])
        ):
            continue
        # The graph's output is made directly: it keeps its name.
        maker.output[:] = [output if name == source else name for name in maker.output]
        view.graph.node.remove(half)
        view.graph.node.remove(node)
        return True
    return False


def _casts_to(node: NodeProto, kind: int) -> bool:
    return node.op_type == "Cast" and attribute(node, "to") == kind


def _floats(model: ModelProto) -> set[str]:
    """Return the names of the values that ONNX infers to be float32."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    return {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
