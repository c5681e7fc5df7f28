"""Small graphs of one operator each, with open sizes, for a search of what ends onnxruntime's process.

    python tests/server/backends/operator_cases.py FOLDER NAME SIZES

runs one of them once, in this process, and prints what came of it. Symbols are open dimensions; an
input's values are ones, or what `values` says, which is where data decides sizes or indexes.
"""

import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F, B, S = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.STRING
I = TensorProto.INT64  # noqa: E741 (as ones and eyes go, the letter is clear beside F, B and S)
U8, I32 = TensorProto.UINT8, TensorProto.INT32

#: Values that decide sizes and indexes: none, absurd, the least there is, and one too few.
ODD_VALUES = {"none": 0, "absurd": 2**40, "least": -(2**63), "negative": -1}

#: The most that a run may take; what wants more is to get an error.
MEMORY_BYTES = 3 << 30


@dataclass(frozen=True, kw_only=True)
class Case:
    """One graph: nodes, and inputs by name as (type, dimensions)."""

    nodes: list
    inputs: dict
    outputs: tuple = ("y",)
    constants: dict = field(default_factory=dict)
    opset: int = 18
    #: What an input holds, if not ones.
    values: dict = field(default_factory=dict)

    @property
    def symbols(self) -> list[str]:
        dims = [dim for _, shape in self.inputs.values() for dim in shape]
        return list(dict.fromkeys(dim for dim in dims if isinstance(dim, str)))

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "case",
            [helper.make_tensor_value_info(n, k, list(d)) for n, (k, d) in self.inputs.items()],
            [helper.make_empty_tensor_value_info(name) for name in self.outputs],
            [numpy_helper.from_array(np.asarray(v), name) for name, v in self.constants.items()],
        )
        imports = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)

    def feeds(self, sizes: dict[str, int]) -> dict[str, np.ndarray]:
        feeds = {}
        for name, (kind, dims) in self.inputs.items():
            shape = tuple(sizes.get(dim, dim) for dim in dims)
            dtype = object if kind == S else helper.tensor_dtype_to_np_dtype(kind)
            value = self.values.get(name, "ab" if kind == S else 1)
            feeds[name] = np.full(shape, value, dtype)
        return feeds

    def sizes(self) -> Iterator[dict[str, int]]:
        """Give ones, odd ones, each and two and all of them zero, and each large."""
        symbols = self.symbols
        yield dict.fromkeys(symbols, 1)
        yield {symbol: 2 + index for index, symbol in enumerate(symbols)}
        for count in sorted({1, 2, len(symbols)}):
            for zeros in itertools.combinations(symbols, count):
                for others in (1, 3):
                    yield {symbol: 0 if symbol in zeros else others for symbol in symbols}
        for large in symbols:
            yield {symbol: 1 << 18 if symbol == large else 1 for symbol in symbols}


def _weights(*shape: int) -> np.ndarray:
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def _node(operator: str, inputs: str, outputs: str = "y", **attributes: object) -> onnx.NodeProto:
    """Inputs and outputs are words; "-" stands for one that is left out."""
    names = [name.replace("-", "") for name in inputs.split()]
    return helper.make_node(operator, names, outputs.split(), **attributes)


def _one(operator: str, inputs: dict, outputs: str = "y", /, **rest: object) -> Case:
    """A case of one node, whose attributes are what Case does not take."""
    known = {key: rest.pop(key) for key in ("constants", "opset", "values") if key in rest}
    names = rest.pop("order", None) or " ".join([*inputs, *known.get("constants", {})])
    node = _node(operator, names, outputs, **rest)
    return Case(nodes=[node], inputs=inputs, outputs=tuple(outputs.split()), **known)


def cases() -> dict[str, Case]:
    """Return every case by name."""
    table: dict[str, Case] = {}
    for part in (_recurrent, _elementwise, _layers, _products, _sized_by_data, _others):
        table |= part()
    return table


def _recurrent() -> dict[str, Case]:
    table = {}
    steps = {"x": (F, ("L", "N", 4))}
    for operator, gates in (("GRU", 3), ("LSTM", 4), ("RNN", 1)):
        for direction, count in (("forward", 1), ("bidirectional", 2)):
            known = {
                "W": _weights(count, gates * 5, 4),
                "R": _weights(count, gates * 5, 5),
            }
            table[f"{operator} {direction}"] = _one(
                operator, steps, constants=known, hidden_size=5, direction=direction
            )
            for what, value in (("none", 0), ("absurd", 2**30), ("negative", -3)):
                table[f"{operator} {direction}, lengths {what}"] = _one(
                    operator,
                    {**steps, "lens": (I32, ("N",))},
                    order="x W R - lens",
                    constants=known,
                    values={"lens": value},
                    hidden_size=5,
                    direction=direction,
                )
        weights = {"W": (F, (1, gates * 5, "D")), "R": (F, (1, gates * 5, 5))}
        table[f"{operator}, weights as inputs"] = _one(
            operator, {"x": (F, ("L", "N", "D")), **weights}, hidden_size=5
        )
    return table


def _elementwise() -> dict[str, Case]:
    rows = {"x": (F, ("N", "L", "M"))}
    unary = (
        "Relu Sigmoid Tanh Softmax LogSoftmax Hardmax Flatten Transpose Shape Size NonZero Erf Elu "
        "Softplus LpNormalization Mish HardSwish Det Identity"
    )
    table = {name: _one(name, rows) for name in unary.split()}
    table |= {name: _one(name, rows, axis=1) for name in ("ArgMax", "ArgMin")}
    for name in [
        "ReduceSum",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceL2",
        "ReduceLogSumExp",
    ]:
        table[name] = _one(name, rows)
        for axes in ([0], [2], [0, 2]):
            table[f"{name} over {axes}"] = _one(name, rows, constants={"axes": np.array(axes)})
    for name in ["Add", "Mul", "Div", "Pow", "Max", "Min", "Sub", "PRelu"]:
        table[name] = _one(name, {"x": (F, ("N", "L")), "z": (F, ("N", "L"))})
        table[f"{name}, broadcast"] = _one(name, {"x": (F, ("N", 1)), "z": (F, (1, "L"))})
    whole = {"x": (I, ("N",)), "z": (I, ("N",))}
    for name in ("Div", "Mod"):
        table[f"{name} of integers by 0"] = _one(name, whole, values={"z": 0})
        table[f"{name} of the least integer by -1"] = _one(
            name, whole, values={"x": -(2**63), "z": -1}
        )
    table["Where"] = _one("Where", {"c": (B, ("N", 1)), "x": (F, (1, "L")), "z": (F, ("N", "L"))})
    table["Concat"] = _one("Concat", {"x": (F, ("N", "L")), "z": (F, ("N", "K"))}, axis=1)
    table["Split"] = _one("Split", {"x": (F, ("N", "L"))}, "y z", num_outputs=2)
    return table


def _layers() -> dict[str, Case]:
    table = {}
    image = {"x": (F, ("N", 3, "H", "M"))}
    for name, weights in (("Conv", (4, 3, 3, 3)), ("ConvTranspose", (3, 4, 3, 3))):
        for what, attributes in (
            ("valid", {}),
            ("same", {"auto_pad": "SAME_UPPER"}),
            ("dilated", {"dilations": [2, 2]}),
            ("strided", {"strides": [3, 3]}),
        ):
            known = {"w": _weights(*weights)}
            table[f"{name} {what}"] = _one(name, image, constants=known, **attributes)
    open_weights = {"x": (F, ("N", "C", "H", "M")), "w": (F, ("O", "C", "K", "Q"))}
    table["Conv, weights as inputs"] = _one("Conv", open_weights)
    table["Conv of one dimension, causal"] = _one(
        "Conv", {"x": (F, ("N", 3, "H"))}, constants={"w": _weights(4, 3, 3)}, pads=[2, 0]
    )
    for name in ("MaxPool", "AveragePool", "LpPool"):
        table[name] = _one(name, image, kernel_shape=[2, 2], strides=[2, 2])
        if name != "LpPool":
            table[f"{name}, padded"] = _one(
                name, image, kernel_shape=[3, 3], pads=[1] * 4, ceil_mode=1
            )
    for name in ("GlobalAveragePool", "GlobalMaxPool"):
        table[name] = _one(name, {"x": (F, ("N", "C", "H", "M"))})
    ones = {name: np.ones(3, np.float32) for name in ("s", "b", "m", "v")}
    table["BatchNormalization"] = _one("BatchNormalization", image, constants=ones)
    table["InstanceNormalization"] = _one(
        "InstanceNormalization", image, constants={"s": ones["s"], "b": ones["b"]}
    )
    table["LayerNormalization"] = _one(
        "LayerNormalization", {"x": (F, ("N", "L", "M")), "s": (F, ("M",))}
    )
    table["DepthToSpace"] = _one("DepthToSpace", {"x": (F, ("N", 4, "H", "M"))}, blocksize=2)
    table["SpaceToDepth"] = _one("SpaceToDepth", {"x": (F, ("N", "C", "H", "M"))}, blocksize=2)
    scales = {"scales": np.array([1, 1, 2, 2], np.float32)}
    table["Resize, constant"] = _one(
        "Resize",
        {"x": (F, ("N", "C", "H", "M"))},
        constants=scales,
        order="x - scales",
        mode="linear",
    )
    heads = {name: (F, ("B", 2, dim, 4)) for name, dim in (("q", "L"), ("k", "K"), ("v", "K"))}
    table["Attention"] = _one("Attention", heads, opset=23)
    table["Attention, causal"] = _one("Attention", heads, opset=23, is_causal=1)
    return table


def _products() -> dict[str, Case]:
    flat = {"a": (F, ("N", "K")), "b": (F, ("K", "M"))}
    batched = {"a": (F, ("B", "N", "K")), "b": (F, ("B", "K", "M"))}
    table = {
        "MatMul": _one("MatMul", flat),
        "MatMul, batched": _one("MatMul", batched),
        "MatMul by a constant": _one(
            "MatMul", {"a": (F, ("B", "N", 4))}, constants={"b": _weights(4, 3)}
        ),
        "Gemm": _one("Gemm", {**flat, "c": (F, ("M",))}),
        "MatMulInteger": _one("MatMulInteger", {"a": (U8, ("N", "K")), "b": (U8, ("K", "M"))}),
        "DynamicQuantizeLinear": _one("DynamicQuantizeLinear", {"x": (F, ("N", "L"))}, "y s z"),
        "Einsum of a diagonal": _one("Einsum", {"a": (F, ("N", "N"))}, equation="ii->i"),
    }
    transposed = {"a": (F, ("B", "N", "K")), "b": (F, ("B", "M", "K"))}
    for equation, inputs in (
        ("ij,jk->ik", flat),
        ("bij,bjk->bik", batched),
        ("bij,bkj->bik", transposed),
    ):
        table[f"Einsum {equation}"] = _one("Einsum", inputs, equation=equation)
    return table


def _sized_by_data() -> dict[str, Case]:
    table = {}
    rows, two = {"x": (F, ("N", "L"))}, (I, (2,))
    pair, scalar = {"v": np.array([0, 1], np.float32)}, (I, ())
    for what, value in ODD_VALUES.items():
        several = {
            "Gather": _one("Gather", {**rows, "i": (I, ("K",))}),
            "GatherElements": _one("GatherElements", {**rows, "i": (I, ("K", "L"))}),
            "GatherND": _one("GatherND", {**rows, "i": (I, ("K", "Q"))}),
            "ScatterElements": _one(
                "ScatterElements", {**rows, "i": (I, ("K", "L")), "u": (F, ("K", "L"))}
            ),
            "ScatterND": _one("ScatterND", {**rows, "i": (I, ("K", 1)), "u": (F, ("K", "L"))}),
            "OneHot": _one("OneHot", {"c": (I, ("N",)), "i": (I, (1,))}, constants=pair),
            "Tile": _one("Tile", {**rows, "i": two}),
            "Expand": _one("Expand", {"x": (F, ("N", 1)), "i": two}),
            "ConstantOfShape": _one("ConstantOfShape", {"i": (I, ("Q",))}),
            "Reshape": _one("Reshape", {**rows, "i": (I, ("Q",))}),
            "Pad": _one("Pad", {**rows, "i": (I, (4,))}),
            "Pad, reflected": _one("Pad", {**rows, "i": (I, (4,))}, mode="reflect"),
            "Slice": _one("Slice", {**rows, "b": (I, (1,)), "i": (I, (1,))}),
            "CumSum": _one("CumSum", {**rows, "i": scalar}),
            "Trilu": _one("Trilu", {**rows, "i": scalar}),
            "TopK": _one("TopK", {**rows, "i": (I, (1,))}, "y z"),
            "CenterCropPad": _one("CenterCropPad", {**rows, "i": two}),
            "ReverseSequence": _one("ReverseSequence", {"x": (F, ("L", "N")), "i": (I, ("N",))}),
            "Range": _one(
                "Range",
                {"i": scalar},
                order="a i d",
                constants={"a": np.array(0), "d": np.array(1)},
            ),
            "Range, its step": _one(
                "Range",
                {"i": scalar},
                order="a b i",
                constants={"a": np.array(0), "b": np.array(5)},
            ),
            "STFT, its length": _one(
                "STFT",
                {"x": (F, ("N", "L", 1)), "i": scalar},
                constants={"step": np.array(16)},
                order="x step - i",
            ),
            "DFT": _one("DFT", {"x": (F, ("N", "L", 1)), "i": scalar}, axis=1),
            "NonMaxSuppression": _one(
                "NonMaxSuppression",
                {"b": (F, (1, "K", 4)), "s": (F, (1, "C", "K")), "i": (I, (1,))},
            ),
        }
        for name, case in several.items():
            values = {**case.values, "i": value}
            table[f"{name} by {what}"] = Case(**{**vars(case), "values": values})
    for what, scale in (("none", 0.0), ("absurd", 1e6), ("no number", np.nan)):
        for mode in ("nearest", "linear", "cubic"):
            table[f"Resize {mode} by {what}"] = _one(
                "Resize",
                {"x": (F, (1, 1, "H", "M")), "s": (F, (4,))},
                order="x - s",
                values={"s": np.array([1, 1, scale, scale], np.float32)},
                mode=mode,
            )
    return table


def _others() -> dict[str, Case]:
    table = {
        "Compress": _one("Compress", {"x": (F, ("N", "L")), "c": (B, ("K",))}, axis=0),
        "Unique": _one("Unique", {"x": (F, ("N",))}),
        "Unique along an axis": _one("Unique", {"x": (F, ("N", "L"))}, axis=0),
        "StringConcat": _one("StringConcat", {"x": (S, ("N",)), "z": (S, ("N",))}, opset=20),
        "StringSplit": _one("StringSplit", {"x": (S, ("N",))}, "y n", opset=20),
        "Cast of text": _one("Cast", {"x": (S, ("N",))}, to=F, values={"x": "1e999"}),
    }
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [_node("Identity", "c", "d"), _node("Add", "v one", "w"), _node("Identity", "w", "each")],
        "body",
        [value("i", I, []), value("c", B, []), value("v", F, ["N"])],
        [value("d", B, []), value("w", F, ["N"]), value("each", F, ["N"])],
        [numpy_helper.from_array(np.float32(1), "one")],
    )
    for what, times in (("none", 0), ("some", 1000), ("negative", -1)):
        table[f"Loop, {what}"] = _one(
            "Loop",
            {"n": (I, ()), "x": (F, ("N",))},
            "y z",
            order="n - x",
            body=body,
            values={"n": times},
        )
    step = helper.make_graph(
        [_node("Add", "s e", "t"), _node("Identity", "t", "o")],
        "step",
        [value("s", F, ["M"]), value("e", F, ["M"])],
        [value("t", F, ["M"]), value("o", F, ["M"])],
    )
    table["Scan"] = _one(
        "Scan", {"s": (F, ("M",)), "x": (F, ("L", "M"))}, "t y", body=step, num_scan_inputs=1
    )
    return table


def run_once(folder: Path, name: str, sizes: dict[str, int]) -> str:
    """Run a case as the server does; say what came of it."""
    import resource

    from zoo_server.backends.onnxruntime.runtime import Runtime
    from zoo_server.inference.cancellation import Cancellation

    runtime = Runtime(provider="cpu", threads=1)
    case = cases()[name]
    path = folder / "case.onnx"
    onnx.save(case.model(), path)
    session = runtime.open(path, 1, Cancellation())
    feeds = case.feeds(sizes)
    if session.traits.ends_on_empty and any(not array.size for array in feeds.values()):
        return "refused: without elements"  # as server/zoo_server/inference/validation.py does
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        session.run(list(case.outputs), feeds)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return "answered"


if __name__ == "__main__":
    print(run_once(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])))
