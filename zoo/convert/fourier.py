"""Fourier transforms by ONNX's DFT (opset 17), complex numbers as pairs along a last axis of two.

    Complex, Cast, Conj           real and imaginary parts -> pairs
    FFT, IFFT, FFT2D, IFFT2D      DFT over the last one or two axes
    RFFT, IRFFT                   DFT of real numbers, and back: the half that RFFT leaves out is
                                  the conjugate of the other, from behind
    Real, Imag, ComplexAbs        pairs -> numbers

Other operators on complex numbers are refused by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from zoo.convert.nodes import Handler, constant, make, replace

if TYPE_CHECKING:
    from tf2onnx.graph import Graph, Node

FLOAT = TensorProto.FLOAT
COMPLEX = (TensorProto.COMPLEX64, TensorProto.COMPLEX128)


def _pairs(graph: Graph) -> set[str]:
    """Return the names of the tensors of a graph that are pairs."""
    names: set[str] = graph.__dict__.setdefault("zoo_pairs", set())
    return names


def _shape(graph: Graph, name: str) -> list[int]:
    """Return a tensor's dimensions. Raises ValueError where their number is not known."""
    shape = graph.get_shape(name)
    if shape is None:
        raise ValueError("a Fourier transform of a tensor with an unknown number of dimensions")
    return list(shape)


def _pair_of(graph: Graph, node: Node) -> str:
    """Return a node's first input, which has to be pairs."""
    name = str(node.input[0])
    if name not in _pairs(graph):
        raise ValueError(f"{node.type} of complex numbers from {node.inputs[0].type}")
    return name


def _is_pairs(graph: Graph, node: Node, shape: list[int]) -> None:
    """Mark a node's output as pairs, before it is replaced by one that makes them."""
    output = node.output[0]
    graph.set_dtype(output, FLOAT)
    graph.set_shape(output, [*shape, 2])
    _pairs(graph).add(output)
    known = {
        "Complex",
        "Cast",
        "Conj",
        "FFT",
        "IFFT",
        "FFT2D",
        "IFFT2D",
        "RFFT",
        "IRFFT",
        "Identity",
    }
    readers = {c.type for c in graph.find_output_consumers(output)}
    foreign = readers - known - {"Real", "Imag", "ComplexAbs"}
    if foreign:
        raise ValueError(f"complex numbers flow on into {', '.join(sorted(foreign))}")


def _unsqueezed(graph: Graph, node: Node, name: str, shape: list[int]) -> str:
    last = constant(graph, node, f"last_{name}".replace(":", "_"), np.array([-1], np.int64))
    return make(graph, "Unsqueeze", [name, last], [*shape, 1], FLOAT)


def _complex(graph: Graph, node: Node, name: str, _: object) -> None:
    real, imaginary = node.input
    shape = _shape(graph, real)
    parts = [_unsqueezed(graph, node, part, shape) for part in (real, imaginary)]
    _is_pairs(graph, node, shape)
    replace(graph, node, "Concat", parts, {"axis": -1})


def _cast(graph: Graph, node: Node, name: str, _: object) -> None:
    """A real number is a complex one with a zero; other casts are tf2onnx's."""
    if graph.get_dtype(node.output[0]) not in COMPLEX:
        from tf2onnx.onnx_opset.tensor import Cast

        Cast.version_9(graph, node)
        return
    x, shape = node.input[0], _shape(graph, node.input[0])
    if graph.get_dtype(x) != FLOAT:
        x = make(graph, "Cast", [x], shape, FLOAT, to=FLOAT)
    real = _unsqueezed(graph, node, x, shape)
    zero = constant(graph, node, "zero", np.zeros((), np.float32))
    imaginary = make(graph, "Mul", [real, zero], [*shape, 1], FLOAT)
    _is_pairs(graph, node, shape)
    replace(graph, node, "Concat", [real, imaginary], {"axis": -1})


def _conjugate(graph: Graph, node: Node, name: str, _: object) -> None:
    pair = _pair_of(graph, node)
    signs = constant(graph, node, "signs", np.array([1, -1], np.float32))
    _is_pairs(graph, node, _shape(graph, pair)[:-1])
    replace(graph, node, "Mul", [pair, signs])


def _check_opset(graph: Graph, node: Node) -> None:
    if graph.opset < 17:
        raise ValueError(f"{node.type} needs ONNX's DFT operator, which exists from opset 17 on")
    if graph.opset >= 20:
        raise ValueError("DFT-20 takes its axis as an input")  # from_function stops at 18


def _fft(axes: int, *, inverse: bool) -> Handler:
    """Return the handler of a transform over the last axes."""

    def handler(graph: Graph, node: Node, name: str, _: object) -> None:
        _check_opset(graph, node)
        pair = _pair_of(graph, node)
        shape = _shape(graph, pair)
        _is_pairs(graph, node, shape[:-1])
        rank = len(shape) - 1
        for axis in range(rank - axes, rank - 1):
            pair = make(graph, "DFT", [pair], shape, FLOAT, axis=axis, inverse=int(inverse))
        replace(graph, node, "DFT", [pair], {"axis": rank - 1, "inverse": int(inverse)})

    return handler


def _points(node: Node) -> int:
    length = node.inputs[1].get_tensor_value()
    (points,) = length if isinstance(length, list) else [length]
    return int(points)


def _rfft(graph: Graph, node: Node, name: str, _: object) -> None:
    """DFT gives [..., n/2+1, 2]."""
    _check_opset(graph, node)
    points, x = _points(node), node.input[0]
    shape = _shape(graph, x)
    x = _unsqueezed(graph, node, x, shape)
    count = constant(graph, node, "points", np.array(points, np.int64))
    _is_pairs(graph, node, [*shape[:-1], points // 2 + 1])
    replace(graph, node, "DFT", [x, count], {"axis": len(shape) - 1, "onesided": 1})


def _irfft(graph: Graph, node: Node, name: str, _: object) -> None:
    """The other half is there again, then DFT back, of which the real part is all there is."""
    _check_opset(graph, node)
    points, pair = _points(node), _pair_of(graph, node)
    shape = _shape(graph, pair)
    axis, half = len(shape) - 2, points // 2 + 1
    if shape[axis] != half:
        raise ValueError(f"IRFFT of {shape[axis]} frequencies to {points} points")
    order = np.array([*range(half), *range(points - half, 0, -1)], np.int64)
    signs = np.ones((points, 2), np.float32)
    signs[half:, 1] = -1
    wide = [*shape[:axis], points, 2]
    indices = constant(graph, node, "order", order)
    whole = make(graph, "Gather", [pair, indices], wide, FLOAT, axis=axis)
    whole = make(graph, "Mul", [whole, constant(graph, node, "signs", signs)], wide, FLOAT)
    back = make(graph, "DFT", [whole], wide, FLOAT, axis=axis, inverse=1)
    part = constant(graph, node, "part", np.array(0, np.int64))
    replace(graph, node, "Gather", [back, part], {"axis": -1})


def _part(index: int) -> Handler:
    def handler(graph: Graph, node: Node, name: str, _: object) -> None:
        pair = _pair_of(graph, node)
        part = constant(graph, node, "part", np.array(index, np.int64))
        replace(graph, node, "Gather", [pair, part], {"axis": -1})

    return handler


def _magnitude(graph: Graph, node: Node, name: str, _: object) -> None:
    """|re + i im|, the length along the last axis."""
    pair = _pair_of(graph, node)
    if graph.opset >= 18:
        last = constant(graph, node, "last", np.array([-1], np.int64))
        replace(graph, node, "ReduceL2", [pair, last], {"keepdims": 0})
    else:
        replace(graph, node, "ReduceL2", [pair], {"axes": [-1], "keepdims": 0})


HANDLERS = {
    "Complex": _complex,
    "Cast": _cast,
    "Conj": _conjugate,
    "FFT": _fft(1, inverse=False),
    "IFFT": _fft(1, inverse=True),
    "FFT2D": _fft(2, inverse=False),
    "IFFT2D": _fft(2, inverse=True),
    "RFFT": _rfft,
    "IRFFT": _irfft,
    "Real": _part(0),
    "Imag": _part(1),
    "ComplexAbs": _magnitude,
}
