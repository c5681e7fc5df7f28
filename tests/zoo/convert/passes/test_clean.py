"""The passes in their order: each states its condition, and together they come to rest."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnx.parser
import pytest

from zoo.convert.passes.clean import PASSES, clean

TUTORIAL = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 4, 4, 1] image) => (float[N, 2] y)
<float[2, 1, 1, 1] kernel = {1, 2}, float[32, 2] dense = {%s}, float[2] bias = {1, 2},
 float zero = {0}, int64[1] rest = {32}, int64[1] first = {0}, int64[1] second = {1}>
{
    x = Add(image, zero)
    moved = Transpose<perm = [0, 3, 1, 2]>(x)
    conv = Conv(moved, kernel)
    back = Transpose<perm = [0, 2, 3, 1]>(conv)
    shape = Shape(back)
    batch = Slice(shape, first, second)
    target = Concat<axis = 0>(batch, rest)
    flat = Reshape(back, target)
    product = MatMul(flat, dense)
    y = Add(product, bias)
}
"""


@pytest.mark.parametrize("run", PASSES, ids=lambda run: run.__name__)
def test_a_pass_states_when_it_is_right(run) -> None:
    """A rewrite without a condition is a rewrite that somebody's graph refutes."""
    assert "Right " in (sys.modules[run.__module__].__doc__ or "")


def test_a_flatten_of_an_image_ends_as_one_would_write_it() -> None:
    """Every pass has its part: no addition of 0, no shape arithmetic, one Transpose, one Gemm."""
    model = onnx.parser.parse_model(TUTORIAL % ", ".join(map(str, range(64))))
    feeds = {"image": np.random.default_rng(1).normal(size=(3, 4, 4, 1)).astype(np.float32)}
    (before,) = onnx.reference.ReferenceEvaluator(model).run(None, feeds)
    clean(model)
    (after,) = onnx.reference.ReferenceEvaluator(model).run(None, feeds)

    assert [node.op_type for node in model.graph.node] == ["Transpose", "Conv", "Reshape", "Gemm"]
    np.testing.assert_allclose(after, before, rtol=1e-5)


def test_a_clean_graph_stays_as_it_is() -> None:
    """Running the passes again changes nothing."""
    model = onnx.parser.parse_model(TUTORIAL % ", ".join(map(str, range(64))))
    clean(model)
    once = model.SerializeToString(deterministic=True)
    clean(model)

    assert model.SerializeToString(deterministic=True) == once
