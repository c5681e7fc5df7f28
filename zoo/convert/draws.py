"""Lets an ONNX file draw the random numbers that a model draws at inference (export_model's random=True).

    recording   Keras answers rows, and each number that it draws is kept
    replaying   the same call again, traced or not, with the numbers as inputs and the shapes that
                they were asked for in as outputs: such a file is proven as any other
    passes/random_numbers.py    RandomUniformLike or RandomNormalLike in the place of each such input

What is replaced is TensorFlow's two sources, of numbers from 0 to 1 and of normal ones, with a seed
or without: a dropout, a shuffle or a noise is computed from them. Other sources have no counterpart
in ONNX, and are refused as without the option (effects.py). Numbers whose seed is a constant are the
same in every call, and stay: a graph alone tells which these are, so Keras is asked in one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.convert.effects import ancestors
from zoo.convert.passes.random_numbers import NORMAL, UNIFORM, name_of
from zoo.convert.signature import Signature, Tensor
from zoo.errors import CheckFailed

if TYPE_CHECKING:
    import tensorflow as tf

#: TensorFlow's sources, by the module of their Python functions. All take the shape first.
SOURCES = {
    ("gen_stateless_random_ops_v2", "stateless_random_uniform_v2"): UNIFORM,
    ("gen_stateless_random_ops_v2", "stateless_random_normal_v2"): NORMAL,
    ("gen_random_ops", "random_uniform"): UNIFORM,
    ("gen_random_ops", "random_standard_normal"): NORMAL,
}

SEED = 0

#: Gives the numbers of a shape, from the source's kind.
Source = Callable[[str, "tf.Tensor"], "tf.Tensor"]

#: How a value is computed: an operator, and the same of its inputs.
Expression = tuple[object, ...]

#: One of TensorFlow's own.
Draw = Callable[..., "tf.Tensor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Numbers that a call drew at one place."""

    kind: str
    values: np.ndarray


@dataclass(slots=True)
class _Replay:
    """Hands out the numbers that a call is given, in the order in which it asks."""

    kinds: Sequence[str]
    tensors: Sequence[tf.Tensor]
    shapes: list[tf.Tensor] = field(default_factory=list)

    def next(self, kind: str, shape: tf.Tensor) -> tf.Tensor:
        import tensorflow as tf

        place = len(self.shapes)
        if self.kinds[place : place + 1] != (kind,):
            raise CheckFailed(_UNEVEN_DRAWS)
        self.shapes.append(tf.cast(shape, tf.int64))
        return _shaped(self.tensors[place], shape)

    def all_shapes(self) -> list[tf.Tensor]:
        """Return the shapes that numbers were asked for in. Raises CheckFailed if some were not."""
        if len(self.shapes) != len(self.kinds):
            raise CheckFailed(_UNEVEN_DRAWS)
        return self.shapes


_UNEVEN_DRAWS = (
    "random=True: not every call draws as many random numbers at the same places, as in a loop: "
    "give the numbers as an input"
)

_TWICE = (
    "random=True: the model draws the same numbers twice, from one seed, where a file would draw "
    "others: draw them once and use them twice, or take a new seed for each draw"
)


@contextmanager
def recording(enabled: bool) -> Iterator[list[Drawn]]:
    """Let calls within, if `enabled`, draw from a seeded generator, and keep what they draw."""
    drawn: list[Drawn] = []
    if not enabled:
        yield drawn
        return
    import tensorflow as tf

    generator = np.random.default_rng(SEED)

    def draw(kind: str, shape: np.ndarray) -> np.ndarray:
        source = generator.random if kind == UNIFORM else generator.standard_normal
        values = source(tuple(shape), np.float32)
        drawn.append(Drawn(kind=kind, values=np.asarray(values, np.float32)))
        return drawn[-1].values

    def source(kind: str, shape: tf.Tensor) -> tf.Tensor:
        return _shaped(tf.numpy_function(partial(draw, kind), [shape], tf.float32), shape)

    with _sources(source):
        yield drawn


def _shaped(values: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Return numbers with as much of their shape as is known before the call."""
    import tensorflow as tf
    from tensorflow.python.framework import tensor_util

    return tf.ensure_shape(values, tensor_util.constant_value_as_shape(shape))


@contextmanager
def replaying(
    signature: Signature, tensors: Sequence[tf.Tensor]
) -> Iterator[Callable[[], list[tf.Tensor]]]:
    """Let the call within have these numbers; what is yielded returns the shapes that it asked for."""
    if not signature.draws:
        yield list
        return
    numbers = _Replay(signature.draws, tensors)
    with _sources(numbers.next):
        yield numbers.all_shapes


@contextmanager
def _sources(source: Source) -> Iterator[None]:
    """Put another source in the place of TensorFlow's."""
    import tensorflow as tf

    seen: set[tuple[tf.Graph, Expression]] = set()

    def stateless(original: Draw, kind: str, shape: tf.Tensor, **options: Any) -> tf.Tensor:
        key = options["key"]
        if _is_constant(key):
            return original(shape, **options)
        if tf.is_symbolic_tensor(key):
            expression = _expression(key, {})
            if (key.graph, expression) in seen:
                raise CheckFailed(_TWICE)
            seen.add((key.graph, expression))
        return tf.cast(source(kind, tf.convert_to_tensor(shape)), options["dtype"])

    def stateful(_: Draw, kind: str, shape: tf.Tensor, dtype: Any, **__: Any) -> tf.Tensor:
        return tf.cast(source(kind, tf.convert_to_tensor(shape)), dtype)

    with ExitStack() as stack:
        for (module, name), kind in SOURCES.items():
            place = import_module(f"tensorflow.python.ops.{module}")
            original = getattr(place, name)
            stack.callback(setattr, place, name, original)
            function = stateless if "stateless" in name else stateful
            setattr(place, name, partial(function, original, kind))
        yield


def _is_constant(key: tf.Tensor) -> bool:
    """Whether a key, in a graph, is the same in every call, and so are the numbers."""
    import tensorflow as tf

    return tf.is_symbolic_tensor(key) and not any(
        operator.type == "Placeholder" for operator in ancestors([key.op])
    )


def _expression(value: tf.Tensor, known: dict[str, Expression]) -> Expression:
    """Return how a value of a graph is computed: the same for two with the same value in every call."""
    import tensorflow as tf

    operator = value.op
    if operator.name not in known:
        if operator.type == "Const":
            leaf = tf.get_static_value(operator.outputs[0])
            known[operator.name] = (operator.type, str(leaf.dtype), leaf.tobytes())
        elif not operator.inputs or operator.type == "ReadVariableOp":
            known[operator.name] = (operator.type, operator.name)
        else:
            inputs = (_expression(source, known) for source in operator.inputs)
            known[operator.name] = (operator.type, *inputs)
    return (value.value_index, *known[operator.name])


def with_draws(signature: Signature, calls: Sequence[Sequence[Drawn]]) -> Signature:
    """Return the signature with the numbers that calls drew as further inputs.

    Raises CheckFailed where one call draws otherwise than another.
    """
    kinds, *others = [tuple((d.kind, d.values.ndim) for d in drawn) for drawn in calls]
    if any(kinds != other for other in others):
        raise CheckFailed(_UNEVEN_DRAWS)
    more = [
        Tensor(name=name_of(place), dtype="float32", shape=(None,) * rank)
        for place, (_, rank) in enumerate(kinds)
    ]
    return replace(
        signature, inputs=(*signature.inputs, *more), draws=tuple(kind for kind, _ in kinds)
    )
