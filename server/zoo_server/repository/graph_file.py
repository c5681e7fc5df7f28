"""What a graph's operators say of its runs, and guards for those that end the process.

    file ──> nodes ──one walk──> GraphTraits: may its inputs be empty? does its data decide its time?
                        └──────> the graph with guards, where an inner tensor may become empty

onnxruntime ends the process, by SIGABRT or SIGFPE, where some operators get a tensor without elements
(tests/server/backends/operator_cases.py finds them; _ENDS_ON_EMPTY lists them). A request without
elements is refused for such a graph. A tensor inside of it that may become empty, because a pool or a
slice left nothing of a short input, is guarded by

    x ──> Shape ──> Max(…, 1) ──> Reshape(x)

which gives x itself, without a copy, and fails where x is empty.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo_proto import onnx_graph_pb2 as pb
from zoo_proto.onnx_tensor_pb2 import TensorProto
from zoo_server.datatypes import by_wire
from zoo_server.model_config import GraphTraits
from zoo_server.repository.graph_bytes import read_model

#: The operators that end the process on empty tensors, and the inputs that must not be empty; an
#: empty tuple stands for all.
_ENDS_ON_EMPTY: dict[str, tuple[int, ...]] = {
    "GRU": (0, 1, 2),
    "LSTM": (0, 1, 2),
    "Unique": (0,),
    "Einsum": (),
    "Conv": (1,),
    "ConvTranspose": (1,),
}

#: What the data decides the size of, or how often something is run.
_OPEN_ENDED = frozenset(
    {
        "Compress", "Loop", "NonMaxSuppression", "NonZero", "RegexFullMatch", "Scan",
        "SequenceMap", "StringSplit", "Unique",
    }
)  # fmt: skip

#: The inputs whose values decide how large an output is, or which of two graphs is run.
_SIZES: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,), "BlackmanWindow": (0,), "CenterCropPad": (1,), "Col2Im": (1, 2),
    "ConstantOfShape": (0,), "DFT": (1,), "Expand": (1,), "HammingWindow": (0,), "HannWindow": (0,), "If": (0,),
    "MelWeightMatrix": (0, 1), "OneHot": (1,), "Pad": (1,), "Range": (0, 1, 2), "Resize": (1, 2, 3),
    "RoiAlign": (1,), "STFT": (1, 3), "Slice": (1, 2, 3, 4), "Tile": (1,), "TopK": (1,),
    "Upsample": (1,),
}  # fmt: skip

#: Their outputs have elements if all of their inputs have: what is not listed may leave none.
_KEEPS_ELEMENTS = frozenset(
    {
        "Abs", "Add", "And", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Constant",
        "DepthToSpace", "DequantizeLinear", "Div", "Dropout", "DynamicQuantizeLinear", "Elu", "Equal",
        "Erf", "Exp", "Flatten", "Floor", "GRU", "Gather", "Gelu", "Gemm", "GlobalAveragePool",
        "GlobalMaxPool", "Greater", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization",
        "LSTM", "LayerNormalization", "LeakyRelu", "Less", "Log", "LogSoftmax", "MatMul", "Max",
        "Mean", "Min", "Mish", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "QuantizeLinear", "RNN",
        "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu",
        "Reshape", "ReverseSequence", "Round", "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Cos",
        "Softmax", "Softplus", "Softsign", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose",
        "Unsqueeze", "Where",
    }
)  # fmt: skip

#: The integers of which the least divided by -1 ends the process (SIGFPE).
_DIVISIBLE = frozenset(by_wire(name).onnx_enum for name in ("INT32", "INT64"))

#: Their first output is of another type than their first input.
_CHANGES_TYPE = frozenset(
    {
        "And", "DequantizeLinear", "DynamicQuantizeLinear", "Equal", "EyeLike", "Greater",
        "GreaterOrEqual", "If", "Less", "LessOrEqual", "Loop", "Not", "OneHot", "Or", "QuantizeLinear",
        "Scan", "Xor",
    }
)  # fmt: skip

#: Their first output holds int64 whatever they get.
_GIVES_INT64 = frozenset({"ArgMax", "ArgMin", "NonMaxSuppression", "NonZero", "Shape", "Size"})

#: Begins the names of the nodes that guard; what follows names the operator.
GUARD = "layer_zoo_guard:"

#: From this opset on Max takes int64; graphs of older ones are not guarded.
_GUARD_OPSET = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFile:
    """A file's traits, and its bytes with guards; None where it needs none."""

    traits: GraphTraits
    guarded: bytes | None = None


def read_graph(path: Path) -> GraphFile:
    """Read what a file's operators say; of one that is no ONNX graph nothing, as the runtime says why.

    OSError if the file cannot be read.
    """
    model = read_model(path)
    if model is None:
        return GraphFile(traits=GraphTraits())
    walk = _Walk(model)
    guarded = None
    if walk.guards:
        whole = pb.ModelProto.FromString(path.read_bytes())
        _Walk(whole)
        guarded = whole.SerializeToString()
    return GraphFile(
        traits=GraphTraits(
            ends_on_empty=walk.ends_on_empty,
            ends_on_data=walk.ends_on_data,
            open_ended=walk.open_ended,
        ),
        guarded=guarded,
    )


class _Walk:
    """One walk over the nodes of a model, which are sorted; it adds the guards."""

    def __init__(self, model: pb.ModelProto) -> None:
        self.ends_on_empty = ""
        self.ends_on_data = ""
        #: What holds integers that may end a division.
        self._integers: set[str] = set()
        self.open_ended = ""
        self.guards = 0
        self._can_guard = any(
            each.domain in ("", "ai.onnx") and each.version >= _GUARD_OPSET
            for each in model.opset_import
        )
        for node in (node for function in model.functions for node in function.node):
            # What a function gets is not known here: the worst is taken.
            self._note(node, open_ended=node.op_type in _SIZES)
        self._graph(model.graph, {value.name for value in model.graph.input}, set())

    def _graph(self, graph: pb.GraphProto, filled: set[str], decided: set[str]) -> None:
        """Walk a graph; `filled` surely have elements, `decided` do not depend on the data."""
        inputs = {value.name for value in graph.input}
        filled = filled | {each.name for each in graph.initializer if 0 not in each.dims}
        decided = decided | {each.name for each in graph.initializer} - inputs
        self._integers |= {
            value.name
            for value in (*graph.input, *graph.value_info)
            if value.type.tensor_type.elem_type in _DIVISIBLE
        } | {each.name for each in graph.initializer if each.data_type in _DIVISIBLE}
        one = f"{GUARD}one:{self.guards}"
        nodes: list[pb.NodeProto] = []
        for node in graph.node:
            self._note(node, open_ended=self._reads_data(node, decided))
            self._note_data(node, decided)
            if self._can_guard and node.op_type in _ENDS_ON_EMPTY and _ends(node):
                nodes += self._guard(node, filled, one)
            for attribute in node.attribute:
                for inner in (attribute.g, *attribute.graphs):
                    if inner.node:
                        self._graph(inner, filled, decided)
            if node.op_type in _KEEPS_ELEMENTS and filled.issuperset(filter(None, node.input)):
                filled.update(node.output)
            if node.op_type in ("Shape", "Size") or decided.issuperset(filter(None, node.input)):
                decided.update(node.output)
            nodes.append(node)
        if len(nodes) > len(graph.node):
            graph.initializer.append(_constant_one(one))
            copies = [pb.NodeProto.FromString(node.SerializeToString()) for node in nodes]
            del graph.node[:]
            graph.node.extend(copies)

    def _note(self, node: pb.NodeProto, *, open_ended: bool) -> None:
        operator = node.op_type
        if operator in _ENDS_ON_EMPTY and _ends(node):
            self.ends_on_empty = self.ends_on_empty or operator
        if open_ended or operator in _OPEN_ENDED:
            self.open_ended = self.open_ended or operator

    def _note_data(self, node: pb.NodeProto, decided: set[str]) -> None:
        """Note a node that some data ends the process with; a constant divisor is taken not to be -1."""
        if node.op_type == "Div":
            free = not any(name in decided for name in node.input)
            ends = free and any(name in self._integers for name in node.input)
        else:
            ends = node.op_type == "STFT" and any(name not in decided for name in _at(node, (3,)))
        if ends and not self.ends_on_data:
            kind = "a division of integers" if node.op_type == "Div" else "STFT"
            self.ends_on_data = f"node '{node.name or node.output[0]}' ({kind})"
        if node.output and self._gives_integers(node):
            self._integers.add(node.output[0])

    def _gives_integers(self, node: pb.NodeProto) -> bool:
        if node.op_type in _GIVES_INT64:
            return True
        if node.op_type == "Cast":
            return any(each.name == "to" and each.i in _DIVISIBLE for each in node.attribute)
        first = _at(node, (1,) if node.op_type == "Where" else (0,))
        return node.op_type not in _CHANGES_TYPE and any(name in self._integers for name in first)

    def _reads_data(self, node: pb.NodeProto, decided: set[str]) -> bool:
        """Tell whether the data decides how large an output is, or which branch is run."""
        return any(name not in decided for name in _at(node, _SIZES.get(node.op_type, ())))

    def _guard(self, node: pb.NodeProto, filled: set[str], one: str) -> list[pb.NodeProto]:
        """Let a node read guarded tensors in the place of those that may be empty."""
        added: list[pb.NodeProto] = []
        places = _ENDS_ON_EMPTY[node.op_type] or tuple(range(len(node.input)))
        for place in places:
            if place >= len(node.input) or not node.input[place] or node.input[place] in filled:
                continue
            name = f"{GUARD}{node.op_type}:{self.guards}"
            self.guards += 1
            added += _guard_nodes(name, node.input[place], one)
            node.input[place] = name
        return added


def _ends(node: pb.NodeProto) -> bool:
    """Tell whether this one may end the process: Unique only along an axis."""
    return node.op_type != "Unique" or any(each.name == "axis" for each in node.attribute)


def _at(node: pb.NodeProto, places: Iterable[int]) -> Sequence[str]:
    inputs = node.input
    return [inputs[place] for place in places if place < len(inputs) and inputs[place]]


def _guard_nodes(name: str, guarded: str, one: str) -> list[pb.NodeProto]:
    shape, least = f"{name}:shape", f"{name}:least"
    return [
        pb.NodeProto(op_type="Shape", input=[guarded], output=[shape]),
        pb.NodeProto(op_type="Max", input=[shape, one], output=[least]),
        pb.NodeProto(op_type="Reshape", name=name, input=[guarded, least], output=[name]),
    ]


def _constant_one(name: str) -> pb.TensorProto:
    int64 = by_wire("INT64").onnx_enum
    tensor = TensorProto(name=name, dims=[1], data_type=int64, int64_data=[1])
    return pb.TensorProto.FromString(tensor.SerializeToString())
