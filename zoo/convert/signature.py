"""A model's signature: its inputs and outputs as flat lists of named tensors, in Keras's order.

Keras takes nested structures (a dict of inputs, a list of outputs) and ONNX a flat list, so each
leaf gets one name:

    a dict's leaf              its key (nested: keys and positions joined by _)
    keras.Input(name=...)      that name; Keras's own keras_tensor_7 becomes input, or input_0 ...
    an output                  the name of the layer that makes it, as Keras's `output_names` says
    a subclassed model's       input (its arguments' names if its call takes several), output

What is not said there is the batch: it is open, whatever size Keras saw first (a Sequential
records the one it was fitted on), unless the caller asks for another or the model keeps a state
of so many rows (specification.py reads what a model and its caller say).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zoo.errors import UsageError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Shape = tuple[int | None, ...]

BATCH = "batch"

#: What unknown dimensions after the batch are called, by rank, when one input alone has any.
SPACE = {3: ("time",), 4: ("height", "width"), 5: ("depth", "height", "width")}

#: Computed in float32 instead: runtimes lack kernels for the others, or round them differently.
WIDENED = {"float16", "bfloat16", "float64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One input or output; None is a dimension not known before the call."""

    name: str
    dtype: str
    shape: Shape

    def dims(self, names: Mapping[int, str]) -> tuple[int | str, ...]:
        """Return the dimensions with names for the unknown ones."""
        return tuple(
            size if size is not None else names.get(axis, f"{self.name}_{axis}")
            for axis, size in enumerate(self.shape)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The inputs, the names of the outputs as far as known before tracing, and the call.

    `structure` is one structure an argument of the model's call, and `arguments` has their names:
    None for those given by position. `recorded_batch` is the size that Keras saw where the batch
    is open here. `states` are pairs of an input and the output that it is in the next call; `kept` are
    the model's variables that are inputs behind the call's (states.py), and `draws` the sources of
    random numbers that are the last inputs (draws.py); the call takes neither.
    """

    inputs: tuple[Tensor, ...]
    output_names: tuple[str, ...] | None
    structure: Sequence[object]
    arguments: tuple[str | None, ...] = (None,)
    recorded_batch: int | None = None
    states: tuple[tuple[str, str], ...] = ()
    kept: tuple[keras.Variable, ...] = ()
    draws: tuple[str, ...] = ()

    @property
    def own_inputs(self) -> tuple[Tensor, ...]:
        """The inputs that the model's call takes."""
        return self.inputs[: len(self.inputs) - len(self.kept) - len(self.draws)]

    def call(self, model: keras.Model, tensors: Sequence[tf.Tensor]) -> object:
        """Call a model for inference on flat tensors."""
        import keras

        own = list(tensors)[: len(self.own_inputs)]
        values = keras.tree.pack_sequence_as(list(self.structure), own)
        pairs = list(zip(self.arguments, values, strict=True))
        named = {name: value for name, value in pairs if name is not None}
        return model(*[v for name, v in pairs if name is None], **named, training=False)

    def with_batch(self, size: int | None) -> Signature:
        """Return the signature with the batch of every input that has one of a size, None for any."""
        own = [replace(t, shape=(size, *t.shape[1:])) if t.shape else t for t in self.own_inputs]
        kept = self.inputs[len(own) :]
        return replace(self, inputs=(*own, *kept), recorded_batch=None)

    def input_dims(self) -> dict[str, tuple[int | str, ...]]:
        """Return each input's dimensions: `batch`, fixed sizes, and `time`, `height`, ...

        The friendly names are used where a single input has unknown dimensions: two inputs that
        both say `time` would promise equal lengths.
        """
        open_ended = [t for t in self.inputs if None in t.shape[1:]]
        dims = {}
        for position, tensor in enumerate(self.inputs):
            names = {0: BATCH} if position < len(self.inputs) - len(self.draws) else {}
            if len(open_ended) == 1 and len(tensor.shape) in SPACE:
                names |= dict(enumerate(SPACE[len(tensor.shape)], start=1))
            if len(open_ended) == 1 and len(tensor.shape) == 2:
                names[1] = "time"
            dims[tensor.name] = tensor.dims(names)
        return dims


def renamed(
    signature: Signature, inputs: Sequence[str] | None, outputs: Sequence[str] | None
) -> Signature:
    """Replace Keras's names by the caller's. Raises UsageError for names that do not fit."""
    for names, known, side in (
        (inputs, [t.name for t in signature.inputs], "inputs"),
        (outputs, signature.output_names, "outputs"),
    ):
        if names is None or known is None:
            continue
        texts = not isinstance(names, str) and all(isinstance(n, str) and n for n in names)
        if not texts or len(names) != len(known) or len(set(names)) != len(names):
            raise UsageError(
                f"{len(known)} distinct names are needed for the {side} {list(known)}, not {names!r}"
            )
    if inputs is not None:
        pairs = zip(signature.inputs, inputs, strict=True)
        signature = replace(signature, inputs=tuple(replace(t, name=name) for t, name in pairs))
    if outputs is not None:
        signature = replace(signature, output_names=tuple(outputs))
    both = {t.name for t in signature.inputs} & set(signature.output_names or ())
    if both:
        raise UsageError(
            f"{', '.join(sorted(both))}: an input and an output need different names: "
            "give input_names or output_names"
        )
    return signature
