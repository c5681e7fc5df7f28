"""Constants of constants are computed once, as onnxruntime would compute them every time."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from zoo.convert.passes.folding import FOLDED, fold_constants
from zoo.convert.passes.view import SMALL, View

ONE = {"x": np.ones((), np.float32)}


def test_a_chain_of_constants_is_one(lab: Any) -> None:
    """Sizes computed in floating point, as CenterCrop does, end as numbers."""
    model = lab.parse(
        "(float[1, 8] x) => (float[1, 5] y)"
        "{ f = Cast<to=1>(a) h = Div(f, two) r = Floor(h) i = Cast<to=7>(r) e = Add(i, five)"
        " y = Slice(x, i, e, axis) }",
        a=np.array([7]),
        two=np.array(2, np.float32),
        five=np.array(5),
        axis=np.array([1]),
    )
    feeds = {"x": np.arange(8, dtype=np.float32)[None]}

    assert lab.apply(fold_constants, model, feeds)
    assert lab.operators(model) == ["Slice"]


@pytest.mark.parametrize(
    ("graph", "constants"),
    [
        ("(float x) => (float y) { a = Neg(x) y = Add(a, c) }", {"c": np.float32(1)}),
        # an answer keeps its name
        ("(float x) => (float z, float y) { z = Neg(c) y = Add(z, x) }", {"c": np.float32(1)}),
        # too large to be worth it, going in or coming out
        (
            "(float x) => (float y) { a = Neg(c) s = ReduceSum<keepdims=0>(a) y = Add(s, x) }",
            {"c": np.ones(SMALL + 1, np.float32)},
        ),
        (
            "(float x) => (float y) { a = Range(zero, c, one) f = Cast<to=1>(a)"
            " s = ReduceSum<keepdims=0>(f) y = Add(s, x) }",
            {"zero": np.array(0), "c": np.array(SMALL + 1), "one": np.array(1)},
        ),
        (
            "(float x) => (float y) { a = Gather(c, zero) y = Add(a, x) }",
            {"zero": np.array(0), "c": np.ones(SMALL + 1, np.float32)},
        ),
    ],
)
def test_what_is_not_constant_or_not_small_stays(
    lab: Any, graph: str, constants: dict[str, Any]
) -> None:
    """And nothing that people know by name."""
    model = lab.parse(graph, **constants)

    assert not lab.apply(fold_constants, model, ONE)


def test_words_stay(lab: Any) -> None:
    """numpy and ONNX read numbers in words differently, and not every word is one."""
    for word in ("7", ""):
        model = lab.parse(
            "(float x) => (float y) { a = Cast<to=1>(c) y = Add(a, x) }",
            c=np.array(word, object),
        )

        assert not lab.apply(fold_constants, model)


def test_no_words_are_made(lab: Any) -> None:
    """Runtimes print a number each in its own way."""
    model = lab.parse(
        "(float x) => (string[1] y, float z) { a = Cast<to=8>(c) y = Reshape(a, s) z = Neg(x) }",
        c=np.array([1.5], np.float32),
        s=np.array([1]),
    )

    assert not lab.apply(fold_constants, model)


def test_a_division_by_nothing_stays(lab: Any) -> None:
    """What an integer divided by zero is, the runtime may decide."""
    model = lab.parse(
        "(float x) => (int64 y, float z) { a = Div(c, d) y = Add(a, c) z = Neg(x) }",
        c=np.array(1),
        d=np.array(0),
    )

    with np.errstate(all="ignore"):
        assert not lab.apply(fold_constants, model)


def test_chance_is_no_constant(lab: Any) -> None:
    """What is drawn at every call has constant inputs alone, too."""
    model = lab.parse(
        "(float x) => (float[3] y, float z)"
        "{ a = RandomUniformLike<seed=1.0>(c) y = Neg(a) z = Neg(x) }",
        c=np.ones(3, np.float32),
    )

    assert not fold_constants(View(model))


def test_an_operator_of_another_domain_stays(lab: Any) -> None:
    """Of the same name, it may mean anything."""
    model = lab.parse("(float x) => (float y) { a = Add(c, c) y = Add(a, x) }", c=np.float32(1))
    model.graph.node[0].domain = "somebody.else"
    model.opset_import.append(onnx.helper.make_opsetid("somebody.else", 1))

    assert not fold_constants(View(model))


def test_a_table_of_words_stays(lab: Any) -> None:
    """What is listed is a function of numbers, and computed nowhere else."""
    model = lab.parse(
        "(int64[1] x) => (int64[1] y)"
        '{ a = ai.onnx.ml.LabelEncoder<keys_strings=["a"], values_int64s=[1]>(c) y = Add(a, x) }',
        c=np.array(["a"], object),
    )

    assert not lab.apply(fold_constants, model, {"x": np.array([1])})
    assert not FOLDED & {"RandomNormal", "RandomUniform", "Dropout", "If", "Loop"}


def test_what_a_nested_graph_reads_stays(lab: Any) -> None:
    """Readers inside know the value by its name."""
    model = lab.parse(
        "(float x, bool b) => (float y)"
        "{ a = Neg(c) y = If (b) <"
        "then_branch = yes () => (float t) { t = Relu(a) },"
        "else_branch = no () => (float e) { e = Abs(a) }> }",
        c=np.float32(3),
    )
    feeds = [ONE | {"b": np.array(flag)} for flag in (True, False)]

    assert not lab.apply(fold_constants, model, *feeds)


NUMBERS = {
    "int64": st.integers(-9, 9),
    "int32": st.integers(-9, 9),
    "float": st.sampled_from([-2.5, -1.5, -1.0, -0.5, 0.0, 0.5, 1.5, 2.5, 3.25]),
}
ARRAYS = {"int64": np.int64, "int32": np.int32, "float": np.float32}
TWO = ("Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Less", "GreaterOrEqual", "Equal")


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(TWO), dtype=st.sampled_from(sorted(NUMBERS)), data=st.data())
def test_arithmetic_is_folded_as_onnxruntime_computes_it(
    lab: Any, kind: str, dtype: str, data: Any
) -> None:
    """Signs, halves and zeros included: integers are divided and reduced as ONNX says."""
    left, right = (data.draw(st.lists(NUMBERS[dtype], min_size=3, max_size=3)) for _ in range(2))
    integral = dtype != "float"
    assume(not (kind in ("Div", "Mod") and integral and 0 in right))
    attribute = "<fmod=1>" if kind == "Mod" and (not integral or data.draw(st.booleans())) else ""
    result = "bool" if kind in ("Less", "GreaterOrEqual", "Equal") else dtype
    model = lab.parse(
        f"(float x) => ({result}[3] y, float z)"
        f"{{ a = {kind}{attribute}(c, d) y = Reshape(a, s) z = Neg(x) }}",
        c=np.array(left, ARRAYS[dtype]),
        d=np.array(right, ARRAYS[dtype]),
        s=np.array([3]),
    )

    with np.errstate(all="ignore"):  # what is divided by 0 is infinite or no number, in both
        assert lab.apply(fold_constants, model, ONE)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["Cast<to=7>", "Cast<to=6>", "Round", "Floor", "Ceil", "Neg", "Abs"]),
    values=st.lists(NUMBERS["float"], min_size=3, max_size=3),
)
def test_rounding_is_folded_as_onnxruntime_rounds(lab: Any, kind: str, values: list[float]) -> None:
    """A half rounds to even; a cast cuts towards zero."""
    result = {"Cast<to=7>": "int64", "Cast<to=6>": "int32"}.get(kind, "float")
    model = lab.parse(
        f"(float x) => ({result}[3] y, float z) {{ a = {kind}(c) y = Reshape(a, s) z = Neg(x) }}",
        c=np.array(values, np.float32),
        s=np.array([3]),
    )

    assert lab.apply(fold_constants, model, ONE)


def test_what_the_evaluator_refuses_stays(lab: Any) -> None:
    """A node that cannot be computed here is the runtime's to judge, not a crash."""
    model = lab.parse(
        "(float x) => (float[2] y, float z) { a = Gather(c, i) y = Neg(a) z = Neg(x) }",
        c=np.ones(2, np.float32),
        i=np.array([0, 5]),
    )

    assert not lab.apply(fold_constants, model)
