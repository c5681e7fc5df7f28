"""Writes what TensorFlow does to text by ONNX's operators on strings, which there are since opset 20.

    StringLower        ASCII letters to small ones: StringNormalizer, of a locale that has no others
    StringReplace      each of some strings by another: StringSplit there, and StringConcat in a Loop
    StringWords        the words of each row, side by side, "" where a row has fewer: StringSplit at
                       spaces, and what is empty sorted behind

They stand as operators of a private domain until the graph is of opset 20, since tf2onnx writes
older ones. An ASCII character is no part of another one in UTF-8, so that what is split there is
exact of any text. Where StringSplit splits without a delimiter is left to the runtime, and so is
not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from zoo.convert.recurrent import DOMAIN

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: The first operator set with StringSplit and StringConcat.
TEXT_OPSET = 20

LOWER, REPLACE, WORDS = "StringLower", "StringReplace", "StringWords"

#: What TensorFlow splits at, each as often as it comes: C's isspace.
SPACES = " \t\n\v\f\r"


def has_text(model: ModelProto) -> bool:
    """Whether a graph has operators that `expand_text` replaces."""
    return any(node.domain == DOMAIN and node.op_type in EXPANSIONS for node in model.graph.node)


def state_types(model: ModelProto) -> None:
    """Say by a Cast that the private operators give strings, and what follows has its type.

    onnx's shape inference ends the process at a LabelEncoder of an unknown type.
    """
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        casts = []
        if node.domain == DOMAIN and node.op_type in EXPANSIONS:
            output, node.output[0] = node.output[0], f"{node.output[0]}_untyped"
            casts = [helper.make_node("Cast", node.output, [output], to=TensorProto.STRING)]
        model.graph.node.extend([node, *casts])


def expand_text(model: ModelProto) -> None:
    """Replace the private operators on text by ONNX's. The graph must be of opset 20 or newer."""
    nodes = list(model.graph.node)
    del model.graph.node[:]
    results: dict[str, str] = {}
    for position, node in enumerate(nodes):
        node.input[:] = [results.get(name, name) for name in node.input]
        if node.op_type == "Cast" and node.input[0] in results.values() and _to_text(node):
            # What `state_types` put there; a name stays where the graph ends with it.
            results[node.output[0]] = node.input[0]
            if any(value.name == node.output[0] for value in model.graph.output):
                model.graph.node.append(helper.make_node("Identity", node.input, node.output))
            continue
        expansion = EXPANSIONS.get(node.op_type) if node.domain == DOMAIN else None
        if expansion is None:
            model.graph.node.append(node)
            continue
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        builder = _Builder(model.graph, f"text_{position}")
        results[node.output[0]] = expansion(builder, node.input[0], attributes)


def _to_text(cast: NodeProto) -> bool:
    return [a.i for a in cast.attribute if a.name == "to"] == [TensorProto.STRING]


class _Builder:
    """Adds nodes and constants to a graph, under names that begin alike."""

    def __init__(self, graph: GraphProto, stem: str) -> None:
        self._graph, self._stem, self._count = graph, stem, 0

    def name(self) -> str:
        """Return a new name."""
        self._count += 1
        return f"{self._stem}_{self._count}"

    def constant(self, value: ArrayLike) -> str:
        """Add a constant of int64, or of strings."""
        array = np.asarray(value)
        array = array.astype(object) if array.dtype.kind in "OU" else array.astype(np.int64)
        tensor = numpy_helper.from_array(array, self.name())
        self._graph.initializer.append(tensor)
        return str(tensor.name)

    def add(self, kind: str, inputs: list[str], domain: str = "", **attributes: Any) -> str:
        """Add a node; return the name of its first output."""
        output = self.name()
        outputs = [output, self.name()] if kind in ("StringSplit", "TopK") else [output]
        node = helper.make_node(kind, inputs, outputs, domain=domain, **attributes)
        self._graph.node.append(node)
        return output

    def second(self, output: str) -> str:
        """Return the second output of the node that was added last."""
        node: NodeProto = self._graph.node[-1]
        assert node.output[0] == output
        return str(node.output[1])


def _lower(build: _Builder, text: str, _: object) -> str:
    """The operator takes one dimension, and at least one element: one more is added, and left out."""
    rows = build.add("Reshape", [text, build.constant([-1])])
    padded = build.add("Concat", [rows, build.constant([""])], axis=0)
    lower = build.add(
        "StringNormalizer", [padded], case_change_action="LOWER", is_case_sensitive=1, locale="C"
    )
    kept = build.add("Slice", [lower, build.constant([0]), build.constant([-1])])
    return build.add("Reshape", [kept, build.add("Shape", [text])])


def _replace(build: _Builder, text: str, attributes: dict[str, Any]) -> str:
    """One string after the other, each by what comes between its parts."""
    new = attributes["new"].decode()
    for old in attributes["old"]:
        text = _replace_one(build, text, old.decode(), new)
    return text


def _replace_one(build: _Builder, text: str, old: str, new: str) -> str:
    """Join the parts between what is found; rows with fewer parts have empty ones behind."""
    parts = build.add("StringSplit", [text], delimiter=old)
    counts = build.second(parts)
    sizes = build.add("Shape", [parts])
    most = build.add(
        "Squeeze", [build.add("Slice", [sizes, *map(build.constant, ([-1], [2**62]))])]
    )
    nothing = build.add("Expand", [build.constant([""]), build.add("Shape", [text])])
    names = {key: build.name() for key in ("i", "go", "before", "goes", "part", "after")}
    nodes = [
        helper.make_node("Identity", [names["go"]], [names["goes"]]),
        helper.make_node("Gather", [parts, names["i"]], [names["part"]], axis=-1),
    ]
    joined = names["part"]
    if new:
        more, behind, joined, following = (build.name() for _ in range(4))
        nodes += [
            helper.make_node("Add", [names["i"], build.constant(1)], [following]),
            helper.make_node("Less", [following, counts], [more]),
            helper.make_node(
                "Where", [more, build.constant([new]), build.constant([""])], [behind]
            ),
            helper.make_node("StringConcat", [names["part"], behind], [joined]),
        ]
    nodes.append(helper.make_node("StringConcat", [names["before"], joined], [names["after"]]))
    body = helper.make_graph(
        nodes,
        "join",
        [
            helper.make_tensor_value_info(names["i"], TensorProto.INT64, []),
            helper.make_tensor_value_info(names["go"], TensorProto.BOOL, []),
            helper.make_tensor_value_info(names["before"], TensorProto.STRING, None),
        ],
        [
            helper.make_tensor_value_info(names["goes"], TensorProto.BOOL, []),
            helper.make_tensor_value_info(names["after"], TensorProto.STRING, None),
        ],
    )
    return build.add("Loop", [most, "", nothing], body=body)


def _words(build: _Builder, text: str, _: object) -> str:
    """[rows] -> [rows, the most words of a row]"""
    for space in SPACES[1:]:
        text = _replace_one(build, text, space, SPACES[0])
    parts = build.add("StringSplit", [text], delimiter=SPACES[0])
    there = build.add(
        "LabelEncoder", [parts], domain="ai.onnx.ml",
        keys_strings=[""], values_int64s=[0], default_int64=1,
    )  # fmt: skip
    last = build.constant([-1])
    counts = build.add("ReduceSum", [there, last], keepdims=0)
    # One more, since the most of nothing is nothing.
    most = build.add("ReduceMax", [build.add("Concat", [counts, build.constant([0])], axis=0)])
    width = build.add("Reshape", [most, build.constant([1])])
    # Words come first, in their order: what is there counts down from the number of parts.
    size = build.add("Slice", [build.add("Shape", [parts]), last, build.constant([2**62])])
    zero, one = build.constant(0), build.constant(1)
    places = build.add("Range", [zero, build.add("Squeeze", [size]), one])
    order = build.add("Sub", [build.add("Mul", [there, size]), places])
    chosen = build.second(build.add("TopK", [order, width]))
    return build.add("GatherElements", [parts, chosen], axis=-1)


EXPANSIONS = {LOWER: _lower, REPLACE: _replace, WORDS: _words}
