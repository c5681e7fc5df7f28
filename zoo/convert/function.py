"""The traced function: inference, every input and output named by position, batch unknown."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.convert.draws import replaying
from zoo.convert.effects import refuse_random, written_variables
from zoo.convert.leaves import output_names
from zoo.convert.passes.random_numbers import shape_of
from zoo.convert.signature import Signature, Tensor
from zoo.convert.states import begun_in
from zoo.convert.tokens import Tokens
from zoo.convert.weights import reading, weight_key
from zoo.errors import CheckFailed

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    from tensorflow.types.experimental import ConcreteFunction

Captures = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """What tf2onnx converts, and what the conversion is held against.

    `written`: the variables that a call assigns, and on which its answer depends. `large`: variables
    that the function has as inputs, behind the model's.
    """

    function: ConcreteFunction
    specification: list[tf.TensorSpec]
    captures: Captures
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    tokens: Tokens
    written: tuple[keras.Variable, ...] = ()
    large: tuple[keras.Variable, ...] = ()


def input_key(position: int) -> str:
    """Return the name an input has until the graph is signed; sorts by position."""
    return f"zoo_input_{position:03d}"


def output_key(position: int) -> str:
    """Return the name an output has until the graph is signed; sorts by position."""
    return f"zoo_output_{position:03d}"


def trace(
    model: keras.Model, signature: Signature, tokens: Tokens, large: tuple[keras.Variable, ...] = ()
) -> Traced:
    """Trace a model for inference. The patches (zoo.convert.patches) must be in place.

    The batch stays unknown where Keras does not fix it: with a fixed one tf2onnx writes every LSTM as
    a Loop. Raises CheckFailed if the model cannot be called symbolically, or draws random numbers.
    """
    import keras
    import tensorflow as tf

    structures: list[object] = []

    def infer(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        values, weights = tensors[: len(signature.inputs)], tensors[len(signature.inputs) :]
        own = len(signature.own_inputs)
        begin, numbers = (
            values[own : own + len(signature.kept)],
            values[own + len(signature.kept) :],
        )
        with (
            begun_in(signature, begin) as after,
            reading(large, weights),
            replaying(signature, numbers) as shapes,
        ):
            answer = signature.call(model, values)
        structures.append(keras.tree.map_structure(lambda leaf: 0, answer))
        flat = [*keras.tree.flatten(answer), *after(), *shapes()]
        _refuse_ragged(model, flat)
        leaves = [tf.convert_to_tensor(leaf) for leaf in flat]
        # Two outputs may be one tensor, or an input: each graph output needs a value of its own.
        return {output_key(i): tf.identity(_widened(leaf)) for i, leaf in enumerate(leaves)}

    specification = _specification(signature, large)
    function = tf.function(infer, input_signature=specification, autograph=False)
    concrete = _concrete_function(function, model)
    answers = list(concrete.structured_outputs.values())
    refuse_random(model, concrete.graph, answers)
    names = signature.output_names or output_names(structures[-1])
    after_kept = [after for _, after in signature.states] if signature.kept else []
    drawn_shapes = [shape_of(place) for place in range(len(signature.draws))]
    return Traced(
        function=function,
        specification=specification,
        captures=_captures(concrete.graph),
        inputs=signature.inputs,
        outputs=_outputs(concrete, (*names, *after_kept, *drawn_shapes)),
        tokens=tokens,
        written=written_variables(model, concrete, answers),
        large=large,
    )


def _concrete_function(function: Any, model: keras.Model) -> ConcreteFunction:
    """Trace a function that calls a model; CheckFailed says why that cannot be done."""
    try:
        return function.get_concrete_function()
    except CheckFailed:
        raise
    except Exception as error:  # a model's own code may raise anything
        reason = reason_of(error)
        raise CheckFailed(f"{model.name} cannot be traced for inference: {reason}") from error


def _specification(signature: Signature, large: tuple[keras.Variable, ...]) -> list[tf.TensorSpec]:
    """Return what the traced function takes: the inputs, and behind them the large variables."""
    import tensorflow as tf

    inputs = [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=input_key(i))
        for i, tensor in enumerate(signature.inputs)
    ]
    weights = [
        tf.TensorSpec(tuple(variable.shape), tf.float32, name=weight_key(i))
        for i, variable in enumerate(large)
    ]
    return inputs + weights


def _refuse_ragged(model: keras.Model, leaves: Iterable[tf.Tensor]) -> None:
    """Raise CheckFailed for an answer that is not dense."""
    import tensorflow as tf

    for leaf in leaves:
        for kind, name in ((tf.RaggedTensor, "ragged"), (tf.SparseTensor, "sparse")):
            if isinstance(leaf, kind):
                raise CheckFailed(
                    f"{model.name} gives a {name} tensor, and ONNX has dense ones only: build the "
                    "layer with ragged=False or sparse=False, a TextVectorization that splits with "
                    "output_mode='multi_hot' in the place of 'one_hot'"
                )


def reason_of(error: Exception) -> str:
    """Return what an exception says, in one line: Keras wraps it, and adds every argument."""
    if framework := _other_framework(error):
        return f"a layer calls {framework} itself, which TensorFlow cannot trace: write it with keras.ops"
    # Loading a file, Keras wraps once more, and puts the reason first or last.
    message = str(error).rpartition("Exception encountered: ")[2]
    text = re.sub(r"\x1b\[\d+m", "", message).partition("Arguments received by")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    wrapped = re.fullmatch(r"Exception encountered when calling (\w+)\.call\(\)\.", lines[0])
    return f"{wrapped[1]}: {lines[1]}" if wrapped and len(lines) > 1 else lines[0]


#: Array libraries with a backend of Keras's own, which TensorFlow does not trace.
FRAMEWORKS = {"jax": "JAX", "torch": "PyTorch"}


def _other_framework(error: BaseException) -> str:
    """Return the array library that the function uses in which an error was raised, if any."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for name in frame.f_code.co_names:
            module = getattr(frame.f_globals.get(name), "__name__", "")
            if title := FRAMEWORKS.get(str(module).partition(".")[0]):
                return title
    cause = error.__cause__ or error.__context__
    return _other_framework(cause) if cause is not None else ""


def _widened(tensor: tf.Tensor) -> tf.Tensor:
    """Return half and double precision answers as float32, as the inputs are."""
    import tensorflow as tf

    return tf.cast(tensor, tf.float32) if tensor.dtype.is_floating else tensor


def _outputs(concrete: ConcreteFunction, names: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Return the outputs as TensorFlow knows them after tracing."""
    traced = concrete.structured_outputs
    if len(names) != len(traced):
        raise CheckFailed(f"the model gives {len(traced)} outputs where {list(names)} were named")
    tensors = []
    for i, name in enumerate(names):
        value = traced[output_key(i)]
        if value.shape.rank is None:
            raise CheckFailed(f"output {name} has no known number of dimensions")
        tensors.append(Tensor(name=name, dtype=value.dtype.name, shape=tuple(value.shape)))
    return tuple(tensors)


def _captures(graph: tf.Graph) -> dict[str, np.ndarray]:
    """Return the eager tensors that the function captured by value, by their inner name."""
    return {
        inner.name: np.asarray(outer.numpy())
        for outer, inner in graph.captures
        if outer.dtype.name not in ("resource", "variant")
    }
