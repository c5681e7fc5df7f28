"""Reads what a trained Keras model holds and does within, for the pictures of its card.

filters       the kernels of the first convolution
activations   what each convolution and pooling answers to one held-out image
memories      states and gates of LSTM and GRU layers after each held-out window
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.card.memory import Memory
from zoo.training.framework import import_keras

if TYPE_CHECKING:
    import keras

#: Of a layer's kernel, from left to right; without the part that is no gate.
GATES: Mapping[str, Sequence[str]] = {
    "LSTMCell": ("input gate", "forget gate", "", "output gate"),
    "GRUCell": ("update gate", "reset gate", ""),
}

#: A cell's states in Keras's order, and the order in which they are drawn.
STATES: Mapping[str, Sequence[str]] = {
    "LSTMCell": ("hidden state", "cell state"),
    "GRUCell": ("hidden state",),
}

#: How far a state that is followed step by step may be from what the layer answers.
NEAR = 1e-4


def filters(model: keras.Model) -> tuple[str, np.ndarray] | None:
    """Return the first convolution's name and kernels `(rows, columns, channels, filters)`."""
    for layer in model.layers:
        if type(layer).__name__ == "Conv2D":
            return layer.name, np.asarray(layer.kernel)
    return None


def activations(model: keras.Model, row: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return what each convolution and pooling of images answers, by layer; `row`: a batch of one."""
    layers = [
        layer
        for layer in model.layers
        if "Conv2D" in type(layer).__name__ or "Pooling2D" in type(layer).__name__
    ]
    if not layers:
        return {}
    answers = _values(model, [layer.output for layer in layers], row)
    return {layer.name: values[0] for layer, values in zip(layers, answers, strict=True)}


def memories(model: keras.Model, rows: Sequence[np.ndarray]) -> list[Memory]:
    """Return what the first recurrent layer remembers after each row, of both directions if it has two.

    Empty where the model has none, or its states cannot be followed: with masks, or cells of one's own.
    """
    flatten = import_keras().keras.tree.flatten
    for layer in model.layers:
        kind = type(layer).__name__
        if kind in GATES:
            x, *before = _values(model, flatten(layer.input), rows)
            return [_memory(layer, layer.name, x[:, None], before)]
        if kind == "Bidirectional":
            sides = [(layer.forward_layer, "forward"), (layer.backward_layer, "backward")]
        elif kind in ("LSTM", "GRU"):
            sides = [(layer, "")]
        else:
            continue
        tensors = [*flatten(layer.input), *flatten(layer.output)]
        if len(tensors) != 2:  # with a mask, or states from or for elsewhere
            return []
        x, answer = _values(model, tensors, rows)
        memory_of_sides = [_side(side, f"{layer.name} {name}".rstrip(), x) for side, name in sides]
        ends = [each.states["hidden state"] for each in memory_of_sides if each is not None]
        same = len(ends) == len(sides) and _ends_there(layer, ends, answer)
        return [each for each in memory_of_sides if each is not None] if same else []
    return []


def _side(layer: keras.Layer, name: str, x: np.ndarray) -> Memory | None:
    if type(layer.cell).__name__ not in GATES:
        return None
    backwards = bool(layer.go_backwards)
    size = layer.cell.state_size
    sizes = [size] if isinstance(size, int) else list(size)
    zeros = [np.zeros((len(x), units), np.float32) for units in sizes]
    return _memory(layer.cell, name, x[:, ::-1] if backwards else x, zeros)


def _memory(cell: keras.Layer, name: str, x: np.ndarray, states: Sequence[np.ndarray]) -> Memory:
    """Step through `x`, rows by steps by features, from the states before."""
    gates: dict[str, np.ndarray] = {}
    kind = type(cell).__name__
    for step in range(x.shape[1]):
        now = np.ascontiguousarray(x[:, step])
        gates = _gates(cell, now, np.asarray(states[0]))
        _, states = cell(now, list(states))
    named = dict(zip(STATES[kind], map(np.asarray, states), strict=True))
    return Memory(layer=name, states=dict(reversed(named.items())), gates=gates)


def _gates(cell: keras.Layer, x: np.ndarray, hidden: np.ndarray) -> dict[str, np.ndarray]:
    """Return how far each gate is open, 0 to 1, from the cell's own weights."""
    total = x @ np.asarray(cell.kernel) + hidden @ np.asarray(cell.recurrent_kernel)
    if cell.bias is not None:  # GRU may have two, one for each product: of a gate they add up
        total = total + np.asarray(cell.bias).reshape(-1, total.shape[1]).sum(axis=0)
    names = GATES[type(cell).__name__]
    parts = np.split(total, len(names), axis=1)
    return {
        name: np.asarray(cell.recurrent_activation(part))
        for name, part in zip(names, parts, strict=True)
        if name
    }


def _ends_there(layer: keras.Layer, ends: Sequence[np.ndarray], answer: np.ndarray) -> bool:
    """Whether the states that were followed are what the layer answers."""
    if getattr(layer, "merge_mode", "concat") != "concat":
        return False
    whole = np.concatenate(ends, axis=1)
    if answer.ndim == 3:  # of a sequence, where each direction ends
        width = ends[0].shape[1]
        answer = np.concatenate([answer[:, -1, :width], answer[:, 0, width:]], axis=1)
    return whole.shape == answer.shape and bool(np.allclose(whole, answer, atol=NEAR))


def _values(
    model: keras.Model, tensors: Sequence[Any], rows: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return the values of tensors within the model for rows of its inputs."""
    inner = import_keras().keras.Model(model.inputs, list(tensors))
    return [np.asarray(value) for value in inner(list(rows), training=False)]
