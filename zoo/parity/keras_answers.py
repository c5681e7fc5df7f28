"""Computes Keras's answers to rows, as inference in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import numpy as np

from zoo.convert.backend_functions import silu_without_gradient
from zoo.convert.draws import replaying
from zoo.convert.patches import computing_in_float32
from zoo.convert.signature import Signature, Tensor
from zoo.convert.states import without_state
from zoo.convert.weights import large_variables
from zoo.errors import CheckFailed
from zoo.parity.samples import Feeds
from zoo_server.malloc import heap

if TYPE_CHECKING:
    import keras


def refuse_state(
    model: keras.Model,
    written: Sequence[keras.Variable],
    signature: Signature,
    feeds: Mapping[str, np.ndarray],
) -> None:
    """Raise CheckFailed if another call changes one of the variables that calls write and read."""
    if not written:
        return
    before = [np.array(variable) for variable in written]
    leaves_of(model, signature, feeds)
    for variable, value in zip(written, before, strict=True):
        if not np.array_equal(value, np.array(variable), equal_nan=value.dtype.kind == "f"):
            raise CheckFailed(
                f"{model.name} changes its variable {variable.path} in every call and answers by "
                "it, and an ONNX graph keeps nothing: make it an input and an output "
                "(states='inputs', --states inputs), or write it only if training"
            )


def answers(
    model: keras.Model,
    signature: Signature,
    outputs: Sequence[Tensor],
    feeds: Mapping[str, np.ndarray],
    *,
    reset_states: bool = False,
) -> Feeds:
    """Return Keras's answers by output name, computed in float32 and from reset state."""
    leaves = leaves_of(model, signature, feeds, reset_states=reset_states)
    return named(leaves, outputs)


def named(leaves: Sequence[np.ndarray], outputs: Sequence[Tensor]) -> Feeds:
    """Return answers by output name, in its type."""
    return {
        t.name: _as_runtimes_answer(leaf, t.dtype) for t, leaf in zip(outputs, leaves, strict=True)
    }


def leaves_of(
    model: keras.Model,
    signature: Signature,
    feeds: Mapping[str, np.ndarray],
    *,
    reset_states: bool = False,
    within: Callable[[], AbstractContextManager[object]] = nullcontext,
    in_graph: bool | None = None,
) -> tuple[np.ndarray, ...]:
    """Return Keras's answers, flat, and after them its states if those are inputs.

    Computed in the context `within`, and in one TensorFlow graph for a large model, if not said
    otherwise.
    """
    import keras
    import tensorflow as tf

    tensors = [tf.constant(feeds[tensor.name]) for tensor in signature.inputs]

    own, kept = len(signature.own_inputs), len(signature.kept)

    def ask() -> object:
        for variable, value in zip(signature.kept, tensors[own : own + kept], strict=True):
            variable.assign(value)
        with replaying(signature, tensors[own + kept :]):
            answer = signature.call(model, tensors)
        return answer, [variable.value for variable in signature.kept]

    if in_graph is None:
        in_graph = bool(signature.draws or large_variables(model))
    with _inference(model, signature, reset_states), within():
        answer = _answer(ask, in_graph=in_graph)
        # Before the variables are put back.
        leaves = tuple(np.array(leaf) for leaf in keras.tree.flatten(answer))
    del answer
    heap.stage_ended()
    return leaves


def _answer(ask: Callable[[], object], *, in_graph: bool) -> object:
    """Ask; where an operator has no plain kernel on the CPU, ask what XLA compiles."""
    import tensorflow as tf

    try:
        return _in_graph(ask) if in_graph else ask()
    except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError) as error:
        # channels_first and dilated transposed convolutions have no plain kernel on the CPU,
        # and XLA has one. TensorFlow reports either of these, by operator. What it says of
        # values stands: XLA divides a whole number by 0, and looks up beyond the end.
        if "support" not in str(error) and not isinstance(error, tf.errors.UnimplementedError):
            raise
        try:
            return tf.function(ask, jit_compile=True, autograph=False)()
        except Exception:  # what XLA cannot either: the first error says more
            raise error from None


def _in_graph(ask: Callable[[], object]) -> object:
    """Ask within one TensorFlow graph, as `model.predict` does.

    Called otherwise, Keras holds what every layer gave until the last has: of a ResNet152V2 and seven
    rows 2 GB.
    """
    import tensorflow as tf

    try:
        with silu_without_gradient():
            return tf.function(ask, autograph=False)()
    except Exception:  # what cannot be in a graph, such as Python code that reads values
        return ask()


def _as_runtimes_answer(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return an answer as runtimes give it: strings as str, and no half precision."""
    if array.dtype == object:
        text = [item.decode() if isinstance(item, bytes) else item for item in array.ravel()]
        return np.array(text, object).reshape(array.shape)
    return array.astype(dtype)


@contextmanager
def _inference(model: keras.Model, signature: Signature, reset_states: bool) -> Iterator[None]:
    with (
        without_state(model, signature, reset_states=reset_states),
        computing_in_float32(model),
    ):
        yield
