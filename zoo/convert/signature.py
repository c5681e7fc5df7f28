"""A model's signature: its inputs and outputs as flat lists of named tensors, in Keras's order.

Keras takes nested structures (a dict of inputs, a list of outputs) and ONNX a flat list, so each
leaf gets one name:

    a dict's leaf              its key (nested: keys and positions joined by _)
    keras.Input(name=...)      that name; Keras's own keras_tensor_7 becomes input, or input_0 ...
    an output                  the name of the layer that makes it, as Keras's `output_names` says
    a subclassed model's       input_0 ..., and output or output_0 ...
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoo.errors import CheckFailed, UsageError

Shape = tuple[int | None, ...]

BATCH = "batch"

#: Keras numbers unnamed inputs through the process, so these names say nothing.
AUTOMATIC = re.compile(r"(keras_tensor|input_layer)(_\d+)?")

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
    """The inputs, the names of the outputs as far as known before tracing, and the structure."""

    inputs: tuple[Tensor, ...]
    output_names: tuple[str, ...] | None
    structure: Any

    def pack(self, tensors: Sequence[Any]) -> Any:
        """Return flat tensors in the structure that the model takes."""
        import keras

        return keras.tree.pack_sequence_as(self.structure, list(tensors))

    def input_dims(self) -> dict[str, tuple[int | str, ...]]:
        """Return each input's dimensions: `batch`, fixed sizes, and `time`, `height`, ...

        The friendly names are used where a single input has unknown dimensions: two inputs that
        both say `time` would promise equal lengths.
        """
        open_ended = [t for t in self.inputs if None in t.shape[1:]]
        dims = {}
        for tensor in self.inputs:
            names = {0: BATCH}
            if len(open_ended) == 1 and len(tensor.shape) in SPACE:
                names |= dict(enumerate(SPACE[len(tensor.shape)], start=1))
            if len(open_ended) == 1 and len(tensor.shape) == 2:
                names[1] = "time"
            dims[tensor.name] = tensor.dims(names)
        return dims


def check_model(model: Any) -> None:
    """Raise UsageError for what is not a Keras model."""
    import keras

    if not isinstance(model, keras.Model):
        raise UsageError(f"{type(model).__name__} is not a keras.Model")


def signature_of(
    model: Any,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Signature:
    """Return a built model's signature; `input_names` and `output_names` replace Keras's.

    Raises UsageError for what is not a Keras model, or was never built, or names that do not fit.
    """
    check_model(model)
    if not model.built:
        raise CheckFailed(
            f"{model.name} is not built, so its shapes are unknown: "
            "give it a keras.Input, call it once, or give samples"
        )
    functional = getattr(model, "_functional", None) or model
    if hasattr(functional, "_inputs_struct"):
        signature = _functional(functional)
    else:
        signature = _subclassed(model)
    return _renamed(signature, input_names, output_names)


def _functional(model: Any) -> Signature:
    """Return the signature of a Functional or Sequential model."""
    import keras

    structure = model._inputs_struct
    leaves = keras.tree.flatten(structure)
    named = [_leaf_name(path, leaf.name) for path, leaf in _paths(structure)]
    stem = [("input" if AUTOMATIC.fullmatch(name) else name) for name in named]
    if any(getattr(leaf, "sparse", False) or getattr(leaf, "ragged", False) for leaf in leaves):
        raise CheckFailed(f"{model.name} has a sparse or ragged input, which ONNX does not have")
    inputs = tuple(
        Tensor(name=name, dtype=_dtype(leaf.dtype), shape=tuple(leaf.shape))
        for name, leaf in zip(_unique(stem), leaves, strict=True)
    )
    outputs = _paths(model._outputs_struct)
    layers = list(getattr(model, "output_names", [])) or [leaf.name for _, leaf in outputs]
    names = [_leaf_name(path, layers[i]) for i, (path, _) in enumerate(outputs)]
    taken = [tensor.name for tensor in inputs]
    distinct = _unique([f"{name}_output" if name in taken else name for name in names])
    return Signature(inputs=inputs, output_names=tuple(distinct), structure=structure)


def _subclassed(model: Any) -> Signature:
    """Return the signature of a subclassed model from the shapes Keras recorded when building it."""
    import keras

    shapes = getattr(model, "_build_shapes_dict", None)
    if not shapes or not model._called:
        raise CheckFailed(
            f"{model.name} was never called, so its inputs are unknown: call it, or give samples"
        )
    if len(shapes) != 1:
        raise CheckFailed(
            f"{model.name}.call takes {len(shapes)} arguments ({', '.join(shapes)}): "
            "put them in one dict or list, or wrap the model in a functional one"
        )
    (recorded,) = shapes.values()
    structure = _shape_leaves(recorded)
    paths = _paths(structure)
    names = [_leaf_name(path, "input") for path, _ in paths]
    dtype = _dtype(model.input_dtype)
    inputs = tuple(
        Tensor(name=name, dtype=dtype, shape=(None, *leaf.shape[1:]))
        for name, (_, leaf) in zip(_unique(names), paths, strict=True)
    )
    structure = keras.tree.map_structure(lambda leaf: 0, structure)
    return Signature(inputs=inputs, output_names=None, structure=structure)


class _ShapeLeaf:
    """A recorded shape as one leaf, since a tuple of sizes would be flattened itself."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape


def _shape_leaves(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _shape_leaves(item) for key, item in value.items()}
    if all(size is None or isinstance(size, int) for size in value):
        return _ShapeLeaf(tuple(value))
    return [_shape_leaves(item) for item in value]


def _paths(structure: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """Return (path, leaf) pairs in Keras's order."""
    import keras

    pairs: list[tuple[tuple[Any, ...], Any]] = keras.src.tree.flatten_with_path(structure)
    return pairs


def _leaf_name(path: Sequence[Any], own: str) -> str:
    """Return the name of a leaf: the keys on its way if it lies in a dict, else its own."""
    if not any(isinstance(part, str) for part in path):
        return own
    return "_".join(str(part) for part in path)


def output_names(structure: Any) -> tuple[str, ...]:
    """Return names for what a subclassed model answers."""
    return tuple(_unique([_leaf_name(path, "output") for path, _ in _paths(structure)]))


def _unique(names: Sequence[str]) -> list[str]:
    """Number those names that occur more than once."""
    return [
        name if names.count(name) == 1 else f"{name}_{list(names[:i]).count(name)}"
        for i, name in enumerate(names)
    ]


def _dtype(dtype: str) -> str:
    return "float32" if dtype in WIDENED else str(dtype)


def _renamed(
    signature: Signature, inputs: Sequence[str] | None, outputs: Sequence[str] | None
) -> Signature:
    """Replace Keras's names by the caller's."""
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
