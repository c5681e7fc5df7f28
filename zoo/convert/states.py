"""What recurrent layers keep between calls (stateful=True), of which an ONNX graph keeps nothing.

refused     by name, unless the caller chooses
reset       the file answers as from the first call, for ever
as inputs   each state goes in as LAYER_h_before and comes out as LAYER_h_after (an LSTM's c
            likewise), so that whoever runs the file hands on what it gave

The judge of the last is Keras's own stateful call (zoo/parity/keras_answers.py sets the variables,
calls, and reads them); here is how the same call is traced without variables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zoo.convert.layers import all_layers
from zoo.convert.signature import Signature, Tensor
from zoo.errors import CheckFailed, UsageError

#: What `states` may be.
INPUTS = "inputs"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A variable in which a layer keeps its state, and what its input and output are called by."""

    name: str
    layer: Any
    variable: Any


def states_of(model: Any) -> list[State]:
    """Return the states that a built model's recurrent layers keep, in the order of its layers."""
    states: list[State] = []
    for layer in _stateful(model):
        variables = _flat(layer.states)
        keys: tuple[str, ...] = ("h", "c") if len(variables) == 2 else ("h",)
        if len(variables) > 2:
            keys = tuple(f"h{i}" for i in range(len(variables)))
        states += [
            State(name=f"{layer.name}_{key}", layer=layer, variable=variable)
            for key, variable in zip(keys, variables, strict=True)
        ]
    names = [state.name for state in states]
    return [
        replace(state, name=f"{state.name}_{i}") if names.count(state.name) > 1 else state
        for i, state in enumerate(states)
    ]


def with_states(model: Any, signature: Signature) -> Signature:
    """Return the signature with each state as one more input; the outputs come when traced.

    Raises UsageError for a model that keeps none.
    """
    states = states_of(model)
    if not states:
        raise UsageError(f"states={INPUTS!r}: {model.name} keeps no state between calls")
    more = tuple(
        Tensor(name=f"{state.name}_before", dtype="float32", shape=tuple(state.variable.shape))
        for state in states
    )
    names = tuple(f"{state.name}_after" for state in states)
    return replace(signature, inputs=(*signature.inputs, *more), states=names)


@contextmanager
def begun_in(model: Any, before: Sequence[Any]) -> Iterator[Callable[[], list[Any]]]:
    """Let layers begin in the states `before`; what is yielded returns those at the end.

    For tracing: the layers' variables are neither read nor written.
    """
    import keras

    states = states_of(model) if len(before) else []
    now = {id(s.variable): value for s, value in zip(states, before, strict=True)}
    with ExitStack() as stack:
        for layer in {id(state.layer): state.layer for state in states}.values():
            stack.enter_context(_begun(layer, now))
        for layer in all_layers(model) if states else ():
            if isinstance(layer, keras.layers.Bidirectional):
                stack.enter_context(_as_two_layers(layer))
        yield lambda: [now[id(state.variable)] for state in states]


@contextmanager
def _begun(layer: Any, now: dict[int, Any]) -> Iterator[None]:
    """Replace a layer's `call` by one that begins in its state of now, and keeps the next there."""
    import keras

    inner = layer.call

    def call(
        sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = False
    ) -> Any:
        if initial_state is None:
            held = [now[id(variable)] for variable in _flat(layer.states)]
            initial_state = keras.tree.pack_sequence_as(layer.states, held)
        returns = layer.return_state
        layer.stateful, layer.return_state = False, True
        try:
            output, *after = inner(
                sequences, initial_state=initial_state, mask=mask, training=training
            )
        finally:
            layer.stateful, layer.return_state = True, returns
        for variable, value in zip(_flat(layer.states), keras.tree.flatten(after), strict=True):
            now[id(variable)] = value
        return (output, *after) if returns else output

    with _call_replaced(layer, call):
        yield


@contextmanager
def _as_two_layers(layer: Any) -> Iterator[None]:
    """Let a Bidirectional call its two layers, each of which has its own state."""
    with _call_replaced(layer, type(layer).call.__get__(layer)):
        yield


@contextmanager
def _call_replaced(layer: Any, call: Any) -> Iterator[None]:
    own = layer.__dict__.get("call")
    layer.__dict__["call"] = call
    try:
        yield
    finally:
        layer.__dict__.pop("call")
        if own is not None:
            layer.__dict__["call"] = own


@contextmanager
def without_state(
    model: Any, *, reset_states: bool = False, as_inputs: bool = False
) -> Iterator[None]:
    """Refuse stateful layers, or reset them; their states are put back at the end.

    Raises CheckFailed unless one of the two is chosen: with `as_inputs`, the caller sets the states.
    """
    stateful = _stateful(model)
    if stateful and not reset_states and not as_inputs:
        names = ", ".join(layer.name for layer in stateful)
        raise CheckFailed(
            f"{model.name} keeps state between calls ({names}), which an ONNX graph cannot: "
            "build it with stateful=False, export it as from its reset state "
            "(reset_states=True, --reset-states), or with its states as inputs and outputs "
            f"(states={INPUTS!r}, --states {INPUTS})"
        )
    variables = [v for layer in stateful for v in _flat(layer.states)]
    saved = [(v, v.numpy()) for v in {id(v): v for v in variables}.values()]
    for variable, value in saved if reset_states else ():
        # Keras's own reset_states fails on the nested states of stacked cells.
        variable.assign(np.zeros_like(value))
    try:
        yield
    finally:
        for variable, value in saved:
            variable.assign(value)


def _stateful(model: Any) -> list[Any]:
    """Return the layers that hold states of their own: not a Bidirectional, whose layers do."""
    import keras

    layers = [layer for layer in all_layers(model) if getattr(layer, "stateful", False) is True]
    layers = [layer for layer in layers if not isinstance(layer, keras.layers.Bidirectional)]
    return [layer for layer in layers if getattr(layer, "states", None) is not None]


def _flat(states: Any) -> list[Any]:
    import keras

    return [state for state in keras.tree.flatten(states) if hasattr(state, "assign")]
