"""Image resizing as two products with constant matrices, or as Gather.

ONNX's Resize has other coefficients than TensorFlow for bicubic, and no lanczos, gaussian or area;
resizing is linear in the pixels, and separable, so TensorFlow's own kernel applied to unit vectors
gives one matrix for the rows and one for the columns. That needs a fixed input size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from zoo.convert.nodes import constant, make, replace

if TYPE_CHECKING:
    import tensorflow as tf
    from tf2onnx.graph import Graph, Node


def resize_by_kernel(graph: Graph, node: Node, name: str, _: object) -> None:
    """TensorFlow's own kernel applied to unit vectors gives the matrices."""
    _resize_by_matrices(graph, node, _plain_kernel(node))


def resize_bilinear(graph: Graph, node: Node, name: str, _: object) -> None:
    """Resize where its scales give the right size, else the matrices."""
    if _scales_say_the_size(graph, node):
        _tf2onnx_resize(graph, node)
    else:
        _resize_by_matrices(graph, node, _plain_kernel(node))


def resize_nearest(graph: Graph, node: Node, name: str, _: object) -> None:
    """Resize likewise, else rows and columns picked by TensorFlow's own choice of indices."""
    if _scales_say_the_size(graph, node):
        _tf2onnx_resize(graph, node)
        return
    height, width, tall, wide = _fixed_sizes(graph, node)
    kernel = _plain_kernel(node)
    x, shape = node.input[0], graph.get_shape(node.input[0])
    for axis, size, target in ((1, height, tall), (2, width, wide)):
        positions = np.arange(size, dtype=np.float32)[None, :, None, None]
        chosen = _evaluate(partial(kernel, positions, target, 0)).ravel().astype(np.int64)
        indices = constant(graph, node, f"indices_{axis}", chosen)
        if axis == 2:
            replace(graph, node, "Gather", [x, indices], {"axis": axis})
        else:
            middle = [shape[0], tall, *shape[2:]]
            x = make(graph, "Gather", [x, indices], middle, graph.get_dtype(x), axis=axis)


def scale_and_translate(graph: Graph, node: Node, name: str, _: object) -> None:
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

    def resized(images: tf.Tensor, target: int, axis: int) -> tf.Tensor:
        return tf.raw_ops.ScaleAndTranslate(
            images=images,
            size=[target, 1],
            scale=[float(scale[axis]), 1.0],
            translation=[0.0, 0.0],
            **options,
        )

    _resize_by_matrices(graph, node, resized)


#: images, target height, which axis of the original it stands for -> resized images
Kernel = Callable[["tf.Tensor", int, int], "tf.Tensor"]


def _plain_kernel(node: Node) -> Kernel:
    """Return TensorFlow's operator of the node's own kind, for a column of pixels."""
    import tensorflow as tf

    operator = getattr(tf.raw_ops, node.type)
    options = {"align_corners": bool(node.get_attr_value("align_corners", False))}
    if node.type != "ResizeArea":
        options["half_pixel_centers"] = bool(node.get_attr_value("half_pixel_centers", False))
    return lambda images, target, _: operator(images=images, size=[target, 1], **options)


def _fixed_sizes(graph: Graph, node: Node) -> tuple[int, int, int, int]:
    """Return height and width before, then after. Raises ValueError if they are not fixed."""
    shape = graph.get_shape(node.input[0])
    if shape is None or min(shape[1:]) < 1 or not node.inputs[1].is_const():
        method = node.get_attr_value("kernel_type", node.type.removeprefix("Resize").lower())
        method = method.decode() if isinstance(method, bytes) else method
        raise ValueError(
            f"resizing by {method} needs a fixed size before and after: give the input a fixed "
            "height and width, or resize by bilinear or nearest"
        )
    tall, wide = (int(size) for size in node.inputs[1].get_tensor_value())
    return int(shape[1]), int(shape[2]), tall, wide


def _scales_say_the_size(graph: Graph, node: Node) -> bool:
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


def _tf2onnx_resize(graph: Graph, node: Node) -> None:
    from tf2onnx.onnx_opset.nn import Resize

    Resize.version_11(graph, node)


def _evaluate(build: Callable[[], tf.Tensor]) -> np.ndarray:
    """Run TensorFlow operators now, although a graph is being converted around us."""
    import tensorflow as tf

    with tf.Graph().as_default() as aside:
        result = build()
        with tf.compat.v1.Session(graph=aside) as session:
            return np.asarray(session.run(result))


def _resize_by_matrices(graph: Graph, node: Node, kernel: Kernel) -> None:
    """Write [batch, h, w, c] -> [batch, H, W, c] as a product over rows and one over columns."""
    x, output = node.input[0], node.output[0]
    shape = graph.get_shape(x)
    height, width, tall, wide = _fixed_sizes(graph, node)
    channels = shape[3]

    def matrix(size: int, target: int, axis: int) -> np.ndarray:
        basis = np.eye(size, dtype=np.float32)[None, :, None, :]
        return _evaluate(lambda: kernel(basis, target, axis)).reshape(target, size)

    float32 = TensorProto.FLOAT
    if graph.get_dtype(x) != float32:
        x = make(graph, "Cast", [x], shape, float32, to=float32)
    flat = constant(graph, node, "flat", np.array([-1, height, width * channels], np.int64))
    x = make(graph, "Reshape", [x, flat], [shape[0], height, width * channels], float32)
    down = constant(graph, node, "rows", matrix(height, tall, 0))
    x = make(graph, "MatMul", [down, x], [shape[0], tall, width * channels], float32)
    unflat = constant(graph, node, "unflat", np.array([-1, tall, width, channels], np.int64))
    x = make(graph, "Reshape", [x, unflat], [shape[0], tall, width, channels], float32)
    across = constant(graph, node, "columns", matrix(width, wide, 1))
    graph.set_shape(output, [shape[0], tall, wide, channels])
    replace(graph, node, "MatMul", [across, x])
