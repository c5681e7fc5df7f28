"""Replaces tokens by ONNX's LSTM, GRU and RNN.

    last step        Transpose -> op -> Squeeze(Y_h)                       3 nodes
    every step       Transpose -> op -> Squeeze(Y) -> Transpose            4 nodes
    bidirectional    Transpose -> op -> Transpose -> Reshape               4 nodes (concat)
                     Transpose -> op -> Gather, Gather                     4 nodes (not merged)

Y is [time, directions, batch, units] and Y_h [directions, batch, units]; a reverse direction's Y
is in the time order of the input, where Keras's go_backwards gives the last step first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
)

from zoo.convert.recurrent import DOMAIN, PLACEHOLDER
from zoo.convert.recurrent.plan import ACTIVATIONS, Plan, stacked_weights

DEFAULTS = {
    "LSTM": ("sigmoid", "tanh", "tanh"),
    "GRU": ("sigmoid", "tanh"),
    "RNN": ("tanh",),
}

#: The reductions that join two directions, and from which opset on their axes are an input.
REDUCTIONS = {"sum": ("ReduceSum", 13), "ave": ("ReduceMean", 18), "mul": ("ReduceProd", 18)}

INT64_MIN = np.iinfo(np.int64).min


def expand(
    model: ModelProto, plans: Mapping[str, object], writer: type[Writer] | None = None
) -> None:
    """Replace every placeholder by the nodes of its plan, in nested graphs too."""
    (opset,) = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    _expand_graph(model.graph, plans, opset, writer or Operators)


def _expand_graph(
    graph: GraphProto, plans: Mapping[str, object], opset: int, writer: type[Writer]
) -> None:
    nodes: list[NodeProto] = []
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _expand_graph(attribute.g, plans, opset, writer)
        if (node.domain, node.op_type) != (DOMAIN, PLACEHOLDER):
            nodes.append(node)
            continue
        token = helper.get_node_attr_value(node, "token").decode()
        written = writer(node, opset)
        plan = plans[token]
        assert isinstance(plan, Plan)  # what else a token may stand for has no placeholder
        written.write(plan)
        nodes.extend(written.nodes)
        graph.initializer.extend(written.weights)
    del graph.node[:]
    graph.node.extend(nodes)


class Writer(ABC):
    """Collects the nodes and weights that stand for one placeholder."""

    def __init__(self, node: NodeProto, opset: int) -> None:
        self.prefix = node.name or node.output[0]
        self.inputs = list(node.input)
        self.outputs = list(node.output)
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    @abstractmethod
    def write(self, plan: Plan) -> None:
        """Write the plan's nodes."""

    def node(
        self, kind: str, inputs: list[str], outputs: list[str] | int = 1, **attributes: object
    ) -> str:
        """Add a node and return its first output, named afresh unless names are given."""
        number = len(self.nodes)
        if isinstance(outputs, int):
            outputs = [f"{self.prefix}/{kind}_{number}_{i}" for i in range(outputs)]
        node = helper.make_node(kind, inputs, outputs, f"{self.prefix}/{kind}_{number}")
        # Sorted later; made by hand since make_node drops attributes that are None silently.
        node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
        self.nodes.append(node)
        return next(name for name in outputs if name)

    def weight(self, array: np.ndarray) -> str:
        """Add an initializer and return its name."""
        name = f"{self.prefix}/weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def integers(self, *values: int) -> str:
        """Add a one-dimensional int64 initializer."""
        return self.weight(np.array(values, np.int64))


class Operators(Writer):
    """Writes the recurrent operators themselves."""

    def write(self, plan: Plan) -> None:
        """Write Transpose, the operator, and what brings its answer into Keras's layout."""
        x = self.node("Transpose", [self.inputs[0]], perm=[1, 0, 2])
        y = f"{self.prefix}/Y" if plan.sequences else ""
        h = f"{self.prefix}/Y_h" if plan.states or not plan.sequences else ""
        c = f"{self.prefix}/Y_c" if plan.states and plan.kind == "LSTM" else ""
        outputs = [y, h, c]
        while not outputs[-1]:
            outputs.pop()
        self.node(plan.kind, self._operator_inputs(plan, x), outputs, **_attributes(plan))
        if plan.sequences:
            self._sequence(plan, y)
        else:
            self._last(plan, h)
        states = self.outputs[plan.answers :]
        if len(plan.directions) == 1:
            for name, output in zip([h, c], states, strict=False):
                self.node("Squeeze", [name, self.integers(0)], [output])
        elif states:
            kept = [h, c][: len(plan.state_keys)]
            for i, output in enumerate(states):
                direction, key = divmod(i, len(kept))
                self._direction(kept[key], 0, direction, [output])

    def _operator_inputs(self, plan: Plan, x: str) -> list[str]:
        w, r, b = stacked_weights(plan)
        inputs = [x, self.weight(w), self.weight(r), self.weight(b) if b is not None else ""]
        inputs += [""]  # sequence_lens: every row has the full length
        if plan.initial:
            states = [self.node("Unsqueeze", [s, self.integers(0)]) for s in self.inputs[1:]]
            if len(plan.directions) == 2:
                pairs = zip(states, states[len(plan.state_keys) :], strict=False)
                states = [self.node("Concat", list(pair), axis=0) for pair in pairs]
            inputs += states
        while not inputs[-1]:
            inputs.pop()
        return inputs

    def _last(self, plan: Plan, h: str) -> None:
        """Y_h [directions, batch, units] -> [batch, units]."""
        output = self.outputs[0]
        if len(plan.directions) == 1:
            self.node("Squeeze", [h, self.integers(0)], [output])
        elif plan.merge == "concat":
            moved = self.node("Transpose", [h], perm=[1, 0, 2])
            self.node("Reshape", [moved, self.integers(-1, 2 * plan.units)], [output])
        elif plan.merge:
            self._reduce(plan, h, 0, [output])
        else:
            for direction, output in enumerate(self.outputs[: plan.answers]):
                self._direction(h, 0, direction, [output])

    def _sequence(self, plan: Plan, y: str) -> None:
        """Y [time, directions, batch, units] -> [batch, time, units]."""
        output = self.outputs[0]
        if plan.merge == "concat":
            moved = self.node("Transpose", [y], perm=[2, 0, 1, 3])
            self.node("Reshape", [moved, self.integers(0, 0, 2 * plan.units)], [output])
            return
        if plan.answers == 2:
            for direction, output in enumerate(self.outputs[:2]):
                one = self._direction(y, 1, direction, 1)
                self.node("Transpose", [one], [output], perm=[1, 0, 2])
            return
        if len(plan.directions) == 1:
            joined = self.node("Squeeze", [y, self.integers(1)])
        else:
            joined = self._reduce(plan, y, 1, 1)
        if plan.backwards:
            # From the end (-1) to before the beginning, by -1: Keras keeps the order of running.
            joined = self.node(
                "Slice",
                [joined, *(self.integers(i) for i in (-1, INT64_MIN, 0, -1))],
            )
        self.node("Transpose", [joined], [output], perm=[1, 0, 2])

    def _direction(self, value: str, axis: int, index: int, outputs: list[str] | int) -> str:
        """Take one direction, whose axis goes away."""
        scalar = self.weight(np.array(index, np.int64))
        return self.node("Gather", [value, scalar], outputs, axis=axis)

    def _reduce(self, plan: Plan, value: str, axis: int, outputs: list[str] | int) -> str:
        """Join the two directions by Keras's merge_mode."""
        kind, axes_are_input_from = REDUCTIONS[plan.merge]
        if self.opset >= axes_are_input_from:
            return self.node(kind, [value, self.integers(axis)], outputs, keepdims=0)
        return self.node(kind, [value], outputs, keepdims=0, axes=[axis])


def _attributes(plan: Plan) -> dict[str, object]:
    """Return the operator's attributes; defaults are left out."""
    attributes: dict[str, object] = {"hidden_size": plan.units}
    if len(plan.directions) == 2:
        attributes["direction"] = "bidirectional"
    elif plan.backwards:
        attributes["direction"] = "reverse"
    names = [name for d in plan.directions for name in d.activations]
    if tuple(names) != DEFAULTS[plan.kind] * len(plan.directions):
        rows = [ACTIVATIONS[name] for name in names]
        attributes["activations"] = [row[0] for row in rows]
        alphas = [row[1] for row in rows if row[1] is not None]
        betas = [row[2] for row in rows if row[2] is not None]
        # ONNX hands these out in order, to those functions alone that take one.
        if alphas:
            attributes["activation_alpha"] = alphas
        if betas:
            attributes["activation_beta"] = betas
    if plan.kind == "GRU" and plan.reset_after:
        attributes["linear_before_reset"] = 1
    return attributes
