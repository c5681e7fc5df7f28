"""MatMul and Add become one Gemm where, and only where, that is the same."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.convert.passes.gemm import matmul_add_to_gemm

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4) / 7 - 1
WEIGHT = np.arange(12, dtype=np.float32).reshape(4, 3) / 5 - 1


@pytest.mark.parametrize("bias", [np.array([1, 2, 3]), np.array([[1, 2, 3]]), np.array(4)])
@pytest.mark.parametrize("add", ["Add(p, b)", "Add(b, p)"])
def test_a_dense_layer_is_one_gemm(lab: Any, bias: np.ndarray, add: str) -> None:
    """Whatever form the bias has, and on either side; the one Gemm's is a vector."""
    model = lab.parse(
        "(float[N, 4] x) => (float[N, 3] y) { p = MatMul(x, w) y = " + add + " }",
        w=WEIGHT,
        b=bias.astype(np.float32),
    )

    assert lab.apply(matmul_add_to_gemm, model, {"x": ROWS})
    assert lab.operators(model) == ["Gemm"]
    used = {t.name: list(t.dims) for t in model.graph.initializer}
    assert used[model.graph.node[0].input[2]] == [3]


@pytest.mark.parametrize(
    ("graph", "constants"),
    [
        # three dimensions: Gemm takes matrices only
        (
            "(float[N, 3, 4] x) => (float[N, 3, 3] y) { p = MatMul(x, w) y = Add(p, b) }",
            {"w": WEIGHT, "b": np.ones(3, np.float32)},
        ),
        # a bias for each row: as many elements, and another meaning
        (
            "(float[3, 4] x) => (float[3, 3] y) { p = MatMul(x, w) y = Add(p, b) }",
            {"w": WEIGHT, "b": np.array([[1], [2], [3]], np.float32)},
        ),
        # a bias that makes a matrix of a vector's product
        (
            "(float[3, 4] x) => (float[3, 3] y) { p = MatMul(x, w) y = Add(p, b) }",
            {"w": WEIGHT[:, :1].copy(), "b": np.array([1, 2, 3], np.float32)},
        ),
        # a bias of three dimensions makes three of two
        (
            "(float[3, 4] x) => (float[1, 3, 3] y) { p = MatMul(x, w) y = Add(p, b) }",
            {"w": WEIGHT, "b": np.ones((1, 1, 3), np.float32)},
        ),
        # the product is an answer itself
        (
            "(float[3, 4] x) => (float[3, 3] p, float[3, 3] y) { p = MatMul(x, w) y = Add(p, b) }",
            {"w": WEIGHT, "b": np.ones(3, np.float32)},
        ),
        # the product is read twice, by one node and by two
        (
            "(float[3, 4] x) => (float[3, 3] y) { p = MatMul(x, w) y = Add(p, p) }",
            {"w": WEIGHT},
        ),
        (
            "(float[3, 4] x) => (float[3, 3] y){ p = MatMul(x, w) q = Add(p, b) y = Mul(p, q) }",
            {"w": WEIGHT, "b": np.ones(3, np.float32)},
        ),
        # nothing constant to the right, or nothing constant to add
        (
            "(float[3, 4] x, float[4, 3] w) => (float[3, 3] y) { p = MatMul(x, w) y = Add(p, b) }",
            {"b": np.ones(3, np.float32)},
        ),
        (
            "(float[3, 4] x) => (float[1, 1] y) { p = MatMul(x, w) y = ReduceSum(p) }",
            {"w": WEIGHT},
        ),
        (
            "(float[3, 4] x, float[3, 3] b) => (float[3, 3] y) { p = MatMul(x, w) y = Add(p, b) }",
            {"w": WEIGHT},
        ),
        # a vector times a matrix
        (
            "(float[3, 4] x) => (float[3] y) { p = MatMul(x, w) y = Add(p, b) }",
            {"w": WEIGHT[:, 0].copy(), "b": np.ones(1, np.float32)},
        ),
        # subtracting is not adding
        (
            "(float[3, 4] x) => (float[3, 3] y) { p = MatMul(x, w) y = Sub(p, b) }",
            {"w": WEIGHT, "b": np.ones(3, np.float32)},
        ),
    ],
)
def test_what_a_gemm_does_not_say_stays(lab: Any, graph: str, constants: dict[str, Any]) -> None:
    """Everything that looks alike and is not."""
    model = lab.parse(graph, **constants)
    random = np.random.default_rng(0)
    feeds = {
        value.name: random.normal(
            size=[d.dim_value or 2 for d in value.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for value in model.graph.input
    }

    assert not lab.apply(matmul_add_to_gemm, model, feeds)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 3),
    width=st.integers(1, 3),
    leading=st.lists(st.integers(1, 2), max_size=1),
    bias=st.lists(st.sampled_from([1, 2, 3]), max_size=2),
)
def test_any_product_and_sum_keeps_its_answer(
    lab: Any, rows: int, width: int, leading: list[int], bias: list[int]
) -> None:
    """Whatever the shapes: rewritten or left alone, the answers are equal."""
    shape = [*leading, rows, 2]
    try:
        out = np.broadcast_shapes((*leading, rows, width), bias)
    except ValueError:
        return  # no graph at all
    model = lab.parse(
        f"(float{shape} x) => (float{list(out)} y) {{ p = MatMul(x, w) y = Add(p, b) }}",
        w=np.arange(2 * width, dtype=np.float32).reshape(2, width),
        b=np.arange(int(np.prod(bias)), dtype=np.float32).reshape(bias),
    )
    lab.apply(matmul_add_to_gemm, model, {"x": np.random.default_rng(1).random(shape, np.float32)})
