"""Adds the missing `group` attribute to grouped convolutions.

tf2onnx 1.17 writes the attribute for two dimensions and forgets it for others. Right because ONNX
wants the weight [outputs, inputs / group, ...]: where it has fewer input channels than the data, a
whole fraction of them, no other number of groups makes a valid graph, and TensorFlow orders the
outputs by group as ONNX does.
"""

from __future__ import annotations

from onnx import helper

from zoo.convert.passes.view import View, attribute


def set_groups(view: View) -> bool:
    """Add the missing attribute wherever it is; return whether it was missing."""
    changed = False
    for node in view.graph.node:
        if node.op_type != "Conv":
            continue
        data = view.shapes.get(node.input[0]) or ()
        weight = view.shapes.get(node.input[1]) or ()
        if len(data) < 3 or len(weight) != len(data):
            continue
        channels, per_group = data[1], weight[1]
        if not isinstance(channels, int) or not isinstance(per_group, int) or not per_group:
            continue
        if attribute(node, "group", 1) != 1 or channels == per_group or channels % per_group:
            continue
        kept = [item for item in node.attribute if item.name != "group"]
        del node.attribute[:]
        node.attribute.extend(kept)
        node.attribute.append(helper.make_attribute("group", channels // per_group))
        changed = True
    return changed
