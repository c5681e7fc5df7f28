"""Makes a Keras 3 model of what TensorFlow runs and Keras 3 cannot load: SavedModels, tf.keras 2.

The model has the function's inputs and outputs under their names, and one layer that calls it.
The judge of the exported file is then TensorFlow itself, as it runs the original.
"""

from __future__ import annotations

import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.convert.effects import writes_variables
from zoo.convert.function import reason_of
from zoo.convert.specification import check_model
from zoo.errors import CheckFailed, UsageError, first_line
from zoo.export.file_formats import refuse_other_model
from zoo.training.framework import import_keras

if TYPE_CHECKING:
    import keras

#: The signature of a SavedModel that servers call.
SERVING = "serving_default"

AUTOMATIC = re.compile(r"(input|args)(_\d+)?")


def keras_3_model(model: keras.Model) -> Any:
    """Return what a caller has in memory as a model of this process's Keras 3.

    Raises UsageError for what is no model of Keras's, and for a Keras that TensorFlow does not run.
    """
    refuse_other_model(model)
    if is_tf_keras(model):
        return from_tf_keras(model)
    check_model(model)
    return model


def is_tf_keras(model: keras.Model) -> bool:
    """Whether a model is of tf-keras (tf.keras 2), which is not imported to find out."""
    tf_keras = sys.modules.get("tf_keras")
    return tf_keras is not None and isinstance(model, tf_keras.Model)


def from_saved_model(path: Path) -> Any:
    """Return the signature that servers call, or the only one, as a Keras model.

    Raises CheckFailed for a folder that TensorFlow cannot load, UsageError for one that has no such signature.
    """
    tf = import_keras().tf
    try:
        loaded = tf.saved_model.load(str(path))
        signatures = dict(loaded.signatures)
    except Exception as error:  # a damaged folder makes TensorFlow raise any kind
        raise CheckFailed(f"{path}: TensorFlow cannot load it: {first_line(error)}") from error
    chosen = signatures.get(SERVING) or (
        next(iter(signatures.values())) if len(signatures) == 1 else None
    )
    if chosen is None:
        raise UsageError(
            f"{path} has no signature {SERVING}, only {', '.join(sorted(signatures)) or 'functions'}: "
            f"tf.saved_model.save(tf.saved_model.load(path), other_path, signatures={{"
            f"{SERVING!r}: function}}) writes one"
        )
    _, inputs = chosen.structured_input_signature
    return _model_of(path.name, chosen, inputs, keep=loaded)


def from_tf_keras(model: keras.Model) -> Any:
    """Return a model of tf.keras 2 as a model of Keras 3.

    Raises CheckFailed for one that was never called, whose inputs are unknown.
    """
    tf = import_keras().tf
    described = model.save_spec() if getattr(model, "inputs", None) is None else None
    if getattr(model, "inputs", None) is None and described is None:
        raise CheckFailed(
            f"{model.name} was never called, so its inputs are unknown: call it on one row"
        )
    if described is None:
        names = list(model.input_names)
        leaves = [
            tf.TensorSpec(x.shape, x.dtype, name=n)
            for x, n in zip(model.inputs, names, strict=True)
        ]
        structure: Any = leaves if len(leaves) > 1 else leaves[0]
    else:
        (structure, *_), _ = described
        leaves = tf.nest.flatten(structure)
        names = [leaf.name or f"input_{i}" for i, leaf in enumerate(leaves)]

    def call(**tensors: Any) -> dict[str, Any]:
        packed = tf.nest.pack_sequence_as(structure, [tensors[name] for name in names])
        answers = tf.nest.flatten(model(packed, training=False))
        outputs = getattr(model, "output_names", None) or []
        if len(outputs) != len(answers):
            outputs = [f"output_{i}" for i in range(len(answers))] if answers[1:] else ["output"]
        return dict(zip(outputs, answers, strict=True))

    return _model_of(model.name, call, dict(zip(names, leaves, strict=True)), keep=model)


def _model_of(
    name: str, function: Callable[..., Any], inputs: Mapping[str, Any], *, keep: Any
) -> Any:
    """Return a functional model of one layer, which calls a function of named tensors.

    `keep` is what owns the function's variables.
    """
    keras, shown = import_keras().keras, _plain_names(list(inputs))

    class TensorFlowFunction(keras.layers.Layer):  # type: ignore[misc, name-defined]  # Keras ships no types
        """Calls the function; its variables are constants here."""

        def __init__(self) -> None:
            super().__init__(name="tensorflow")
            object.__setattr__(self, "kept", keep)  # unseen by Keras, which would track its parts

        def call(self, tensors: Mapping[str, Any]) -> Any:
            # Of a plain dict, Keras and TensorFlow would sort the names.
            return OrderedDict(function(**{key: tensors[shown[key]] for key in inputs}))

    for spec in inputs.values():
        if spec.shape.rank is None:
            raise CheckFailed(f"{name}: the input {spec.name} has no known number of dimensions")
    if writes_variables(_graph_of(function, inputs)):
        raise CheckFailed(
            f"{name} changes variables in every call, and an ONNX graph keeps nothing: build it "
            "with stateful=False, or write them only if training"
        )
    keras_inputs = OrderedDict(
        (shown[key], keras.Input(batch_shape=tuple(spec.shape), dtype=spec.dtype.name))
        for key, spec in inputs.items()
    )
    answers = TensorFlowFunction()(keras_inputs)
    return keras.Model(keras_inputs, answers, name=_identifier(name))


def _plain_names(names: Sequence[str]) -> dict[str, str]:
    """Return the inputs' names, without the numbers that tf.keras counts through a process."""
    numbered = [name for name in names if AUTOMATIC.fullmatch(name)]
    if len(numbered) == 1:
        return {name: "input" if name in numbered else name for name in names}
    return {n: f"input_{numbered.index(n)}" if n in numbered else n for n in names}


def _graph_of(function: Callable[..., Any], inputs: Mapping[str, Any]) -> Any:
    """Return a function's graph; CheckFailed for one that cannot be traced."""
    tf = import_keras().tf
    if hasattr(function, "graph"):  # a SavedModel's, traced when it was saved
        return function.graph
    try:
        return tf.function(function, autograph=False).get_concrete_function(**inputs).graph
    except Exception as error:  # a model's own code may raise anything
        raise CheckFailed(f"it cannot be traced for inference: {reason_of(error)}") from error


def _identifier(name: str) -> str:
    """Return a name that Keras takes for a model."""
    return "".join(c if c.isalnum() else "_" for c in name) or "model"
