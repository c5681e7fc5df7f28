"""What a model keeps or hands on between its calls, of which an ONNX graph keeps nothing.

refused     by name, unless the caller chooses
reset       recurrent layers (stateful=True) answer as from their first call, for ever
inputs      each variable that a call writes goes in as LAYER_h_before and comes out as LAYER_h_after
            (an LSTM's c likewise, a layer's own variables by their names), so that whoever runs
            the file hands on what it gave
IN=OUT      inputs and outputs that the model already has: a decoder's cache

The judge of the third is Keras's own call (zoo/parity/keras_answers.py sets the variables, calls,
and reads them); here is how the same call is traced without variables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zoo.convert.backend_functions import silu_without_gradient
from zoo.convert.layers import all_layers
from zoo.convert.signature import WIDENED, Signature, Tensor
from zoo.errors import CheckFailed, UsageError, first_line

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

#: What `states` may be, besides pairs of an input and an output.
INPUTS = "inputs"


def state_pairs(states: str | Mapping[str, str]) -> str:
    """Return `states` as text: empty, INPUTS, or IN=OUT pairs joined by commas.

    Raises UsageError for what is none of these.
    """
    if isinstance(states, Mapping):
        states = ",".join(f"{before}={after}" for before, after in states.items())
    if states in ("", INPUTS):
        return states
    pairs = [pair.split("=") for pair in states.split(",")] if isinstance(states, str) else []
    names = [name for pair in pairs for name in pair]
    if not pairs or any(len(pair) != 2 for pair in pairs) or not all(names):
        raise UsageError(
            f"states={states!r}: must be {INPUTS!r}, or inputs with the outputs that they go on "
            "as: cache=next_cache,position=next_position"
        )
    if len(set(names)) != len(names):
        raise UsageError(f"states={states!r}: a name is there twice")
    return states


def with_states(model: keras.Model, signature: Signature, states: str) -> Signature:
    """Return the signature with its states: variables as further inputs, or pairs of its own.

    Raises UsageError for a model that keeps none, and for an input that it has not.
    """
    if states != INPUTS:
        pairs = [(before, after) for before, after in (p.split("=") for p in states.split(","))]
        known = [tensor.name for tensor in signature.inputs]
        missing = [before for before, _ in pairs if before not in known]
        if missing:
            raise UsageError(f"states: {missing[0]} is no input: there are {', '.join(known)}")
        return replace(signature, states=tuple(pairs))
    kept = _kept(model, signature)
    if not kept:
        raise UsageError(f"states={INPUTS!r}: {model.name} keeps no state between calls")
    more = tuple(
        Tensor(name=f"{name}_before", dtype=_dtype(variable), shape=tuple(variable.shape))
        for name, variable in kept
    )
    return replace(
        signature,
        inputs=(*signature.inputs, *more),
        states=tuple((f"{name}_before", f"{name}_after") for name, _ in kept),
        kept=tuple(variable for _, variable in kept),
    )


def check_states(signature: Signature, outputs: Sequence[Tensor]) -> None:
    """Raise UsageError unless each state's output is there and can be its input in the next call."""
    inputs = {tensor.name: tensor for tensor in signature.inputs}
    answers = {tensor.name: tensor for tensor in outputs}
    for before, after in signature.states:
        if after not in answers:
            raise UsageError(f"states: {after} is no output: there are {', '.join(answers)}")
        x, y = inputs[before], answers[after]
        fits = len(x.shape) == len(y.shape) and all(
            a is None or b is None or a == b for a, b in zip(x.shape, y.shape, strict=True)
        )
        if x.dtype != y.dtype or not fits:
            raise UsageError(
                f"states: {after} is {y.dtype}{list(y.shape)}, and {before}, which it becomes in "
                f"the next call, is {x.dtype}{list(x.shape)}"
            )


@contextmanager
def begun_in(
    signature: Signature, before: Sequence[tf.Tensor]
) -> Iterator[Callable[[], list[tf.Tensor]]]:
    """Let the variables that are states have the values `before`; what is yielded returns their last.

    For tracing: the variables themselves are neither read nor written.
    """
    if not signature.kept:
        yield list
        return
    import keras

    pairs = list(zip(signature.kept, before, strict=True))
    scope = keras.StatelessScope(state_mapping=pairs)
    with scope:
        yield lambda: [scope.get_current_value(variable) for variable in signature.kept]


@contextmanager
def without_state(
    model: keras.Model, signature: Signature | None = None, *, reset_states: bool = False
) -> Iterator[None]:
    """Refuse stateful layers, or reset them; what calls within change is put back at the end.

    Raises CheckFailed unless they are reset, or the signature has their states as inputs.
    """
    stateful = _stateful(model)
    kept = signature.kept if signature else ()
    if stateful and not reset_states and not kept:
        names = ", ".join(layer.name for layer in stateful)
        raise CheckFailed(
            f"{model.name} keeps state between calls ({names}), which an ONNX graph cannot: "
            "build it with stateful=False, export it as from its reset state "
            "(reset_states=True, --reset-states), or with its states as inputs and outputs "
            f"(states={INPUTS!r}, --states {INPUTS})"
        )
    variables = [*kept, *(v for layer in stateful for v in _flat(layer.states))]
    saved = [(v, v.numpy()) for v in {id(v): v for v in variables}.values()]
    for variable, value in saved if reset_states else ():
        # Keras's own reset_states fails on the nested states of stacked cells.
        variable.assign(np.zeros_like(value))
    try:
        yield
    finally:
        for variable, value in saved:
            variable.assign(value)


@contextmanager
def put_back(model: keras.Model) -> Iterator[None]:
    """Give variables that calls within change the values that they have now.

    A counter and a seed are changed by every call. What a variable holds is kept without a copy:
    TensorFlow writes elsewhere while it is read.
    """
    before = [(variable, variable.value.read_value()) for variable in model.variables]
    try:
        yield
    finally:
        for variable, value in before:
            if _address(variable.value.read_value()) != _address(value):
                variable.assign(value)


def _address(tensor: tf.Tensor) -> int:
    return int(np.asarray(tensor).ctypes.data)


def _kept(model: keras.Model, signature: Signature) -> list[tuple[str, keras.Variable]]:
    """Return the variables that a call writes, with names: of recurrent layers, then all others."""
    kept = []
    for layer in _stateful(model):
        variables = _flat(layer.states)
        keys: Sequence[str] = ("h", "c") if len(variables) == 2 else ("h",)
        if len(variables) > 2:
            keys = [f"h{i}" for i in range(len(variables))]
        kept += [(f"{layer.name}_{key}", v) for key, v in zip(keys, variables, strict=True)]
    recurrent = {id(variable) for _, variable in kept}
    for variable in _written(model, signature):
        if id(variable) not in recurrent:
            kept.append(("_".join(variable.path.split("/")[-2:]), variable))
    names = [name for name, _ in kept]
    return [
        (f"{name}_{i}" if names.count(name) > 1 else name, variable)
        for i, (name, variable) in enumerate(kept)
    ]


def _written(model: keras.Model, signature: Signature) -> list[keras.Variable]:
    """Return the model's own variables that a call for inference assigns."""
    import keras
    import tensorflow as tf

    scope = keras.StatelessScope()

    def call(*tensors: tf.Tensor) -> object:
        with scope:
            return signature.call(model, tensors)

    specification = [tf.TensorSpec(t.shape, t.dtype) for t in signature.inputs]
    function = tf.function(call, input_signature=specification, autograph=False)
    try:
        with silu_without_gradient():
            function.get_concrete_function()
    except Exception as error:  # a model's own code may raise anything
        reason = first_line(error)
        raise CheckFailed(f"{model.name} cannot be traced for inference: {reason}") from error
    return [v for v in model.variables if scope.get_current_value(v) is not None]


def _stateful(model: keras.Model) -> list[keras.layers.RNN]:
    """Return the layers that hold states of their own: not a Bidirectional, whose layers do."""
    import keras

    layers = [layer for layer in all_layers(model) if getattr(layer, "stateful", False) is True]
    layers = [layer for layer in layers if not isinstance(layer, keras.layers.Bidirectional)]
    return [layer for layer in layers if getattr(layer, "states", None) is not None]


def _flat(states: object) -> list[keras.Variable]:
    import keras

    return [state for state in keras.tree.flatten(states) if hasattr(state, "assign")]


def _dtype(variable: keras.Variable) -> str:
    dtype = str(variable.dtype)
    return "float32" if dtype in WIDENED else dtype
