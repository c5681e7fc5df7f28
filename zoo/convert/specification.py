"""Reads a model's signature from what Keras recorded of it, or from what the caller says.

    Functional, Sequential      the inputs that the model was built from
    subclassed                  the shapes that Keras recorded when it built the model
    input_signature, samples    the caller's: shapes, types, and which arguments of `call` there are

Keras records no types and no arguments but the first if a subclassed model has no `build`; where
that does not tell enough, the caller is asked for samples or an input_signature.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zoo.convert.integers import integer_inputs
from zoo.convert.layers import all_layers
from zoo.convert.leaves import (
    ShapeLeaf,
    graph_dtype,
    leaf_name,
    named_tensors,
    paths_and_leaves,
    shape_leaves,
    skeleton,
    unique_names,
)
from zoo.convert.signature import Shape, Signature, Tensor, renamed
from zoo.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    import keras

#: Keras numbers unnamed inputs through the process, so these names say nothing.
AUTOMATIC = re.compile(r"(keras_tensor|input_layer)(_\d+)?")


def check_model(model: keras.Model) -> None:
    """Raise UsageError for what is not a Keras model."""
    import keras

    if not isinstance(model, keras.Model):
        raise UsageError(f"{type(model).__name__} is not a keras.Model{_make_model(model)}")
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"this Keras runs on {keras.backend.backend()}, and a model is traced by TensorFlow: "
            "write it with model.save('model.keras'), and then zoo export model.keras"
        )


def _make_model(value: object) -> str:
    """Say how a model is had of what was given in its place; empty for anything else."""
    import keras

    if isinstance(value, keras.layers.Layer):
        return ": make it one, keras.Sequential([keras.Input(shape), layer])"
    if isinstance(value, type) and issubclass(value, keras.Model):
        return ", and neither is its class: build one"
    return ""


def signature_of(
    model: keras.Model,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    input_signature: object = None,
    samples: object = None,
) -> Signature:
    """Return a built model's signature; `input_names` and `output_names` replace Keras's.

    `input_signature` says what the call takes as for Keras's own `Model.export`: a list with one
    structure an argument, or a dict by the arguments' names, of keras.InputSpec, tf.TensorSpec,
    KerasTensor or tensors. `samples` (a structure of arrays) tells the types of integers alone.

    Raises UsageError for what is not a Keras model, or names or specifications that do not fit;
    CheckFailed for a model whose inputs are not known.
    """
    check_model(model)
    if not model.built:
        raise CheckFailed(
            f"{model.name} is not built, so its shapes are unknown: "
            "give it a keras.Input, call it once, or give samples"
        )
    functional = getattr(model, "_functional", None) or model
    known = _functional(functional) if hasattr(functional, "_inputs_struct") else None
    if input_signature is not None:
        names = None if known is None else known.output_names
        signature = replace(_from_input_signature(model, input_signature), output_names=names)
    else:
        signature = known or _subclassed(model, samples)
    return renamed(signature, input_names, output_names)


def _functional(model: keras.Model) -> Signature:
    """Return the signature of a Functional or Sequential model."""
    import keras

    structure = model._inputs_struct
    leaves = keras.tree.flatten(structure)
    named = [leaf_name(path, str(leaf.name)) for path, leaf in paths_and_leaves(structure)]
    stem = [("input" if AUTOMATIC.fullmatch(name) else name) for name in named]
    if any(getattr(leaf, "sparse", False) or getattr(leaf, "ragged", False) for leaf in leaves):
        raise CheckFailed(f"{model.name} has a sparse or ragged input, which ONNX does not have")
    inputs = tuple(
        Tensor(name=name, dtype=graph_dtype(leaf.dtype), shape=tuple(leaf.shape))
        for name, leaf in zip(unique_names(stem), leaves, strict=True)
    )
    outputs = paths_and_leaves(model._outputs_struct)
    layers = list(getattr(model, "output_names", [])) or [leaf.name for _, leaf in outputs]
    names = [leaf_name(path, layers[i]) for i, (path, _) in enumerate(outputs)]
    input_names = [tensor.name for tensor in inputs]
    distinct = unique_names([f"{name}_output" if name in input_names else name for name in names])
    signature = Signature(inputs=inputs, output_names=tuple(distinct), structure=[structure])
    return _with_open_batch(model, signature)


def _with_open_batch(model: keras.Model, signature: Signature) -> Signature:
    """Open the batch that Keras recorded, unless a state of so many rows needs it."""
    sizes = {t.shape[0] for t in signature.inputs if t.shape} - {None}
    if len(sizes) != 1 or any(not t.shape for t in signature.inputs):
        return signature
    if any(getattr(layer, "stateful", False) is True for layer in all_layers(model)):
        return signature
    (size,) = sizes
    return replace(signature.with_batch(None), recorded_batch=size)


def _subclassed(model: keras.Model, samples: object) -> Signature:
    """Return the signature of a subclassed model from the shapes Keras recorded when building it."""
    shapes = getattr(model, "_build_shapes_dict", None)
    if not shapes or not model._called:
        raise CheckFailed(
            f"{model.name} was never called, so its inputs are unknown: call it, or give samples"
        )
    try:
        arguments = _recorded_arguments(model, list(shapes))
    except CheckFailed:
        if samples is None:
            raise
        return _from_input_signature(model, _arrays(samples))
    if isinstance(samples, Mapping) and len(call_arguments(model, samples)[0]) > len(arguments):
        return _from_input_signature(
            model, _arrays(samples)
        )  # optional arguments that Keras did not see
    parameters: list[str | None] = list(inspect.signature(model.call).parameters)
    order = sorted(
        range(len(arguments)),
        key=lambda i: [*parameters, arguments[i]].index(arguments[i]),
    )
    recorded = [list(shapes.values())[i] for i in order]
    structures = [shape_leaves(value) for value in recorded]
    names = [arguments[i] for i in order]
    tensors = named_tensors(names, structures, model.input_dtype)
    signature = Signature(
        inputs=tuple(replace(t, shape=(None, *t.shape[1:])) for t in tensors),
        output_names=None,
        structure=[skeleton(item) for item in structures],
        arguments=(None,) if len(names) == 1 else tuple(names),
    )
    return integer_inputs(model, signature, samples)


def _recorded_arguments(model: keras.Model, keys: Sequence[str]) -> list[str | None]:
    """Return which arguments of `call` Keras recorded; None for the first and only one.

    Raises CheckFailed where `call` needs more than those.
    """
    parameters = inspect.signature(model.call).parameters
    required = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and name not in ("training", "mask")
    ]
    if len(keys) == 1 and len(required) <= 1:
        return [None]
    arguments = [key.removesuffix("_shape") for key in keys]
    missing = [name for name in required if name not in arguments]
    if missing or not set(arguments) <= set(parameters):
        raise CheckFailed(
            f"{model.name}.call takes {', '.join(required)}, and Keras recorded "
            f"{len(arguments)} of their shapes: give samples (--samples) or input_signature, "
            "by the arguments' names"
        )
    return list(arguments)


def _from_input_signature(model: keras.Model, input_signature: object) -> Signature:
    """Return the signature that the caller describes."""
    names, structures = call_arguments(model, input_signature)
    leaves = [_specification_leaves(model, item) for item in structures]
    positional = list(inspect.signature(model.call).parameters)
    stems = [name or positional[i] for i, name in enumerate(names)] if len(names) > 1 else names
    tensors = named_tensors(stems, leaves, "float32")
    stated = [leaf for item in leaves for _, leaf in paths_and_leaves(item)]
    own = [leaf.name for leaf in stated]
    if all(own) and len(set(own)) == len(own):
        tensors = [replace(t, name=str(name)) for t, name in zip(tensors, own, strict=True)]
    return Signature(
        inputs=tuple(
            replace(t, dtype=graph_dtype(leaf.dtype))
            for t, leaf in zip(tensors, stated, strict=True)
        ),
        output_names=None,
        structure=[skeleton(item) for item in leaves],
        arguments=tuple(names),
    )


def call_arguments(model: keras.Model, values: object) -> tuple[list[str | None], list[object]]:
    """Return names (None: by position) and values of the arguments that a caller gives.

    A dict by names of the call's arguments is those; a list or tuple is one argument each, where
    the call takes so many, else the first alone; anything else is the first.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(model.call).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and name != "training"
    }
    # Keras's Functional takes everything as one structure.
    single = hasattr(getattr(model, "_functional", None) or model, "_inputs_struct")
    if isinstance(values, Mapping) and not single and set(values) <= set(parameters) and values:
        return list(values), list(values.values())
    if isinstance(values, list | tuple) and len(values) == 1:
        return [None], [values[0]]
    if isinstance(values, list | tuple) and not single and 1 < len(values) <= len(parameters):
        required = [p for p in parameters.values() if p.default is p.empty]
        if len(required) == len(values) or len(required) > 1:
            return [None] * len(values), list(values)
    return [None], [values]


def _specification_leaves(model: keras.Model, structure: object) -> object:
    """Return a structure of specifications as leaves. Raises UsageError for what is none."""
    if isinstance(structure, Mapping):
        return {key: _specification_leaves(model, item) for key, item in structure.items()}
    if isinstance(structure, list | tuple):
        return [_specification_leaves(model, item) for item in structure]
    shape, dtype = getattr(structure, "shape", None), getattr(structure, "dtype", None)
    if shape is None or dtype is None:
        raise UsageError(
            f"input_signature: {structure!r} has no shape and dtype: give keras.InputSpec, "
            "tf.TensorSpec, a KerasTensor or a tensor"
        )
    import keras

    sizes: Shape = tuple(shape)
    specifies = isinstance(structure, keras.InputSpec) or type(structure).__name__ == "TensorSpec"
    if not specifies and sizes:
        sizes = (None, *sizes[1:])  # of a tensor, the size of the batch says nothing
    name = getattr(structure, "name", None) if specifies else None
    kind = "string" if getattr(dtype, "kind", None) in ("O", "S", "U") else dtype
    return ShapeLeaf(sizes, keras.backend.standardize_dtype(kind), name)


def _arrays(samples: object) -> object:
    """Return samples as arrays of the types that a model takes."""
    import keras

    return keras.tree.map_structure(np.asarray, samples)
