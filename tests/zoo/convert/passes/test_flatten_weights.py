"""Transpose, Reshape and a product become Reshape and a product with reordered rows, if a flatten."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.convert.passes.flatten_weights import permute_rows_after_flatten

ROWS = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
WEIGHT = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
SQUARE = np.random.default_rng(2).normal(size=(60, 60)).astype(np.float32)

FLATTEN = (
    "(float[N, 3, 4, 5] x) => (float[N, 3] y)"
    "{{ t = Transpose<perm=[{perm}]>(x) r = Reshape(t, s) y = {product} }}"
)


@pytest.mark.parametrize("rest", list(itertools.permutations([1, 2, 3])))
@pytest.mark.parametrize("product", ["MatMul(r, w)", "Gemm(r, w, b)", "Gemm<beta=2.0>(r, w, b)"])
def test_the_flatten_of_an_image_needs_no_transpose(
    lab: Any, rest: tuple[int, ...], product: str
) -> None:
    """In every order of the axes; five of the six reorder rows, and a wrong one would show."""
    perm = ", ".join(map(str, (0, *rest)))
    constants = {"b": np.ones(3, np.float32)} if "b" in product else {}
    model = lab.parse(
        FLATTEN.format(perm=perm, product=product),
        s=np.array([-1, 60]),
        w=WEIGHT,
        **constants,
    )

    assert lab.apply(permute_rows_after_flatten, model, {"x": ROWS})
    assert lab.operators(model) == ["Reshape", product.partition("(")[0].partition("<")[0]]


@pytest.mark.parametrize("target", [[-1, 60], [0, 60], [2, 60]])
def test_every_way_to_say_flatten_is_known(lab: Any, target: list[int]) -> None:
    """-1, 0, or the batch itself where it is fixed."""
    text = FLATTEN.format(perm="0, 2, 3, 1", product="MatMul(r, w)")
    model = lab.parse(text.replace("N", "2"), s=np.array(target), w=WEIGHT)

    assert lab.apply(permute_rows_after_flatten, model, {"x": ROWS})


@pytest.mark.parametrize(
    ("graph", "target", "weight"),
    [
        # the batch moves
        (
            "(float[2, 3, 4, 5] x) => (float[5, 3] y)"
            "{ t = Transpose<perm=[3, 1, 2, 0]>(x) r = Reshape(t, s) y = MatMul(r, w) }",
            [-1, 24],
            WEIGHT[:24],
        ),
        # ConvNeXt's: more than one axis is left
        (
            "(float[N, 3, 4, 5] x) => (float[N, 4, 3] y)"
            "{ t = Transpose<perm=[0, 2, 3, 1]>(x) r = Reshape(t, s) y = MatMul(r, w) }",
            [-1, 4, 15],
            WEIGHT[:15],
        ),
        # the batch is not kept: two rows of an image each
        (
            "(float[N, 3, 4, 5] x) => (float[M, 3] y)"
            "{ t = Transpose<perm=[0, 2, 3, 1]>(x) r = Reshape(t, s) y = MatMul(r, w) }",
            [-1, 30],
            WEIGHT[:30],
        ),
        # a size that is not known
        (
            "(float[N, 3, H, 5] x) => (float[N, 3] y)"
            "{ t = Transpose<perm=[0, 2, 3, 1]>(x) r = Reshape(t, s) y = MatMul(r, w) }",
            [-1, 60],
            WEIGHT,
        ),
        # the transposed image is an answer itself
        (
            "(float[N, 3, 4, 5] x) => (float[N, 4, 5, 3] t, float[N, 3] y)"
            "{ t = Transpose<perm=[0, 2, 3, 1]>(x) r = Reshape(t, s) y = MatMul(r, w) }",
            [-1, 60],
            WEIGHT,
        ),
        # the flat image is
        (
            "(float[N, 3, 4, 5] x) => (float[N, 60] r, float[N, 3] y)"
            "{ t = Transpose<perm=[0, 2, 3, 1]>(x) r = Reshape(t, s) y = MatMul(r, w) }",
            [-1, 60],
            WEIGHT,
        ),
        # what follows is no product
        (
            "(float[N, 3, 4, 5] x) => (float[N, 60] y)"
            "{ t = Transpose<perm=[0, 2, 3, 1]>(x) r = Reshape(t, s) y = Relu(r) }",
            [-1, 60],
            None,
        ),
        # the product has the image to its right
        (
            "(float[2, 3, 4, 5] x) => (float[60, 60] y)"
            "{ t = Transpose<perm=[0, 2, 3, 1]>(x) r = Reshape(t, s) y = MatMul(w, r) }",
            [-1, 60],
            WEIGHT[:, :2],
        ),
        # Gemm transposes the weight, or the image
        (
            "(float[N, 3, 4, 5] x) => (float[N, 60] y)"
            "{ t = Transpose<perm=[0, 2, 3, 1]>(x) r = Reshape(t, s) y = Gemm<transB=1>(r, w) }",
            [-1, 60],
            SQUARE,
        ),
        (
            "(float[60, 3, 4, 5] x) => (float[60, 3] y)"
            "{ t = Transpose<perm=[0, 2, 3, 1]>(x) r = Reshape(t, s) y = Gemm<transA=1>(r, w) }",
            [60, 60],
            WEIGHT,
        ),
        # a stack of as many weights as there are rows
        (
            "(float[N, 3, 4, 5] x) => (float[60, N, 1] y)"
            "{ t = Transpose<perm=[0, 2, 3, 1]>(x) r = Reshape(t, s) y = MatMul(r, w) }",
            [-1, 60],
            SQUARE[:, :, None],
        ),
        # one image as a vector
        (
            "(float[1, 3, 4, 5] x) => (float[3] y)"
            "{ t = Transpose<perm=[0, 2, 3, 1]>(x) r = Reshape(t, s) y = MatMul(r, w) }",
            [-1],
            WEIGHT,
        ),
    ],
)
def test_what_is_no_flatten_stays(
    lab: Any, graph: str, target: list[int], weight: np.ndarray | None
) -> None:
    """Everything that looks alike and is not."""
    constants = {} if weight is None else {"w": np.array(weight, order="C")}
    model = lab.parse(graph, s=np.array(target), **constants)
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 2
    rows = (
        np.resize(ROWS, (batch, 3, 4, 5)) + np.arange(batch, dtype=np.float32)[:, None, None, None]
    )

    assert not lab.apply(permute_rows_after_flatten, model, {"x": rows})


def test_what_is_fed_is_not_reordered(lab: Any) -> None:
    """A weight or a shape that is an input is known to nobody yet."""
    flatten = FLATTEN.format(perm="0, 2, 3, 1", product="MatMul(r, w)")
    for name, kind, value in (
        ("w", "float[60, 3]", WEIGHT),
        ("s", "int64[2]", np.array([-1, 60])),
    ):
        constants = {"w": WEIGHT, "s": np.array([-1, 60])}
        del constants[name]
        model = lab.parse(flatten.replace("5] x)", f"5] x, {kind} {name})"), **constants)

        assert not lab.apply(permute_rows_after_flatten, model, {"x": ROWS, name: value})


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    data=st.data(),
)
def test_any_order_of_any_axes_keeps_its_answer(lab: Any, sizes: list[int], data: Any) -> None:
    """Ranks three to five, the batch first or not: rewritten or left alone, answers are equal."""
    shape = [2, *sizes]
    perm = data.draw(st.permutations(range(len(shape))))
    moved = [shape[axis] for axis in perm]
    rest = int(np.prod(moved[1:]))
    model = lab.parse(
        f"(float{shape} x) => (float[{moved[0]}, 2] y)"
        f"{{ t = Transpose<perm={list(perm)}>(x) r = Reshape(t, s) y = MatMul(r, w) }}",
        s=np.array([-1, rest]),
        w=np.random.default_rng(2).normal(size=(rest, 2)).astype(np.float32),
    )
    feeds = {"x": np.random.default_rng(3).normal(size=shape).astype(np.float32)}

    assert lab.apply(permute_rows_after_flatten, model, feeds) == (perm[0] == 0)
