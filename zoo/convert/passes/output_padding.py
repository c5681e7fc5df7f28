"""Turns the negative padding of a transposed convolution into output_padding.

For Keras's `output_padding` tf2onnx 1.17 writes negative pads, which ONNX forbids. Right because
ConvTranspose-11 computes

    output = stride * (input - 1) + output_padding + (kernel - 1) * dilation + 1 - begin - end

so that what an end takes off below nothing is what output_padding adds, at the same end; no input
reaches those places, and they hold the bias alone in TensorFlow too. A negative beginning would
shift the rest, and is left for the checker to refuse, as is what is not below the stride.
"""

from __future__ import annotations

from onnx import NodeProto, helper

from zoo.convert.passes.view import View, attribute


def negative_pads_to_output_padding(view: View) -> bool:
    """Rewrite every such ConvTranspose; return whether there was one."""
    changed = False
    for node in view.graph.node:
        if node.op_type == "ConvTranspose" and not node.domain:
            changed |= _rewrite(node)
    return changed


def _rewrite(node: NodeProto) -> bool:
    pads = list(attribute(node, "pads", []))
    rank = len(pads) // 2
    begins, ends = pads[:rank], pads[rank:]
    if not any(end < 0 for end in ends) or any(begin < 0 for begin in begins):
        return False
    added = list(attribute(node, "output_padding", [0] * rank))
    added = [more - min(end, 0) for more, end in zip(added, ends, strict=True)]
    strides = list(attribute(node, "strides", [1] * rank))
    if any(more >= stride for more, stride in zip(added, strides, strict=True) if more):
        return False
    kept = [item for item in node.attribute if item.name not in ("pads", "output_padding")]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.append(helper.make_attribute("output_padding", added))
    node.attribute.append(helper.make_attribute("pads", begins + [max(end, 0) for end in ends]))
    return True
