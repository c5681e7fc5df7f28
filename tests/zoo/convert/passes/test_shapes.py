"""Shape arithmetic becomes constant where inference knows the answer, and stays where it does not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.convert.passes.shapes import constant_target, fold_shapes

SHAPE_OF = "s = Shape(x)"
PIXELS = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)


def _constant_shape(lab: Any, model: Any) -> list[int] | None:
    """Return the target of the graph's one Reshape, if it is a constant."""
    (reshape,) = [node for node in model.graph.node if node.op_type == "Reshape"]
    tensors = [t for t in model.graph.initializer if t.name == reshape.input[1]]
    return [int(v) for v in np.frombuffer(tensors[0].raw_data, np.int64)] if tensors else None


def test_the_flatten_of_keras_is_a_constant(lab: Any) -> None:
    """The batch, taken from the shape, joined with what is known: -1."""
    model = lab.parse(
        "(float[N, 3, 4] x) => (float[N, 12] y)"
        "{ s = Shape(x) i = Cast<to=6>(s) b = Slice(i, zero, one) t = Concat<axis=0>(b, rest)"
        " l = Cast<to=7>(t) y = Reshape(x, l) }",
        zero=np.array([0]),
        one=np.array([1]),
        rest=np.array([12], np.int32),
    )

    assert lab.apply(fold_shapes, model, {"x": PIXELS}, {"x": PIXELS[:1]})
    assert lab.operators(model) == ["Reshape"]
    assert _constant_shape(lab, model) == [-1, 12]


def test_two_open_sizes_are_copied_where_they_stay_in_place(lab: Any) -> None:
    """0 copies the input's own dimension, and one -1 is left for the other."""
    model = lab.parse(
        "(float[N, T, 4] x) => (float[N, T, 2, 2] y)"
        "{ s = Shape(x) b = Slice(s, zero, two) t = Concat<axis=0>(b, rest) y = Reshape(x, t) }",
        zero=np.array([0]),
        two=np.array([2]),
        rest=np.array([2, 2]),
    )

    assert lab.apply(fold_shapes, model, {"x": PIXELS}, {"x": PIXELS[:1, :2]})
    assert _constant_shape(lab, model) == [0, -1, 2, 2]


@pytest.mark.parametrize(
    ("graph", "constants"),
    [
        # two open sizes change places: neither is the input's own there
        (
            "(float[N, T, 4] x) => (float[T, N, 4] y)"
            "{ s = Shape(x) t = Gather(s, order) y = Reshape(x, t) }",
            {"order": np.array([1, 0, 2])},
        ),
        # a shape that is fed
        ("(float[N, T, 4] x, int64[2] t) => (float[A, B] y) { y = Reshape(x, t) }", {}),
        # allowzero gives 0 another meaning
        (
            "(float[N, T, 4] x) => (float[A, B, 2, 2] y)"
            "{ s = Shape(x) b = Slice(s, zero, two) t = Concat<axis=0>(b, rest)"
            " y = Reshape<allowzero=1>(x, t) }",
            {"zero": np.array([0]), "two": np.array([2]), "rest": np.array([2, 2])},
        ),
        # a size that is multiplied
        (
            "(float[N, T, 4] x) => (float[A, B] y)"
            "{ s = Shape(x) b = Slice(s, zero, two) d = Mul(b, factors) y = Reshape(x, d) }",
            {"zero": np.array([0]), "two": np.array([2]), "factors": np.array([4, 1])},
        ),
    ],
)
def test_what_is_not_decided_stays(lab: Any, graph: str, constants: dict[str, Any]) -> None:
    """Two unknowns cannot both be -1."""
    model = lab.parse(graph, **constants)
    feeds = {"x": PIXELS}
    if len(model.graph.input) == 2:
        feeds["t"] = np.array([6, 4])

    assert not lab.apply(fold_shapes, model, feeds)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("e = Gather(s, one)", [3]),
        ("e = Gather(s, last)", [4]),
        ("e = Slice(s, one, ends)", [3, 4]),
        ("e = Slice(s, last, start, zero, last)", [4, 3]),
        ("p = Slice(s, one, ends) q = ReduceProd<keepdims=1>(p) e = Identity(q)", [12]),
        ("g = Gather(s, one) e = Add(g, one)", [4]),
        ("g = Gather(s, one) e = Sub(one, g)", [-2]),
        ("g = Slice(s, one, ends) e = Mul(g, last)", [-3, -4]),
        ("g = Slice(s, one, ends) e = Mul(last, g)", [-3, -4]),
        ("g = Gather(s, one) u = Unsqueeze(g, zero) e = Squeeze(u, zero)", [3]),
        ("c = Shape<start=1>(x) e = Identity(c)", [3, 4]),
        ("c = Shape<start=-2, end=-1>(x) e = Identity(c)", [3]),
        ("f = Cast<to=1>(s) c = Cast<to=7>(f) e = Gather(c, one)", [3]),
        ("b = Cast<to=9>(s) c = Cast<to=7>(b) e = Gather(c, one)", [1]),
    ],
)
def test_every_known_part_has_its_value(lab: Any, expression: str, value: list[int]) -> None:
    """What the arithmetic gives is what onnxruntime computes; the answer is judged, not the rule."""
    model = lab.parse(
        f"(float[N, 3, 4] x) => (int64{[len(value)]} y) {{ {SHAPE_OF} {expression} y = Abs(e) }}",
        zero=np.array([0]),
        one=np.array([1]),
        last=np.array([-1]),
        ends=np.array([np.iinfo(np.int64).max]),
        start=np.array([0]),
    )
    lab.apply(fold_shapes, model, {"x": PIXELS})

    (answer,) = lab.run(model, {"x": PIXELS})
    assert answer.tolist() == [abs(v) for v in value]
    if "to=9" not in expression:
        assert lab.operators(model) == ["Abs"]


def test_the_type_of_a_shape_is_kept(lab: Any) -> None:
    """int32 stays int32; what is cast to a float is no integer."""
    for cast, dtype in ((6, "int32"), (7, "int64"), (1, "float")):
        model = lab.parse(
            f"(float[N, 3] x) => ({dtype}[1] y)"
            f"{{ s = Shape(x) c = Cast<to={cast}>(s) e = Gather(c, one) y = Neg(e) }}",
            one=np.array([1]),
        )
        lab.apply(fold_shapes, model, {"x": PIXELS[0, :, :3].copy()})

        assert (len(model.graph.node) == 1) is (dtype != "float")


def test_rows_of_indices_are_not_taken_for_a_list(lab: Any) -> None:
    """Arithmetic is followed for lists and numbers alone: a table of sizes has another order."""
    model = lab.parse(
        "(float[N, 3, 4] x) => (int64[1, 2] y)"
        "{ s = Shape(x) t = Gather(s, places) r = Gather<axis=0>(t, zero) y = Neg(r) }",
        places=np.array([[1, 2], [2, 1]]),
        zero=np.array([1]),
    )
    lab.apply(fold_shapes, model, {"x": PIXELS})


def test_sums_that_make_a_table_are_not_taken_for_a_list(lab: Any) -> None:
    """A column and a row of two sizes make four sums."""
    model = lab.parse(
        "(float[N, 3, 4] x) => (int64[2, 2] y)"
        "{ s = Shape(x) p = Slice(s, one, ends) c = Unsqueeze(p, one) r = Unsqueeze(p, zero)"
        " t = Add(c, r) y = Neg(t) }",
        zero=np.array([0]),
        one=np.array([1]),
        ends=np.array([3]),
    )
    lab.apply(fold_shapes, model, {"x": PIXELS})

    (answer,) = lab.run(model, {"x": PIXELS})
    assert answer.tolist() == [[-6, -7], [-7, -8]]


@pytest.mark.parametrize(
    ("parts", "source", "target"),
    [
        ([12], None, [12]),
        ([None, 12], None, [-1, 12]),
        (["N", 12], ("N", 3, 4), [-1, 12]),
        ([-1, 12], None, [-1, 12]),
        (["N", "T", 4], ("N", "T", 4), [0, -1, 4]),
        (["N", "T", 4], ("T", "N", 4), None),
        (["N", None, 4], ("N", None, 4), [0, -1, 4]),
        ([None, "T", 4], (None, "T", 4), [-1, 0, 4]),
        ([None, None], (None, None), None),
        (["N", "T"], ("N",), [0, -1]),
        (["N", "T"], None, None),
        ([0, 12], None, None),
        ([0, "N"], ("A", "N"), None),
    ],
)
def test_the_target_of_a_reshape(
    parts: list[Any], source: tuple[Any, ...] | None, target: list[int] | None
) -> None:
    """Known sizes, at most one -1, and 0 only where the input has the same symbol."""
    assert constant_target(parts, source) == target


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.sampled_from(["A", "B", 2, 3]), min_size=1, max_size=4),
    data=st.data(),
)
def test_any_rearranged_shape_keeps_the_answer(lab: Any, sizes: list[Any], data: Any) -> None:
    """A Reshape to the input's own sizes in any order, some joined: equal answers at two sizes."""
    order = data.draw(st.permutations(range(len(sizes))))
    joined = data.draw(st.integers(0, len(sizes) - 1))
    free = ", ".join(f"o{i}" for i in range(len(sizes) - joined))
    model = lab.parse(
        f"(float[{', '.join(map(str, sizes))}] x) => (float[{free}] y)"
        "{ s = Shape(x) m = Gather(s, order) a = Slice(m, zero, cut) b = Slice(m, cut, ends)"
        " p = ReduceProd<keepdims=1>(b) t = Concat<axis=0>(a, p) y = Reshape(x, t) }",
        order=np.array(order),
        zero=np.array([0]),
        cut=np.array([len(sizes) - joined - 1]),
        ends=np.array([np.iinfo(np.int64).max]),
    )
    feeds = []
    for a, b in ((4, 5), (1, 6)):
        shape = [{"A": a, "B": b}.get(size, size) for size in sizes]
        feeds.append({"x": np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)})

    lab.apply(fold_shapes, model, *feeds)
