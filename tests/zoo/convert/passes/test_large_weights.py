"""Layout and scale are folded into weights without values as into others: the answers are the same."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from zoo.convert.passes.clean import clean
from zoo.convert.passes.large_weights import LargeWeights, is_large

RANDOM = np.random.default_rng(0)

GRAPHS = {
    "transposed": ("(float[n, 4] x) => (float[n, 6] y) { t = Transpose<perm=[1, 0]>(w) y = MatMul(x, t) }", (6, 4), 1),
    "reshaped": ("(float[n, 4] x) => (float[n, 6] y) { t = Reshape(w, s) y = MatMul(x, t) }", (2, 2, 6), 1),
    "kernel": (
        "(float[n, 2, 5, 5] x) => (float[n, 3, 3, 3] y) "
        "{ t = Transpose<perm=[3, 2, 0, 1]>(w) c = Conv(x, t) m = Mul(c, f) y = Add(m, d) }",
        (3, 3, 2, 3),
        1,
    ),
    "kernel with bias": (
        "(float[n, 2, 5, 5] x) => (float[n, 3, 3, 3] y) { c = Conv(x, w, b) m = Mul(f, c) y = Add(d, m) }",
        (3, 2, 3, 3),
        1,
    ),
    "scale that others read": (
        "(float[n, 2, 5, 5] x) => (float[n, 3, 3, 3] y) { c = Conv(x, w) m = Mul(c, f) y = Add(m, c) }",
        (3, 2, 3, 3),
        3,
    ),
    "read twice": (
        "(float[n, 4] x) => (float[n, 4] y) { t = Transpose<perm=[1, 0]>(w) h = MatMul(x, t) y = MatMul(h, w) }",
        (6, 4),
        3,
    ),
    "an image's rows": (
        "(float[n, 2, 2, 3] x) => (float[n, 5] y) "
        "{ t = Transpose<perm=[0, 2, 3, 1]>(x) r = Reshape(t, flat) y = MatMul(r, w) }",
        (12, 5),
        2,
    ),
}  # fmt: skip

SIZES = {"n": 2}


@pytest.mark.parametrize("name", GRAPHS)
def test_answers_stay(lab: Any, name: str) -> None:
    """And so many nodes are left."""
    text, dims, left = GRAPHS[name]
    constants = {
        "s": np.array([4, 6]),
        "flat": np.array([-1, 12]),
        "b": RANDOM.normal(size=3).astype(np.float32),
        "f": RANDOM.normal(size=(3, 1, 1)).astype(np.float32),
        "d": RANDOM.normal(size=(1, 3, 1, 1)).astype(np.float32),
    }
    weight = RANDOM.normal(size=dims).astype(np.float32)
    model = lab.parse(text, w=weight, **constants)
    shape = [
        SIZES.get(d.dim_param, d.dim_value) for d in model.graph.input[0].type.tensor_type.shape.dim
    ]
    feeds = {"x": RANDOM.normal(size=shape).astype(np.float32)}
    (expected,) = ReferenceEvaluator(model).run(None, feeds)

    large = LargeWeights()
    for tensor in model.graph.initializer:
        if tensor.name == "w":
            tensor.CopyFrom(large.add("w", dims, TensorProto.FLOAT, lambda: weight))
    clean(model, large)
    assert len(model.graph.node) == left
    for tensor in model.graph.initializer:
        if is_large(tensor):
            tensor.CopyFrom(numpy_helper.from_array(large.read(tensor), tensor.name))
    onnx.checker.check_model(model)
    (given,) = ReferenceEvaluator(model).run(None, feeds)

    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)


def test_values_that_do_not_fit_are_refused() -> None:
    """A pass that derives the wrong dimensions would write a file that nobody can read."""
    large = LargeWeights()
    tensor = large.add("w", (2, 3), TensorProto.FLOAT, lambda: np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="w is"):
        large.read(tensor)
