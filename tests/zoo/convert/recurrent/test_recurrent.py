"""A recurrent layer's plan becomes nodes that compute what Keras computes; no framework needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from zoo.convert.recurrent import DOMAIN, PLACEHOLDER
from zoo.convert.recurrent.operators import Operators, Writer, expand
from zoo.convert.recurrent.plan import Direction, Plan, stacked_weights
from zoo.convert.recurrent.portable import MAX_LENGTH, NoPortableVariant, Portable

UNITS, FEATURES, LENGTH, BATCH = 3, 2, 4, 5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
ACTIVATIONS = {
    "LSTM": ("sigmoid", "tanh", "tanh"),
    "GRU": ("sigmoid", "tanh"),
    "RNN": ("tanh",),
}


def plan_of(kind: str, **changes: object) -> Plan:
    """A plan of one direction with random weights, in Keras's layout."""
    random = np.random.default_rng(7)
    width = GATES[kind] * UNITS
    rows = 2 if changes.get("reset_after") else 1

    def direction() -> Direction:
        return Direction(
            kernel=random.normal(size=(FEATURES, width)).astype(np.float32),
            recurrent_kernel=random.normal(size=(UNITS, width)).astype(np.float32),
            bias=random.normal(size=(rows, width)).astype(np.float32),
            activations=ACTIVATIONS[kind],
        )

    plan = Plan(
        kind=kind,
        directions=(direction(),),
        units=UNITS,
        length=LENGTH,
        features=FEATURES,
        sequences=False,
    )
    if "merge" in changes:
        plan = replace(plan, directions=(*plan.directions, direction()))
    return replace(plan, **changes)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def keras_steps(
    plan: Plan, d: Direction, x: np.ndarray, backwards: bool, start: list[np.ndarray] | None = None
) -> list[list[np.ndarray]]:
    """The states (h, and an LSTM's c) after each step, in the order of running, by Keras's equations."""
    assert d.bias is not None
    h = c = np.zeros((len(x), UNITS), np.float32)
    if start:
        h, c = start[0], start[-1]
    steps = []
    for at in reversed(range(LENGTH)) if backwards else range(LENGTH):
        z = x[:, at] @ d.kernel + d.bias[0]
        if plan.kind == "LSTM":
            i, f, g, o = np.split(z + h @ d.recurrent_kernel, 4, axis=1)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(c)
        elif plan.kind == "GRU":
            r_z, r_r, r_h = np.split(d.recurrent_kernel, 3, axis=1)
            z_z, z_r, z_h = np.split(z, 3, axis=1)
            b_z, b_r, b_h = np.split(d.bias[1] if plan.reset_after else np.zeros(3 * UNITS), 3)
            update, reset = _sigmoid(z_z + h @ r_z + b_z), _sigmoid(z_r + h @ r_r + b_r)
            after = reset * (h @ r_h + b_h) if plan.reset_after else (reset * h) @ r_h
            h = update * h + (1 - update) * np.tanh(z_h + after)
        else:
            h = np.tanh(z + h @ d.recurrent_kernel)
        steps.append([h, c] if plan.kind == "LSTM" else [h])
    return steps


def keras_answers(plan: Plan, x: np.ndarray, *initial: np.ndarray) -> list[np.ndarray]:
    """What the layer gives: the last step, or all of them; two directions merged; the states."""
    keys = len(plan.state_keys)
    answers, states = [], []
    for i, direction in enumerate(plan.directions):
        backwards = plan.backwards or i == 1
        start = list(initial[i * keys : (i + 1) * keys])
        steps = keras_steps(plan, direction, x, backwards, start)
        states += steps[-1] if plan.states else []
        hidden = [step[0] for step in steps]
        answers.append(
            np.stack(hidden[::-1] if i == 1 else hidden, axis=1) if plan.sequences else hidden[-1]
        )
    if not plan.merge:
        return [*answers, *states]
    merges = {
        "concat": lambda a, b: np.concatenate([a, b], axis=-1),
        "sum": np.add,
        "mul": np.multiply,
        "ave": lambda a, b: (a + b) / 2,
    }
    return [merges[plan.merge](*answers), *states]


def placeholder(plan: Plan, opset: int = 17) -> ModelProto:
    """A graph of one placeholder, as it stands between conversion and expansion."""
    count = len(plan.directions) * len(plan.state_keys)
    inputs = [f"x{i}" for i in range(1 + count * plan.initial)]
    outputs = [f"y{i}" for i in range(plan.answers + count * plan.states)]
    node = helper.make_node(PLACEHOLDER, inputs, outputs, "layer", domain=DOMAIN, token="pyfunc_0")
    answer = ["batch", LENGTH, "units"] if plan.sequences else ["batch", "units"]
    state = ["batch", "units"]

    def value(name: str, shape: list[str | int]) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [node],
        "g",
        [
            value("x0", ["batch", LENGTH, FEATURES]),
            *(value(x, ["batch", UNITS]) for x in inputs[1:]),
        ],
        [value(y, answer if i < plan.answers else state) for i, y in enumerate(outputs)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def answers_of(model: ModelProto, *values: np.ndarray) -> list[np.ndarray]:
    """Check a graph, and run it in onnxruntime."""
    onnx.checker.check_model(model, full_check=True)
    session = pytest.importorskip("onnxruntime").InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    answers: list[np.ndarray] = session.run(None, {f"x{i}": v for i, v in enumerate(values)})
    return answers


PLANS = {
    "last step": {},
    "sequence": {"sequences": True},
    "backwards": {"backwards": True},
    "backwards sequence": {"backwards": True, "sequences": True},
    "concat": {"merge": "concat"},
    "concat sequence": {"merge": "concat", "sequences": True},
    "sum": {"merge": "sum"},
    "mul sequence": {"merge": "mul", "sequences": True},
    "ave": {"merge": "ave"},
    "two answers": {"merge": ""},
    "two answers, sequences": {"merge": "", "sequences": True},
    "states": {"states": True, "initial": True},
    "states of two": {"merge": "", "states": True, "initial": True},
    "states of two, concat": {
        "merge": "concat",
        "states": True,
        "initial": True,
        "sequences": True,
    },
}


@pytest.mark.parametrize("writer", [Operators, Portable])
@pytest.mark.parametrize("changes", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "GRU after", "RNN"])
def test_both_forms_compute_what_keras_documents(
    kind: str, changes: dict[str, object], writer: type[Writer]
) -> None:
    """Gate order, biases, direction and merging; by the operator, and step by step."""
    kind, _, after = kind.partition(" ")
    plan = plan_of(kind, reset_after=bool(after), **changes)
    model = placeholder(plan)
    expand(model, {"pyfunc_0": plan}, writer)
    random = np.random.default_rng(9)
    x = random.normal(size=(BATCH, LENGTH, FEATURES)).astype(np.float32)
    initial = random.normal(size=(len(model.graph.input) - 1, BATCH, UNITS)).astype(np.float32)

    answers, expected = answers_of(model, x, *initial), keras_answers(plan, x, *initial)
    assert len(answers) == len(expected)
    for answer, keras in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer, keras, atol=2e-6)


@pytest.mark.parametrize(
    ("merge", "nodes"), [("", 3), ("sum", 3), ("concat", 4)], ids=["one", "sum", "concat"]
)
def test_an_operator_needs_few_nodes_around_it(merge: str, nodes: int) -> None:
    """Transpose, LSTM, and what brings its answer into Keras's layout."""
    plan = plan_of("LSTM", merge=merge) if merge else plan_of("LSTM")
    model = placeholder(plan)
    expand(model, {"pyfunc_0": plan}, Operators)

    assert len(model.graph.node) == nodes
    assert [node.op_type for node in model.graph.node].count("LSTM") == 1


def test_opset_18_takes_the_axes_of_a_mean_as_an_input() -> None:
    """ReduceMean-18 and ReduceProd-18; ReduceSum has since 13."""
    plan = plan_of("GRU", merge="ave")
    model = placeholder(plan, opset=18)
    expand(model, {"pyfunc_0": plan}, Operators)
    onnx.checker.check_model(model, full_check=True)

    (mean,) = [node for node in model.graph.node if node.op_type == "ReduceMean"]
    assert len(mean.input) == 2


@pytest.mark.parametrize(
    ("length", "words"), [(None, "an open one"), (MAX_LENGTH + 1, f"not {MAX_LENGTH + 1}")]
)
def test_steps_are_written_out_for_a_fixed_length_only(length: int | None, words: str) -> None:
    """And for one that somebody would want."""
    plan = plan_of("RNN", length=length)

    with pytest.raises(NoPortableVariant, match=words):
        expand(placeholder(plan), {"pyfunc_0": plan}, Portable)


def test_weights_are_in_onnx_order() -> None:
    """An LSTM's gates are i f c o in Keras and i o f c in ONNX; the recurrent bias is Keras's lack."""
    kernel = np.repeat(np.arange(4, dtype=np.float32), UNITS)[None].repeat(FEATURES, axis=0)
    direction = Direction(
        kernel=kernel,
        recurrent_kernel=kernel[:1].repeat(UNITS, axis=0),
        bias=kernel[:1],
        activations=ACTIVATIONS["LSTM"],
    )
    w, r, b = stacked_weights(replace(plan_of("LSTM"), directions=(direction,)))

    assert w.shape == (1, 4 * UNITS, FEATURES)
    assert r.shape == (1, 4 * UNITS, UNITS)
    assert b is not None
    assert b.shape == (1, 8 * UNITS)
    assert w[0, ::UNITS, 0].tolist() == r[0, ::UNITS, 0].tolist() == [0, 3, 1, 2]
    assert b[0, ::UNITS].tolist() == [0, 3, 1, 2, 0, 0, 0, 0]


def test_no_bias_at_all_is_no_input_at_all() -> None:
    """Rather than zeros, which every runtime would add."""
    plan = plan_of("GRU")
    bare = tuple(replace(direction, bias=None) for direction in plan.directions)

    assert stacked_weights(replace(plan, directions=bare))[2] is None
