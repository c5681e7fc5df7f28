"""Replaces shape arithmetic by constants where shape inference knows the result.

Keras's Flatten asks for the batch at run time (keras/src/layers/reshaping/flatten.py), which leaves
Shape, Cast, Slice and Concat before a Reshape. tract, TVM (apache/tvm#20174) and jaxonnxruntime
refuse a Reshape by a computed shape, and no runtime needs one:

    a shape of which every part is known            -> that constant
    Reshape where one part alone is unknown          -> -1 there
    Reshape where more are, but all others are the input's own dimension at that place -> 0 there

Right because Reshape keeps the number of elements, so the one -1 is what the others leave; because
0 copies the input's dimension, which has the same symbol; and because no known part is 0.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto

from zoo.convert.passes.view import Dim, View, attribute, known

#: A flat list of parts; scalars are lists of one.
Parts = list[Dim]

WHOLE = np.iinfo(np.int64).max


def fold_shapes(view: View) -> bool:
    """Replace computed shapes by constants; return whether anything changed."""
    seen: dict[str, Parts | None] = {}
    changed = False
    for node in view.graph.node:
        if node.op_type == "Reshape" and view.constant(node.input[1]) is None:
            changed |= _fix_reshape(view, node, _parts(view, node.input[1], seen))
        elif node.op_type != "Reshape":
            for position, name in enumerate(node.input):
                changed |= _fix_integers(view, node, position, _computed(view, name, seen))
    return changed


def _computed(view: View, name: str, seen: dict[str, Parts | None]) -> np.ndarray | None:
    """Return the value of an integer tensor made of shapes and constants alone."""
    node = view.producers.get(name)
    shape = view.shapes.get(name)
    if node is None or node.op_type not in _RULES or not known(shape):
        return None
    dtype = _dtype(view, name)
    parts = _parts(view, name, seen)
    if dtype is None or not known(parts):
        return None
    if len(parts) != int(np.prod(shape)):
        return None
    return np.array(parts, dtype).reshape(shape)


def _dtype(view: View, name: str) -> type | None:
    """Return int64 or int32, as far as the value's own operators tell; None for others."""
    node = view.producers.get(name)
    if node is None:
        array = view.constant(name)
        return None if array is None else {"i8": np.int64, "i4": np.int32}.get(array.dtype.str[1:])
    if node.op_type in ("Shape", "Size"):
        return np.int64
    if node.op_type == "Cast":
        return {TensorProto.INT64: np.int64, TensorProto.INT32: np.int32}.get(attribute(node, "to"))
    return _dtype(view, node.input[0]) if node.op_type in _RULES else None


def _fix_integers(view: View, node: NodeProto, position: int, value: np.ndarray | None) -> bool:
    if value is None:
        return False
    node.input[position] = view.add_constant(value, "shape")
    return True


def _fix_reshape(view: View, node: NodeProto, parts: Parts | None) -> bool:
    """Give a Reshape a constant target, if the rules above decide it."""
    if attribute(node, "allowzero", 0):
        return False
    inferred = view.shapes.get(node.output[0])
    if parts is None and inferred is not None:
        parts = list(inferred)
    if parts is None:
        return False
    if inferred is not None and len(inferred) == len(parts):
        # Inference may know a part that the arithmetic does not.
        parts = [b if isinstance(b, int) else a for a, b in zip(parts, inferred, strict=True)]
    target = constant_target(parts, view.shapes.get(node.input[0]))
    if target is None:
        return False
    node.input[1] = view.add_constant(np.array(target, np.int64), "shape")
    return True


def constant_target(parts: Parts, source: tuple[Dim, ...] | None) -> list[int] | None:
    """Return Reshape's constant second input for these parts, None if they do not decide it."""
    if any(part == 0 for part in parts):
        return None
    open_places = [i for i, p in enumerate(parts) if not isinstance(p, int) or p < 0]
    target = [p if isinstance(p, int) and p > 0 else -1 for p in parts]
    for place in open_places:
        if target.count(-1) <= 1:
            break
        symbol = parts[place]
        if isinstance(symbol, str) and source and place < len(source) and source[place] == symbol:
            target[place] = 0
    return target if target.count(-1) <= 1 else None


def _parts(view: View, name: str, seen: dict[str, Parts | None]) -> Parts | None:
    """Return what is known of an integer tensor's elements, None if nothing is."""
    if name in seen:
        return seen[name]
    seen[name] = None
    array = view.constant(name)
    if array is not None:
        if array.dtype.kind == "i" and array.size <= 64:
            seen[name] = [int(value) for value in array.ravel()]
        return seen[name]
    node = view.producers.get(name)
    if node is not None and node.op_type in _RULES:
        inputs = [_parts(view, n, seen) if n else None for n in node.input]
        seen[name] = _RULES[node.op_type](view, node, inputs)
    return seen[name]


def _shape(view: View, node: NodeProto, _: list[Parts | None]) -> Parts | None:
    shape = view.shapes.get(node.input[0])
    if shape is None:
        return None
    return list(shape[attribute(node, "start", 0) : attribute(node, "end", WHOLE)])


def _same(view: View, node: NodeProto, inputs: list[Parts | None]) -> Parts | None:
    return inputs[0]


def _cast(view: View, node: NodeProto, inputs: list[Parts | None]) -> Parts | None:
    """Keep the parts where the type can hold them: not in a bool, and exactly in a float32."""
    parts = inputs[0]
    if parts is None or attribute(node, "to") not in _CASTS:
        return None
    return parts if all(not isinstance(p, int) or abs(p) < 2**24 for p in parts) else None


def _gather(view: View, node: NodeProto, inputs: list[Parts | None]) -> Parts | None:
    data, indices = inputs
    if data is None or indices is None or attribute(node, "axis", 0) != 0:
        return None
    if view.rank(node.input[0]) != 1 or not known(indices):
        return None
    return [data[i] for i in indices]


def _slice(view: View, node: NodeProto, inputs: list[Parts | None]) -> Parts | None:
    data, starts, ends, *rest = inputs
    if data is None or starts is None or ends is None or view.rank(node.input[0]) != 1:
        return None
    bounds = (starts[0], ends[0], rest[1][0] if len(rest) > 1 and rest[1] else 1)
    return data[slice(*bounds)] if known(bounds) else None


def _concat(view: View, node: NodeProto, inputs: list[Parts | None]) -> Parts | None:
    if any(part is None for part in inputs) or view.rank(node.output[0]) != 1:
        return None
    return [item for part in inputs for item in part or []]


def _product(view: View, node: NodeProto, inputs: list[Parts | None]) -> Parts | None:
    data = inputs[0]
    return [int(np.prod(data))] if known(data) and view.rank(node.input[0]) == 1 else None


def _arithmetic(view: View, node: NodeProto, inputs: list[Parts | None]) -> Parts | None:
    left, right = inputs
    if (
        left is None
        or right is None
        or not (len(left) == len(right) or 1 in (len(left), len(right)))
    ):
        return None
    size = max(len(left), len(right))
    rule = {"Mul": np.multiply, "Add": np.add, "Sub": np.subtract}[node.op_type]
    pairs = zip(left * (size // len(left)), right * (size // len(right)), strict=True)
    return [
        int(rule(a, b)) if isinstance(a, int) and isinstance(b, int) else None for a, b in pairs
    ]


_CASTS = (TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT, TensorProto.DOUBLE)

_RULES = {
    "Shape": _shape,
    "Cast": _cast,
    "Identity": _same,
    "Unsqueeze": _same,
    "Squeeze": _same,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "ReduceProd": _product,
    "Mul": _arithmetic,
    "Add": _arithmetic,
    "Sub": _arithmetic,
}
