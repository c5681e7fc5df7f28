"""Handlers for TensorFlow operators that tf2onnx 1.17 lacks, or converts to invalid graphs.

    PyFuncStateless          our tokens: a recurrent layer, a lookup table, words of a text
    StringLower ...          text (text_vectorization.py)
    Erfc, Expm1, Log1p       1 - Erf(x), Exp(x) - 1 and Log(1 + x)
    Bucketize                how many boundaries are not above x
    OneHot                   by comparing: ONNX counts -1 from the end, and TensorFlow gives zeros
    Equal, NotEqual          of words and one constant word: a LabelEncoder that knows this one
    Select, SelectV2         Where: by products, as tf2onnx has it, what is not chosen must be finite
    FFT, RFFT, Real ...      DFT (fourier.py)
    ResizeBicubic, ResizeArea, ScaleAndTranslate    two products with constant matrices
    ResizeBilinear, ResizeNearestNeighbor    likewise where tf2onnx's scales give another size

A handler takes tf2onnx's graph and node; an exception in it fails the export.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

from zoo.convert import fourier
from zoo.convert.nodes import Handler, constant, make, replace
from zoo.convert.patches import Lookup
from zoo.convert.recurrent import DOMAIN, PLACEHOLDER
from zoo.convert.recurrent.plan import Plan
from zoo.convert.resizing import (
    resize_bilinear,
    resize_by_kernel,
    resize_nearest,
    scale_and_translate,
)
from zoo.convert.text import WORDS
from zoo.convert.text_vectorization import Counts, Words, lower, regex_replace
from zoo.convert.tokens import Tokens

if TYPE_CHECKING:
    from tf2onnx.graph import Graph, Node

ML_DOMAIN = "ai.onnx.ml"

#: What onnxruntime's Where selects from on a CPU.
WHERE_TYPES = {
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8,
    TensorProto.STRING,
}  # fmt: skip

#: LabelEncoder takes keys and values of several types since version 2 of this domain.
EXTRA_OPSETS = (helper.make_opsetid(ML_DOMAIN, 2), helper.make_opsetid(DOMAIN, 1))


def handlers(
    tokens: Tokens, captures: Mapping[str, np.ndarray]
) -> dict[str, tuple[Handler, list[str]]]:
    """Return the handlers in the form that from_function's custom_op_handlers takes.

    `captures` are constants that the graph has as inputs, until it is converted.
    """
    table: dict[str, Handler] = {
        "PyFuncStateless": partial(_token, tokens),
        "Erfc": _erfc,
        "Expm1": _expm1,
        "Log1p": _log1p,
        "Bucketize": _bucketize,
        "OneHot": _one_hot,
        "Equal": partial(_equal, captures),
        "NotEqual": partial(_equal, captures),
        "StaticRegexReplace": regex_replace,
        "StringLower": lower,
        "Select": _select,
        "SelectV2": _select,
        "ResizeArea": resize_by_kernel,
        "ResizeBicubic": resize_by_kernel,
        "ResizeBilinear": resize_bilinear,
        "ResizeNearestNeighbor": resize_nearest,
        "ScaleAndTranslate": scale_and_translate,
    }
    return {name: (handler, []) for name, handler in (table | fourier.HANDLERS).items()}


def _token(tokens: Tokens, graph: Graph, node: Node, name: str, _: object) -> None:
    """Put what a token stands for in its place."""
    key = node.get_attr("token").s.decode()
    stands_for = tokens.get(key)
    if isinstance(stands_for, Plan):
        replace(graph, node, PLACEHOLDER, node.input, {"token": key}, domain=DOMAIN)
    elif isinstance(stands_for, Lookup):
        _label_encoder(graph, node, stands_for)
    elif isinstance(stands_for, Words):
        replace(graph, node, WORDS, node.input, domain=DOMAIN)
    elif isinstance(stands_for, Counts):
        _counts(graph, node, stands_for.depth)
    else:
        raise ValueError(f"{name} calls Python code, which ONNX cannot")


def _label_encoder(graph: Graph, node: Node, table: Lookup) -> None:
    """A table is ai.onnx.ml's LabelEncoder."""
    attributes: dict[str, object] = {}
    for side, values in (("keys", table.keys), ("values", table.values)):
        attributes |= _label_attribute(side, values)
    attributes |= _label_attribute("default", table.default)
    replace(graph, node, "LabelEncoder", node.input, attributes, domain=ML_DOMAIN)


def _label_attribute(side: str, values: np.ndarray) -> dict[str, object]:
    """Return the attribute of a LabelEncoder that holds these values."""
    array = np.asarray(values)
    suffix = "" if side == "default" else "s"
    if array.dtype.kind in "iu":
        plain: Any = array.astype(np.int64).tolist()
        return {f"{side}_int64{suffix}": plain}
    if array.dtype.kind == "f":
        return {f"{side}_float{suffix}": array.astype(np.float32).tolist()}
    return {f"{side}_string{suffix}": array.tolist()}


def _counts(graph: Graph, node: Node, depth: int) -> None:
    """How often each number below `depth` is in a row: weights added where the numbers say."""
    numbers, weights = node.input
    zero = constant(graph, node, "zero", np.zeros(1, np.float32))
    size = make(graph, "Shape", [numbers], [2], TensorProto.INT64)
    first, width = (
        constant(graph, node, s, np.array([v])) for s, v in (("rows", 0), ("depth", depth))
    )
    rows = make(graph, "Gather", [size, first], [1], TensorProto.INT64)
    shape = make(graph, "Concat", [rows, width], [2], TensorProto.INT64, axis=0)
    empty = make(graph, "Expand", [zero, shape], [-1, depth], TensorProto.FLOAT)
    attributes = {"axis": 1, "reduction": "add"}
    replace(graph, node, "ScatterElements", [empty, numbers, weights], attributes)


def _numpy_type(graph: Graph, name: str) -> np.dtype:
    return helper.tensor_dtype_to_np_dtype(graph.get_dtype(name))


def _erfc(graph: Graph, node: Node, name: str, _: object) -> None:
    """erfc(x) = 1 - erf(x); gelu is written with it."""
    (x,) = node.input
    one = constant(graph, node, "one", np.ones((), _numpy_type(graph, x)))
    erf = make(graph, "Erf", [x], graph.get_shape(x), graph.get_dtype(x))
    replace(graph, node, "Sub", [one, erf])


def _expm1(graph: Graph, node: Node, name: str, _: object) -> None:
    """expm1(x) = exp(x) - 1; celu is written with it. Near 0 exact to one rounding of 1."""
    (x,) = node.input
    one = constant(graph, node, "one", np.ones((), _numpy_type(graph, x)))
    power = make(graph, "Exp", [x], graph.get_shape(x), graph.get_dtype(x))
    replace(graph, node, "Sub", [power, one])


def _log1p(graph: Graph, node: Node, name: str, _: object) -> None:
    """log1p(x) = log(1 + x). Near 0 exact to one rounding of 1."""
    (x,) = node.input
    one = constant(graph, node, "one", np.ones((), _numpy_type(graph, x)))
    more = make(graph, "Add", [x, one], graph.get_shape(x), graph.get_dtype(x))
    replace(graph, node, "Log", [more])


def _bucketize(graph: Graph, node: Node, name: str, _: object) -> None:
    """The bucket is the number of boundaries b for which x < b does not hold.

    TensorFlow searches the upper bound, which puts NaN into the last bucket: counting the
    boundaries that are above x, and taking the rest, does the same.
    """
    boundaries = np.array(node.get_attr("boundaries").floats, np.float32)
    (x,) = node.input
    shape = graph.get_shape(x)
    if graph.get_dtype(x) != TensorProto.FLOAT:
        x = make(graph, "Cast", [x], shape, TensorProto.FLOAT, to=TensorProto.FLOAT)
    wide = None if shape is None else [*shape, 1]
    many = None if shape is None else [*shape, len(boundaries)]
    last = constant(graph, node, "last", np.array([-1], np.int64))
    x = make(graph, "Unsqueeze", [x, last], wide, TensorProto.FLOAT)
    above = make(
        graph,
        "Less",
        [x, constant(graph, node, "boundaries", boundaries)],
        many,
        TensorProto.BOOL,
    )
    number = graph.get_dtype(node.output[0])
    above = make(graph, "Cast", [above], many, number, to=number)
    above = make(graph, "ReduceSum", [above, last], shape, number, keepdims=0)
    dtype = helper.tensor_dtype_to_np_dtype(number)
    total = constant(graph, node, "total", np.array(len(boundaries), dtype))
    replace(graph, node, "Sub", [total, above])


def _one_hot(graph: Graph, node: Node, name: str, _: object) -> None:
    """The value `on` where an index is the position along a new axis, else `off`."""
    indices, depth, on, off = node.input
    axis, rank = node.get_attr_value("axis", -1), graph.get_rank(indices)
    if axis != -1 and rank is None:
        raise ValueError("OneHot of a tensor with an unknown number of dimensions")
    # On the last axis the positions stand as they are; on another, axes of size 1 follow them.
    behind = 0 if axis == -1 else rank - axis
    kind = graph.get_dtype(indices)
    if kind not in (TensorProto.INT32, TensorProto.INT64):
        kind = TensorProto.INT64
        indices = make(graph, "Cast", [indices], graph.get_shape(node.input[0]), kind, to=kind)
    if node.inputs[1].is_const():
        size = int(node.inputs[1].get_tensor_value())
        positions = np.arange(size, dtype=helper.tensor_dtype_to_np_dtype(kind))
        places = constant(graph, node, "positions", positions.reshape(-1, *[1] * behind))
    else:
        depth = make(graph, "Cast", [depth], [], kind, to=kind)
        zero, one = (
            constant(graph, node, stem, np.array(value, helper.tensor_dtype_to_np_dtype(kind)))
            for stem, value in (("zero", 0), ("one", 1))
        )
        places = make(graph, "Range", [zero, depth, one], [-1], kind)
        if behind:
            shape = constant(graph, node, "column", np.array([-1, *[1] * behind], np.int64))
            places = make(graph, "Reshape", [places, shape], [-1, *[1] * behind], kind)
    wide = None if rank is None else [-1] * (rank + 1)
    where = constant(graph, node, "axis", np.array([axis], np.int64))
    indices = make(graph, "Unsqueeze", [indices, where], wide, kind)
    shape = graph.get_shape(node.output[0])
    hot = make(graph, "Equal", [indices, places], shape, TensorProto.BOOL)
    if graph.get_dtype(node.output[0]) == TensorProto.BOOL:
        # onnxruntime's Where takes no truth values: `on` where hot, `off` elsewhere, said without it.
        negated = make(graph, "Not", [hot], shape, TensorProto.BOOL)
        hot = make(graph, "And", [hot, on], shape, TensorProto.BOOL)
        negated = make(graph, "And", [negated, off], shape, TensorProto.BOOL)
        replace(graph, node, "Or", [hot, negated])
    else:
        replace(graph, node, "Where", [hot, on, off])


def _select(graph: Graph, node: Node, name: str, _: object) -> None:
    """Where, of the types that onnxruntime's takes; products are right for the others, which are whole."""
    from tf2onnx.onnx_opset.controlflow import Select

    if graph.get_dtype(node.output[0]) in WHERE_TYPES:
        node.set_attr("handles_nan", 1)
    Select.version_9(graph, node)


def _equal(
    captures: Mapping[str, np.ndarray], graph: Graph, node: Node, name: str, _: object
) -> None:
    """Words can be compared by Equal from opset 19 on, and looked up since long before.

    tf2onnx casts what it compares to a number, which fails on words when the graph runs.
    """
    words = [i for i, x in enumerate(node.input) if graph.get_dtype(x) == TensorProto.STRING]
    if not words:
        from tf2onnx.onnx_opset.logical import Equal

        Equal.version_11(graph, node)
        return
    values = {i: captures.get(node.input[i]) for i in words}
    values |= {
        i: node.inputs[i].get_tensor_value(False) for i in words if node.inputs[i].is_const()
    }
    single = [(i, v.item()) for i, v in values.items() if v is not None and v.ndim == 0]
    if not single:
        raise ValueError(f"{name} compares words with words that are not one constant")
    (position, word), *_ = single
    x = node.input[1 - position]
    same, other = (0, 1) if node.type == "NotEqual" else (1, 0)
    attributes = {"keys_strings": [word], "values_int64s": [same], "default_int64": other}
    shape, kind = graph.get_shape(x), TensorProto.INT64
    known = graph.make_node(
        "LabelEncoder",
        [x],
        attr=attributes,
        shapes=[shape],
        dtypes=[kind],
        domain=ML_DOMAIN,
        infer_shape_dtype=False,
    )
    replace(graph, node, "Cast", [known.output[0]], {"to": TensorProto.BOOL})
