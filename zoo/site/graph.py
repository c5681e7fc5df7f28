"""A published graph as the gallery shows it: every tensor an output, and a description in plain values.

taps       the same graph with every tensor and weight as an output, so that a page can look inside
describe   nodes, attributes, and which Keras layer each computes
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import onnx
from onnx import ModelProto, NodeProto

#: Which Keras layers an operator comes from.
LAYERS: Mapping[str, tuple[str, ...]] = {
    "Conv": ("Conv2D",),
    "MaxPool": ("MaxPooling2D",),
    "GlobalAveragePool": ("GlobalAveragePooling2D",),
    "Gemm": ("Dense",),
    "MatMul": ("Dense",),
    "LSTM": ("LSTM", "Bidirectional"),
    "GRU": ("GRU", "Bidirectional"),
}

#: Operators that have outputs for every step, the last hidden state and the last cell state.
RECURRENT: Mapping[str, int] = {"LSTM": 3, "GRU": 2, "RNN": 2}


def taps(model: ModelProto) -> ModelProto:
    """Return a copy whose outputs are the model's own, then every other tensor, then the weights.

    Outputs that a recurrent operator leaves out are named `NODE_all`, `NODE_last`, `NODE_cell`.
    """
    tapped = ModelProto()
    tapped.CopyFrom(model)
    for node in tapped.graph.node:
        _name_outputs(node)
    shown = {value.name for value in tapped.graph.output}
    inferred = {
        value.name: value for value in onnx.shape_inference.infer_shapes(tapped).graph.value_info
    }
    for node in tapped.graph.node:
        for name in node.output:
            if name and name not in shown:
                tapped.graph.output.append(inferred.get(name, onnx.ValueInfoProto(name=name)))
                shown.add(name)
    for weight in tapped.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT and weight.name not in shown:
            tapped.graph.output.append(
                onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
            )
    return tapped


def describe(tapped: ModelProto, layers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the nodes of `taps`'s graph in order: operator, tensors, attributes, Keras layer."""
    waiting: defaultdict[str, list[str]] = defaultdict(list)
    for layer in layers:
        waiting[layer["type"]].append(layer["name"])
    weights = {weight.name for weight in tapped.graph.initializer}
    return [
        {
            "op": node.op_type,
            "inputs": [name for name in node.input if name not in weights],
            "weights": [name for name in node.input if name in weights],
            "outputs": list(node.output),
            "attributes": _attributes(node),
            "layer": _layer(waiting, node, weights),
        }
        for node in tapped.graph.node
    ]


def _name_outputs(node: NodeProto) -> None:
    names = ("all", "last", "cell")[: RECURRENT.get(node.op_type, 0)]
    outputs = [*node.output, *[""] * (len(names) - len(node.output))]
    if names:
        del node.output[:]
        node.output.extend(
            name or f"{node.name}_{end}" for name, end in zip(outputs, names, strict=True)
        )


def _attributes(node: NodeProto) -> dict[str, Any]:
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {
        name: value.decode() if isinstance(value, bytes) else _plain(value)
        for name, value in values.items()
        if isinstance(value, bytes | int | float) or _is_list(value)
    }


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and all(isinstance(each, int | float) for each in value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, Iterable) else value


def _layer(waiting: Mapping[str, list[str]], node: NodeProto, weights: set[str]) -> str | None:
    """Return the next Keras layer of the node's kind; a product of two tensors is none."""
    if node.op_type == "MatMul" and not weights & set(node.input):
        return None
    for kind in LAYERS.get(node.op_type, ()):
        if waiting[kind]:
            return waiting[kind].pop(0)
    return None
