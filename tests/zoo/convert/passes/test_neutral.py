"""What adds 0, multiplies by 1 or is an Identity goes, unless it changes a shape or is a name."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.convert.passes.neutral import drop_neutral

ROWS = np.array([[1.5, -2.0, 0.0], [-0.5, 4.0, np.inf]], np.float32)


@pytest.mark.parametrize(
    ("node", "constant"),
    [
        ("m = Add(a, c)", 0),
        ("m = Add(c, a)", 0),
        ("m = Sub(a, c)", 0),
        ("m = Mul(a, c)", 1),
        ("m = Mul(c, a)", 1),
        ("m = Div(a, c)", 1),
        ("m = Identity(a)", 0),
    ],
)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (3,), (1, 3)])
def test_what_does_nothing_goes(lab: Any, node: str, constant: int, shape: tuple[int, ...]) -> None:
    """A scalar, one element, or a whole row of them."""
    model = lab.parse(
        "(float[N, 3] x) => (float[N, 3] y) { a = Neg(x) " + node + " y = Relu(m) }",
        c=np.full(shape, constant, np.float32),
    )

    assert lab.apply(drop_neutral, model, {"x": ROWS})
    assert lab.operators(model) == ["Neg", "Relu"]


@pytest.mark.parametrize(
    ("node", "constant"),
    [
        ("m = Sub(c, a)", np.zeros(1)),  # the other way round it is Neg
        ("m = Div(c, a)", np.ones(1)),
        ("m = Add(a, c)", np.array([0, 0, 1])),  # not all of it
        ("m = Mul(a, c)", np.zeros(1)),
        ("m = Pow(a, c)", np.full(1, 2)),
        ("m = Add(a, c)", np.full(1, 1e-30)),
    ],
)
def test_what_does_something_stays(lab: Any, node: str, constant: np.ndarray) -> None:
    """The neutral value of another operator, or of one side only, is none."""
    model = lab.parse(
        "(float[N, 3] x) => (float[N, 3] y) { a = Neg(x) " + node + " y = Relu(m) }",
        c=constant.astype(np.float32),
    )

    assert not lab.apply(drop_neutral, model, {"x": ROWS})


@pytest.mark.parametrize(
    ("shape", "out"),
    [((1, 1, 1), "1, N, 3"), ((2, 1, 1), "2, N, 3"), ((2, 3), "2, 3")],
)
def test_what_widens_stays(lab: Any, shape: tuple[int, ...], out: str) -> None:
    """Adding zeros of more dimensions, or more rows, makes another shape."""
    model = lab.parse(
        "(float[N, 3] x) => (float[" + out + "] y) { a = Neg(x) m = Add(a, c) y = Relu(m) }",
        c=np.zeros(shape, np.float32),
    )

    assert not lab.apply(drop_neutral, model, {"x": ROWS[:1]})


def test_nothing_of_an_unknown_rank_is_widened(lab: Any) -> None:
    """Where inference finds no rank, only a scalar is sure to keep it."""
    for constant, gone in ((np.zeros((1,)), False), (np.zeros(()), True)):
        model = lab.parse(
            "(float[N, 3] x, int64[K] s) => (float[M] y)"
            "{ a = Reshape(x, s) m = Add(a, c) y = Flatten<axis=0>(m) }".replace(
                "y = Flatten<axis=0>(m)", "n = Neg(m) y = Reshape(n, whole)"
            ),
            c=constant.astype(np.float32),
            whole=np.array([-1]),
        )
        feeds = {"x": ROWS, "s": np.array([6])}

        assert lab.apply(drop_neutral, model, feeds) is gone


def test_a_name_of_the_face_is_kept(lab: Any) -> None:
    """An answer that is an input, and one value under two names, need their Identity."""
    for graph in (
        "(float[N, 3] x) => (float[N, 3] y) { y = Identity(x) }",
        "(float[N, 3] x) => (float[N, 3] y, float[N, 3] z) { y = Neg(x) z = Identity(y) }",
        "(float[N, 3] x) => (float[N, 3] y, float[N, 3] z)"
        "{ a = Neg(x) y = Identity(a) z = Relu(a) }",
    ):
        model = lab.parse(graph)
        names = [value.name for value in model.graph.output]

        assert not lab.apply(drop_neutral, model, {"x": ROWS})
        assert [value.name for value in model.graph.output] == names


def test_the_last_identity_goes_where_the_name_can_move(lab: Any) -> None:
    """The node before it gives the answer its name."""
    model = lab.parse("(float[N, 3] x) => (float[N, 3] y) { a = Neg(x) y = Identity(a) }")

    assert lab.apply(drop_neutral, model, {"x": ROWS})
    assert lab.operators(model) == ["Neg"]


def test_what_a_nested_graph_reads_is_kept(lab: Any) -> None:
    """Readers inside are not rewritten, so the value they know stays."""
    model = lab.parse(
        "(float[1, 3] x, bool b) => (float[1, 3] y)"
        "{ a = Neg(x) m = Identity(a) y = If (b) <"
        "then_branch = yes () => (float[1, 3] t) { t = Relu(m) },"
        "else_branch = no () => (float[1, 3] e) { e = Abs(m) }> }"
    )
    feeds = [{"x": ROWS[:1], "b": np.array(flag)} for flag in (True, False)]

    assert not lab.apply(drop_neutral, model, *feeds)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["Add", "Sub", "Mul", "Div"]),
    value=st.sampled_from([0.0, 1.0, 2.0]),
    left=st.booleans(),
    shape=st.lists(st.sampled_from([1, 2, 3]), max_size=3),
    source=st.lists(st.sampled_from([1, 2, 3]), max_size=3),
)
def test_any_constant_keeps_the_answer(
    lab: Any, kind: str, value: float, left: bool, shape: list[int], source: list[int]
) -> None:
    """Whatever the shapes and the side: rewritten or left alone, answers and shapes are equal."""
    try:
        out = list(np.broadcast_shapes(shape, source))
    except ValueError:
        return  # no graph at all
    node = f"m = {kind}(c, a)" if left else f"m = {kind}(a, c)"
    model = lab.parse(
        f"(float{source or ''} x) => (float{out or ''} y) {{ a = Neg(x) {node} y = Abs(m) }}",
        c=np.full(shape, value, np.float32),
    )
    values = 1 + np.arange(int(np.prod(source)), dtype=np.float32)
    feeds = {"x": values.reshape(source)}
    lab.apply(drop_neutral, model, feeds)
