"""Substitutes tokens for recurrent layers while tracing, where ONNX has an equal operator.

Left to tf2onnx, call by call: masks (ONNX's sequence_lens knows right padding only), `unroll`,
activations that ONNX lacks, cells that are not Keras's own, and a Bidirectional of two layers that
differ in more than their weights; the layers inside it are still replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from zoo.convert.recurrent.plan import Plan, direction_of, kind_of
from zoo.convert.tokens import Tokens, placeholder

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Planner = Callable[["keras.Layer", "tf.Tensor", object], "Plan | None"]

MERGES = ("concat", "sum", "mul", "ave", None)


@contextmanager
def substituted(layers: list[keras.Layer], tokens: Tokens) -> Iterator[None]:
    """Replace the `call` of every layer that qualifies; put all back at the end."""
    import keras

    kinds = keras.layers
    replaced: list[keras.Layer] = []
    try:
        for layer in layers:
            # Exact types: a subclass may mean anything by its call.
            if type(layer) in (kinds.LSTM, kinds.GRU, kinds.SimpleRNN, kinds.RNN):
                _replace(layer, plan_single, tokens)
            elif type(layer) is kinds.Bidirectional:
                _replace(layer, plan_bidirectional, tokens)
            else:
                continue
            replaced.append(layer)
        yield
    finally:
        for layer in replaced:
            layer.__dict__.pop("call", None)


def _replace(layer: keras.Layer, planner: Planner, tokens: Tokens) -> None:
    """Put a `call` into the instance that hides the class's."""
    original: Callable[..., tf.Tensor] = layer.call

    def call(
        sequences: tf.Tensor,
        initial_state: object = None,
        mask: tf.Tensor = None,
        training: bool | None = False,
    ) -> tf.Tensor:
        carried = _states_are_inputs() and layer.stateful  # zoo/convert/states.py
        kept = getattr(layer, "states", None) if carried else None
        begins = kept if initial_state is None else initial_state
        plan = None
        if mask is None and not training:
            plan = planner(layer, sequences, begins)
        if plan is None:
            return original(sequences, initial_state=initial_state, mask=mask, training=training)
        if not carried:
            return _token_call(plan, sequences, initial_state, tokens)
        output, *after = _token_call(replace(plan, states=True), sequences, begins, tokens)
        for variable, value in zip(layer.states, after, strict=True):
            variable.assign(value)
        return (output, *after) if plan.states else output

    layer.__dict__["call"] = call


def plan_single(layer: keras.Layer, sequences: tf.Tensor, initial_state: object) -> Plan | None:
    """Return the plan of an LSTM, GRU, SimpleRNN or RNN of one of their cells."""
    kind = kind_of(layer.cell)
    if kind is None or layer.unroll or layer.compute_dtype != "float32":
        return None
    direction = direction_of(layer.cell, kind)
    if direction is None or len(sequences.shape) != 3 or sequences.shape[-1] is None:
        return None
    return Plan(
        kind=kind,
        directions=(direction,),
        units=int(layer.cell.units),
        length=sequences.shape[1],
        features=int(sequences.shape[-1]),
        sequences=bool(layer.return_sequences),
        states=bool(layer.return_state),
        initial=initial_state is not None,
        backwards=bool(layer.go_backwards),
        reset_after=bool(getattr(layer.cell, "reset_after", False)),
    )


def plan_bidirectional(
    layer: keras.Layer, sequences: tf.Tensor, initial_state: object
) -> Plan | None:
    """Return the plan of a Bidirectional whose two layers are of one kind, forward then backward."""
    forward, backward = layer.forward_layer, layer.backward_layer
    if layer.merge_mode not in MERGES or (_states_are_inputs() and forward.stateful):
        return None  # each of the two layers goes on in its own state
    if type(forward) is not type(backward) or forward.go_backwards or not backward.go_backwards:
        return None
    left = plan_single(forward, sequences, initial_state)
    right = plan_single(backward, sequences, initial_state)
    if left is None or right is None or (left.kind, left.units) != (right.kind, right.units):
        return None
    if (left.sequences, left.states, left.reset_after) != (
        right.sequences,
        right.states,
        right.reset_after,
    ):
        return None
    return Plan(
        kind=left.kind,
        directions=(*left.directions, *right.directions),
        units=left.units,
        length=left.length,
        features=left.features,
        sequences=left.sequences,
        states=left.states,
        initial=left.initial,
        merge=layer.merge_mode or "",
        reset_after=left.reset_after,
    )


def _token_call(
    plan: Plan, sequences: tf.Tensor, initial_state: object, tokens: Tokens
) -> tf.Tensor:
    """Return what the layer would: tensors made by a token that stands for the plan."""
    import keras
    import tensorflow as tf

    batch = sequences.shape[0]
    width = plan.units * (2 if plan.merge == "concat" else 1)
    shapes = [(batch, plan.length, width) if plan.sequences else (batch, width)] * plan.answers
    if plan.states:
        shapes += [(batch, plan.units)] * len(plan.directions) * len(plan.state_keys)
    states = [] if initial_state is None else keras.tree.flatten(initial_state)
    inputs = [tf.convert_to_tensor(value) for value in (sequences, *states)]
    outputs, token = placeholder(inputs, [tf.float32] * len(shapes), shapes, plan)
    tokens[token] = plan
    return tuple(outputs) if len(outputs) > 1 else outputs[0]


def _states_are_inputs() -> bool:
    """Whether what layers keep is given to the trace, rather than read from their variables."""
    from keras.src.backend.common.stateless_scope import in_stateless_scope

    return bool(in_stateless_scope())
