"""The weights and attributes of a recurrent layer in ONNX's layout: gate order, activations, direction.

ONNX (LSTM-14, GRU-14, RNN-14) takes W [directions, gates*hidden, input], R [directions,
gates*hidden, hidden] and B [directions, 2*gates*hidden]; Keras keeps kernel [input, gates*hidden],
recurrent_kernel [hidden, gates*hidden] and one bias.

    LSTM   Keras i f c o -> ONNX i o f c
    GRU    z r h in both; linear_before_reset is Keras's reset_after
    RNN    one gate
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

#: ONNX's gate order, as positions in Keras's.
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "RNN": (0,)}

#: Keras activation -> (ONNX name, alpha, beta). Keras 3: hard_sigmoid(x) = relu6(x + 3) / 6 and
#: leaky_relu's slope is 0.2 (keras/src/activations/activations.py).
ACTIVATIONS: dict[str, tuple[str, float | None, float | None]] = {
    "tanh": ("Tanh", None, None),
    "sigmoid": ("Sigmoid", None, None),
    "relu": ("Relu", None, None),
    "linear": ("Affine", 1.0, 0.0),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
    "elu": ("Elu", 1.0, None),
    "leaky_relu": ("LeakyRelu", 0.2, None),
    "softplus": ("Softplus", None, None),
    "softsign": ("Softsign", None, None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """One direction's weights in Keras's layout, float32; bias [rows, gates*hidden] or None."""

    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray | None
    activations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One call of a recurrent layer. Input [batch, time, features].

    `backwards`: the one direction runs from the last step to the first. With two directions,
    `merge` says how Keras joins them: concat, sum, mul or ave, or empty for two answers. Answers
    come first, then the states of each direction; initial states are inputs in the same order.
    """

    kind: str
    directions: tuple[Direction, ...]
    units: int
    length: int | None
    features: int
    sequences: bool
    states: bool = False
    initial: bool = False
    backwards: bool = False
    merge: str = ""
    reset_after: bool = False

    @property
    def answers(self) -> int:
        """How many tensors the layer answers with, states not counted."""
        return 1 if self.merge else len(self.directions)

    @property
    def state_keys(self) -> str:
        """What one direction keeps from step to step: h, and an LSTM's c."""
        return "hc" if self.kind == "LSTM" else "h"

    def __str__(self) -> str:
        return f"a recurrent layer ({self.kind}, {self.units} units)"


def kind_of(cell: keras.Layer) -> str | None:
    """Return the ONNX operator for a cell, None for one that is not exactly Keras's own."""
    import keras

    kinds = {
        keras.layers.LSTMCell: "LSTM",
        keras.layers.GRUCell: "GRU",
        keras.layers.SimpleRNNCell: "RNN",
    }
    return kinds.get(type(cell))


def activations_of(cell: keras.Layer, kind: str) -> tuple[str, ...] | None:
    """Return the cell's activations by Keras's names, None if ONNX lacks one.

    In ONNX's order: the gates' f first, then g (and h, the LSTM's second g).
    """
    import keras

    def name(function: object) -> str | None:
        for known in ACTIVATIONS:
            if function is getattr(keras.activations, known):
                return known
        return None

    inner = name(cell.activation)
    names: tuple[str | None, ...] = (inner,)
    if kind != "RNN":
        gate = name(cell.recurrent_activation)
        names = (gate, inner, inner) if kind == "LSTM" else (gate, inner)
    return None if None in names else tuple(str(item) for item in names)


def direction_of(cell: keras.Layer, kind: str) -> Direction | None:
    """Return a built cell's weights, None if ONNX cannot say its activations."""
    activations = activations_of(cell, kind)
    if activations is None:
        return None
    bias = getattr(cell, "bias", None) if cell.use_bias else None
    return Direction(
        kernel=_float32(cell.kernel),
        recurrent_kernel=_float32(cell.recurrent_kernel),
        bias=None if bias is None else np.atleast_2d(_float32(bias)),
        activations=activations,
    )


def _float32(variable: keras.Variable) -> np.ndarray:
    import tensorflow as tf

    with tf.init_scope():  # the plan is made while tracing, and the weights are outside
        return np.asarray(variable.value).astype(np.float32)


def stacked_weights(plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return ONNX's W, R and B of all directions; B is None without biases."""
    w = np.stack([_gates(d.kernel.T, plan.kind) for d in plan.directions])
    r = np.stack([_gates(d.recurrent_kernel.T, plan.kind) for d in plan.directions])
    if all(direction.bias is None for direction in plan.directions):
        return w, r, None
    return w, r, np.stack([_bias(d, plan) for d in plan.directions])


def _bias(direction: Direction, plan: Plan) -> np.ndarray:
    """Return [input bias, recurrent bias]: Keras keeps the second for a GRU with reset_after."""
    size = len(GATES[plan.kind]) * plan.units
    bias = direction.bias if direction.bias is not None else np.zeros((1, size), np.float32)
    rows = [bias[0], bias[1] if len(bias) == 2 else np.zeros(size, np.float32)]
    return np.concatenate([_gates(row, plan.kind) for row in rows])


def _gates(array: np.ndarray, kind: str) -> np.ndarray:
    """Reorder blocks of rows from Keras's gate order to ONNX's."""
    blocks = np.split(array, len(GATES[kind]), axis=0)
    return np.ascontiguousarray(np.concatenate([blocks[i] for i in GATES[kind]], axis=0))
