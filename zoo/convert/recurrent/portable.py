"""Replaces tokens by Gemm, Slice and elementwise operators, unrolled over a fixed length.

Several runtimes lack the recurrent operators (onnx2torch, jaxonnxruntime, TVM, tract with a symbolic
batch), and all of them run this (docs/runtimes.md). The first step has no recurrent term instead of a
zero state, whose shape would depend on the batch, and gates are cut by Slice instead of Split,
whose signature changed at opset 18.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from zoo.convert.recurrent.operators import REDUCTIONS, Writer
from zoo.convert.recurrent.plan import Direction, Plan
from zoo.errors import CheckFailed

#: How each Keras activation is said outside the recurrent operators.
NODES = {
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "relu": ("Relu", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "elu": ("Elu", {"alpha": 1.0}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
}

#: More steps than this make too large a graph.
MAX_LENGTH = 128

State = dict[str, str]
Step = Callable[[str, State], State]


class NoPortableVariant(CheckFailed):
    """The model has recurrent layers, and their steps cannot be written out."""


class Portable(Writer):
    """Writes the steps out. `outputs[0]` is [batch, units] or [batch, time, units]."""

    def write(self, plan: Plan) -> None:
        """Write every direction's steps and join them as Keras does."""
        if plan.length is None or plan.length > MAX_LENGTH:
            raise NoPortableVariant(
                f"the portable form needs a fixed length of at most {MAX_LENGTH} steps, "
                f"not {'an open one' if plan.length is None else plan.length}"
            )
        flat = self.node(
            "Reshape", [self.inputs[0], self.integers(-1, plan.length * plan.features)]
        )
        runs = [
            self._run(plan, i, flat, backwards=plan.backwards or i == 1)
            for i in range(len(plan.directions))
        ]
        last = [run[-1][key] for run in runs for key in plan.state_keys]
        if len(runs) == 2 and plan.sequences:
            runs[1].reverse()  # Keras turns the second layer's answers into the input's order
        steps = [[state["h"] for state in (run if plan.sequences else run[-1:])] for run in runs]
        width = plan.units
        if plan.merge:
            steps = [[self._merge(plan, f, b) for f, b in zip(*steps, strict=True)]]
            width *= 2 if plan.merge == "concat" else 1
        for values, output in zip(steps, self.outputs, strict=False):
            self._answer(replace(plan, units=width), values, output)
        for value, output in zip(last, self.outputs[plan.answers :], strict=False):
            self.node("Identity", [value], [output])

    def _merge(self, plan: Plan, left: str, right: str) -> str:
        if plan.merge == "concat":
            return self.node("Concat", [left, right], axis=1)
        assert plan.merge in REDUCTIONS
        if plan.merge == "mul":
            return self.node("Mul", [left, right])
        total = self.node("Add", [left, right])
        if plan.merge == "sum":
            return total
        return self.node("Mul", [total, self.weight(np.array(0.5, np.float32))])

    def _answer(self, plan: Plan, steps: list[str], output: str) -> None:
        """Write the last step, or all of them as one tensor."""
        if not plan.sequences:
            self.node("Identity", [steps[-1]], [output])
            return
        joined = self.node("Concat", steps, axis=1) if len(steps) > 1 else steps[0]
        shape = self.integers(-1, len(steps), plan.units)
        self.node("Reshape", [joined, shape], [output])

    def _run(self, plan: Plan, index: int, flat: str, *, backwards: bool) -> list[State]:
        """Write all steps of one direction, in the order of running."""
        assert plan.length is not None
        direction = plan.directions[index]
        # LSTM gates as i f o c, so that one Sigmoid serves three.
        order = {"LSTM": (0, 1, 3, 2), "GRU": (0, 1, 2), "RNN": (0,)}[plan.kind]
        kernel = _columns(direction.kernel, order)
        recurrent = _columns(direction.recurrent_kernel, order)
        size = kernel.shape[1]
        rows = direction.bias if direction.bias is not None else np.zeros((1, size), np.float32)
        bias = _columns(rows, order)
        step = {"LSTM": self._lstm, "GRU": self._gru, "RNN": self._rnn}[plan.kind](
            plan, direction, recurrent, bias
        )
        first = bias[0].copy()
        if plan.kind == "GRU" and len(bias) == 2:
            # For z and r the two biases only ever occur as their sum.
            first[: 2 * plan.units] += bias[1][: 2 * plan.units]
        w, b = self.weight(kernel), self.weight(first)
        state: State = {}
        if plan.initial:
            keys = plan.state_keys
            state = dict(zip(keys, self.inputs[1 + index * len(keys) :], strict=False))
        states = []
        positions = range(plan.length)
        for position in reversed(positions) if backwards else positions:
            start = position * plan.features
            x = self._cut(flat, start, start + plan.features)
            state = step(self.node("Gemm", [x, w, b]), state)
            states.append(state)
        return states

    def _cut(self, value: str, start: int, end: int) -> str:
        """Take columns of a matrix."""
        bounds = [self.integers(i) for i in (start, end, 1)]
        return self.node("Slice", [value, *bounds])

    def _gate(self, value: str, plan: Plan, position: int, count: int = 1) -> str:
        return self._cut(value, position * plan.units, (position + count) * plan.units)

    def _activate(self, name: str, value: str) -> str:
        if name == "linear":
            return value
        kind, attributes = NODES[name]
        return self.node(kind, [value], 1, **attributes)

    def _plus(self, state: str, weights: str, x: str) -> str:
        """Add the state's product to the input's.

        Not as the third input of Gemm, which for a computed value ncnn's converter cannot take;
        the extra node costs onnxruntime about 4 % (measured on the zoo's four portable files).
        """
        return self.node("Add", [self.node("Gemm", [state, weights]), x])

    def _rnn(self, plan: Plan, d: Direction, recurrent: np.ndarray, bias: np.ndarray) -> Step:
        r = self.weight(recurrent)

        def step(x: str, state: State) -> State:
            total = self._plus(state["h"], r, x) if state else x
            return {"h": self._activate(d.activations[0], total)}

        return step

    def _lstm(self, plan: Plan, d: Direction, recurrent: np.ndarray, bias: np.ndarray) -> Step:
        r = self.weight(recurrent)
        gate, inner, last = d.activations

        def step(x: str, state: State) -> State:
            total = self._plus(state["h"], r, x) if state else x
            gates = self._activate(gate, self._gate(total, plan, 0, 3))
            new = self._activate(inner, self._gate(total, plan, 3))
            c = self.node("Mul", [self._gate(gates, plan, 0), new])
            if state:
                kept = self.node("Mul", [self._gate(gates, plan, 1), state["c"]])
                c = self.node("Add", [c, kept])
            h = self.node("Mul", [self._gate(gates, plan, 2), self._activate(last, c)])
            return {"h": h, "c": c}

        return step

    def _gru(self, plan: Plan, d: Direction, recurrent: np.ndarray, bias: np.ndarray) -> Step:
        gate, inner = d.activations
        u = plan.units
        r_gates, r_new = self.weight(recurrent[:, : 2 * u]), self.weight(recurrent[:, 2 * u :])
        second = bias[1] if len(bias) == 2 else np.zeros(3 * u, np.float32)
        b_new = self.weight(second[2 * u :])
        # Its own copy for the first step: OpenCV 4 refuses a Gemm whose constant another operator
        # reads too ("Gemm takes at most three inputs").
        first_b_new = self.weight(second[2 * u :])

        def step(x: str, state: State) -> State:
            xg, xn = self._gate(x, plan, 0, 2), self._gate(x, plan, 2)
            total = self._plus(state["h"], r_gates, xg) if state else xg
            gates = self._activate(gate, total)
            z, r = self._gate(gates, plan, 0), self._gate(gates, plan, 1)
            if plan.reset_after:
                # The first step's state is zero, but its recurrent bias is not.
                term = self.node("Gemm", [state["h"], r_new, b_new]) if state else first_b_new
                total = self.node("Add", [xn, self.node("Mul", [r, term])])
            elif state:
                total = self._plus(self.node("Mul", [r, state["h"]]), r_new, xn)
            else:
                total = xn
            new = self._activate(inner, total)
            # (1 - z) * new + z * h = new + z * (h - new)
            if state:
                change = self.node("Sub", [state["h"], new])
            else:
                change = self.node("Neg", [new])
            return {"h": self.node("Add", [new, self.node("Mul", [z, change])])}

        return step


def _columns(array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Reorder blocks of columns."""
    blocks = np.split(array, len(order), axis=1)
    return np.ascontiguousarray(np.concatenate([blocks[i] for i in order], axis=1))
