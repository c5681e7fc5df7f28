"""TensorFlow operators that tf2onnx 1.17 does not know, or writes as nobody can run them.

    PyFuncStateless          our tokens: a recurrent layer, or a lookup table
    Erfc, Expm1              1 - Erf(x) and Exp(x) - 1
    Bucketize                how many boundaries are not above x
    RFFT, Real, Imag, ComplexAbs    DFT (opset 17), with re and im along a last axis of two
    ResizeBicubic, ScaleAndTranslate    two products with constant matrices
    ResizeBilinear, ResizeNearestNeighbor    likewise where tf2onnx's scales give another size

A handler takes tf2onnx's graph and node; an exception in it fails the export.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from zoo.recurrent import DOMAIN, PLACEHOLDER
from zoo.recurrent.plan import Plan
from zoo.tracing.patches import Lookup, Tokens

Handler = Callable[[Any, Any, str, Any], None]

ML_DOMAIN = "ai.onnx.ml"

#: LabelEncoder takes keys and values of several types since version 2 of this domain.
EXTRA_OPSETS = (helper.make_opsetid(ML_DOMAIN, 2), helper.make_opsetid(DOMAIN, 1))


def handlers(tokens: Tokens) -> dict[str, tuple[Handler, list[Any]]]:
    """Return the handlers in the form that from_function's custom_op_handlers takes."""

    def token(graph: Any, node: Any, name: str, _: Any) -> None:
        key = node.get_attr("token").s.decode()
        found = tokens.get(key)
        if isinstance(found, Plan):
            _replace(graph, node, PLACEHOLDER, node.input, {"token": key}, domain=DOMAIN)
        elif isinstance(found, Lookup):
            _label_encoder(graph, node, found)
        else:
            raise ValueError(f"{name} calls Python code, which ONNX cannot")

    table: dict[str, Handler] = {
        "PyFuncStateless": token,
        "Erfc": _erfc,
        "Expm1": _expm1,
        "Bucketize": _bucketize,
        "RFFT": _rfft,
        "Real": _real,
        "Imag": _imaginary,
        "ComplexAbs": _magnitude,
        "ResizeBicubic": _resize_bicubic,
        "ResizeBilinear": _resize_bilinear,
        "ResizeNearestNeighbor": _resize_nearest,
        "ScaleAndTranslate": _scale_and_translate,
    }
    return {name: (handler, []) for name, handler in table.items()}


def _replace(
    graph: Any, node: Any, kind: str, inputs: Any, attributes: Any = None, domain: str = ""
) -> Any:
    """Put one node of another kind in a node's place, its outputs' names, shapes and types kept."""
    outputs, name = list(node.output), node.name
    shapes = [graph.get_shape(output) for output in outputs]
    dtypes = [graph.get_dtype(output) for output in outputs]
    inputs = list(inputs)
    graph.remove_node(name)
    return graph.make_node(
        kind,
        inputs,
        attr=attributes or {},
        outputs=outputs,
        name=name,
        shapes=shapes,
        dtypes=dtypes,
        domain=domain,
        infer_shape_dtype=False,
    )


def _constant(graph: Any, node: Any, stem: str, array: Any) -> str:
    made = graph.make_const(f"{node.name}/{stem}", np.asarray(array))
    return str(made.output[0])


def _make(
    graph: Any, kind: str, inputs: list[str], shape: Any, dtype: int, **attributes: Any
) -> str:
    made = graph.make_node(
        kind, inputs, attr=attributes, shapes=[shape], dtypes=[dtype], infer_shape_dtype=False
    )
    return str(made.output[0])


def _label_encoder(graph: Any, node: Any, table: Lookup) -> None:
    """A table is ai.onnx.ml's LabelEncoder."""
    attributes: dict[str, Any] = {}
    for side, values in (("keys", table.keys), ("values", table.values)):
        attributes |= _typed(side, values)
    attributes |= _typed("default", table.default)
    _replace(graph, node, "LabelEncoder", node.input, attributes, domain=ML_DOMAIN)


def _typed(side: str, values: Any) -> dict[str, Any]:
    """Return the attribute of a LabelEncoder that holds these values."""
    array = np.asarray(values)
    suffix = "" if side == "default" else "s"
    if array.dtype.kind in "iu":
        plain: Any = array.astype(np.int64).tolist()
        return {f"{side}_int64{suffix}": plain}
    if array.dtype.kind == "f":
        return {f"{side}_float{suffix}": array.astype(np.float32).tolist()}
    return {f"{side}_string{suffix}": array.tolist()}


def _numpy_type(graph: Any, name: str) -> Any:
    return helper.tensor_dtype_to_np_dtype(graph.get_dtype(name))


def _erfc(graph: Any, node: Any, name: str, _: Any) -> None:
    """erfc(x) = 1 - erf(x); gelu is written with it."""
    (x,) = node.input
    one = _constant(graph, node, "one", np.ones((), _numpy_type(graph, x)))
    erf = _make(graph, "Erf", [x], graph.get_shape(x), graph.get_dtype(x))
    _replace(graph, node, "Sub", [one, erf])


def _expm1(graph: Any, node: Any, name: str, _: Any) -> None:
    """expm1(x) = exp(x) - 1; celu is written with it. Near 0 exact to one rounding of 1."""
    (x,) = node.input
    one = _constant(graph, node, "one", np.ones((), _numpy_type(graph, x)))
    power = _make(graph, "Exp", [x], graph.get_shape(x), graph.get_dtype(x))
    _replace(graph, node, "Sub", [power, one])


def _bucketize(graph: Any, node: Any, name: str, _: Any) -> None:
    """The bucket is the number of boundaries b for which x < b does not hold.

    TensorFlow searches the upper bound, which puts NaN into the last bucket: counting the
    boundaries that are above x, and taking the rest, does the same.
    """
    boundaries = np.array(node.get_attr("boundaries").floats, np.float32)
    (x,) = node.input
    shape = graph.get_shape(x)
    if graph.get_dtype(x) != TensorProto.FLOAT:
        x = _make(graph, "Cast", [x], shape, TensorProto.FLOAT, to=TensorProto.FLOAT)
    wide = None if shape is None else [*shape, 1]
    many = None if shape is None else [*shape, len(boundaries)]
    last = _constant(graph, node, "last", np.array([-1], np.int64))
    x = _make(graph, "Unsqueeze", [x, last], wide, TensorProto.FLOAT)
    above = _make(
        graph,
        "Less",
        [x, _constant(graph, node, "boundaries", boundaries)],
        many,
        TensorProto.BOOL,
    )
    number = graph.get_dtype(node.output[0])
    above = _make(graph, "Cast", [above], many, number, to=number)
    above = _make(graph, "ReduceSum", [above, last], shape, number, keepdims=0)
    dtype = helper.tensor_dtype_to_np_dtype(number)
    total = _constant(graph, node, "total", np.array(len(boundaries), dtype))
    _replace(graph, node, "Sub", [total, above])


def _rfft(graph: Any, node: Any, name: str, _: Any) -> None:
    """DFT gives [..., n/2+1, 2]; only operators that take it apart again may follow."""
    if graph.opset < 17:
        raise ValueError("RFFT needs ONNX's DFT operator, which exists from opset 17 on")
    consumers = {c.type for c in graph.find_output_consumers(node.output[0])}
    if not consumers <= {"Real", "Imag", "ComplexAbs"}:
        raise ValueError(f"complex numbers flow on into {', '.join(sorted(consumers))}")
    length = node.inputs[1].get_tensor_value()
    (points,) = length if isinstance(length, list) else [length]
    x, output = node.input[0], node.output[0]
    shape = graph.get_shape(x)
    if shape is None:
        raise ValueError("RFFT of a tensor with an unknown number of dimensions")
    last = _constant(graph, node, "last", np.array([-1], np.int64))
    x = _make(graph, "Unsqueeze", [x, last], [*shape, 1], TensorProto.FLOAT)
    count = _constant(graph, node, "points", np.array(points, np.int64))
    graph.set_dtype(output, TensorProto.FLOAT)
    graph.set_shape(output, [*shape[:-1], points // 2 + 1, 2])
    attributes = {"axis": len(shape) - 1, "onesided": 1}
    if graph.opset >= 20:
        raise ValueError("DFT-20 takes its axis as an input")  # from_function stops at 18
    _replace(graph, node, "DFT", [x, count], attributes)


def _part(graph: Any, node: Any, index: int) -> None:
    if node.inputs[0].type != "DFT":
        raise ValueError(f"{node.type} of complex numbers from {node.inputs[0].type}")
    (x,) = node.input
    _replace(graph, node, "Gather", [x, _constant(graph, node, "part", index)], {"axis": -1})


def _real(graph: Any, node: Any, name: str, _: Any) -> None:
    _part(graph, node, 0)


def _imaginary(graph: Any, node: Any, name: str, _: Any) -> None:
    _part(graph, node, 1)


def _magnitude(graph: Any, node: Any, name: str, _: Any) -> None:
    """|re + i im|, the length along the last axis."""
    if node.inputs[0].type != "DFT":
        raise ValueError(f"ComplexAbs of complex numbers from {node.inputs[0].type}")
    (x,) = node.input
    if graph.opset >= 18:
        last = _constant(graph, node, "last", np.array([-1], np.int64))
        _replace(graph, node, "ReduceL2", [x, last], {"keepdims": 0})
    else:
        _replace(graph, node, "ReduceL2", [x], {"axes": [-1], "keepdims": 0})


def _resize_bicubic(graph: Any, node: Any, name: str, _: Any) -> None:
    """TensorFlow's own kernel applied to unit vectors gives the matrices."""
    _resize_by_matrices(graph, node, _plain_kernel(node))


def _resize_bilinear(graph: Any, node: Any, name: str, _: Any) -> None:
    """Resize where its scales give the right size, else the matrices."""
    if _scales_say_the_size(graph, node):
        _tf2onnx_resize(graph, node)
    else:
        _resize_by_matrices(graph, node, _plain_kernel(node))


def _resize_nearest(graph: Any, node: Any, name: str, _: Any) -> None:
    """Resize likewise, else rows and columns picked by TensorFlow's own choice of indices."""
    if _scales_say_the_size(graph, node):
        _tf2onnx_resize(graph, node)
        return
    height, width, tall, wide = _fixed_sizes(graph, node)
    kernel = _plain_kernel(node)
    x, shape = node.input[0], graph.get_shape(node.input[0])
    for axis, size, target in ((1, height, tall), (2, width, wide)):
        positions = np.arange(size, dtype=np.float32)[None, :, None, None]
        chosen = _evaluated(partial(kernel, positions, target, 0)).ravel().astype(np.int64)
        indices = _constant(graph, node, f"indices_{axis}", chosen)
        if axis == 2:
            _replace(graph, node, "Gather", [x, indices], {"axis": axis})
        else:
            middle = [shape[0], tall, *shape[2:]]
            x = _make(graph, "Gather", [x, indices], middle, graph.get_dtype(x), axis=axis)


def _scale_and_translate(graph: Any, node: Any, name: str, _: Any) -> None:
    """lanczos3, lanczos5, gaussian, mitchellcubic, and all that antialias."""
    import tensorflow as tf

    height, width, tall, wide = _fixed_sizes(graph, node)
    shift = node.inputs[3].get_tensor_value() if node.inputs[3].is_const() else None
    if node.inputs[2].is_const():
        scale = node.inputs[2].get_tensor_value()
    elif node.inputs[2].type in ("RealDiv", "Div"):
        # tf.image.resize divides the sizes at run time, since the batch is unknown with them.
        scale = [np.float32(tall) / np.float32(height), np.float32(wide) / np.float32(width)]
    else:
        scale = None
    if scale is None or shift is None or any(shift):
        raise ValueError(f"{name}: only plain resizing can be written, from a fixed size")
    kernel = node.get_attr("kernel_type")
    options = {
        "kernel_type": kernel.s.decode() if kernel else "lanczos3",
        "antialias": bool(node.get_attr_value("antialias", True)),
    }

    def resized(images: Any, target: int, axis: int) -> Any:
        return tf.raw_ops.ScaleAndTranslate(
            images=images,
            size=[target, 1],
            scale=[float(scale[axis]), 1.0],
            translation=[0.0, 0.0],
            **options,
        )

    _resize_by_matrices(graph, node, resized)


#: images, target height, which axis of the original it stands for -> resized images
Kernel = Callable[[Any, int, int], Any]


def _plain_kernel(node: Any) -> Kernel:
    """Return TensorFlow's operator of the node's own kind, for a column of pixels."""
    import tensorflow as tf

    operator = getattr(tf.raw_ops, node.type)
    options = {
        "align_corners": bool(node.get_attr_value("align_corners", False)),
        "half_pixel_centers": bool(node.get_attr_value("half_pixel_centers", False)),
    }
    return lambda images, target, _: operator(images=images, size=[target, 1], **options)


def _fixed_sizes(graph: Any, node: Any) -> tuple[int, int, int, int]:
    """Return height and width before, then after. Raises ValueError if they are not fixed."""
    shape = graph.get_shape(node.input[0])
    if shape is None or min(shape[1:]) < 1 or not node.inputs[1].is_const():
        raise ValueError(f"{node.name}: resizing by this method needs a fixed input size")
    tall, wide = (int(size) for size in node.inputs[1].get_tensor_value())
    return int(shape[1]), int(shape[2]), tall, wide


def _scales_say_the_size(graph: Any, node: Any) -> bool:
    """Whether floor(size * scale) is the target.

    tf2onnx writes scales for fixed sizes, and ONNX rounds down: 6 * (5/6) is 4.
    """
    try:
        height, width, tall, wide = _fixed_sizes(graph, node)
    except ValueError:
        return True  # tf2onnx writes sizes then
    pairs = ((height, tall), (width, wide))
    return all(_exact(size, target) for size, target in pairs)


def _exact(size: int, target: int) -> bool:
    """Runtimes multiply in single or double precision."""
    scale = np.float32(target / size)
    return int(scale * np.float32(size)) == int(float(scale) * size) == target


def _tf2onnx_resize(graph: Any, node: Any) -> None:
    from tf2onnx.onnx_opset.nn import Resize

    Resize.version_11(graph, node)


def _evaluated(build: Callable[[], Any]) -> np.ndarray:
    """Run TensorFlow operators now, although a graph is being converted around us."""
    import tensorflow as tf

    with tf.Graph().as_default() as aside:
        result = build()
        with tf.compat.v1.Session(graph=aside) as session:
            return np.asarray(session.run(result))


def _resize_by_matrices(graph: Any, node: Any, kernel: Kernel) -> None:
    """Write [batch, h, w, c] -> [batch, H, W, c] as a product over rows and one over columns."""
    x, output = node.input[0], node.output[0]
    shape = graph.get_shape(x)
    height, width, tall, wide = _fixed_sizes(graph, node)
    channels = shape[3]

    def matrix(size: int, target: int, axis: int) -> np.ndarray:
        basis = np.eye(size, dtype=np.float32)[None, :, None, :]
        return _evaluated(lambda: kernel(basis, target, axis)).reshape(target, size)

    float32 = TensorProto.FLOAT
    if graph.get_dtype(x) != float32:
        x = _make(graph, "Cast", [x], shape, float32, to=float32)
    flat = _constant(graph, node, "flat", np.array([-1, height, width * channels], np.int64))
    x = _make(graph, "Reshape", [x, flat], [shape[0], height, width * channels], float32)
    down = _constant(graph, node, "rows", matrix(height, tall, 0))
    x = _make(graph, "MatMul", [down, x], [shape[0], tall, width * channels], float32)
    unflat = _constant(graph, node, "unflat", np.array([-1, tall, width, channels], np.int64))
    x = _make(graph, "Reshape", [x, unflat], [shape[0], tall, width, channels], float32)
    across = _constant(graph, node, "columns", matrix(width, wide, 1))
    graph.set_shape(output, [shape[0], tall, wide, channels])
    _replace(graph, node, "MatMul", [across, x])
