"""The three exporters that the suites compare, called alike (exporter_plugin.py chooses one).

zoo       zoo.export_model
tf2onnx   tf2onnx.convert.from_function, as Keras's users call it
keras     Model.export(format="onnx")
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: What was done, in the running test, because a refusal said so.
followed: list[str] = []


#: What a refusal may say to do, with the option that does it; the first of several.
SAID: dict[str, dict[str, Any]] = {
    "reset_states=True": {"reset_states": True},
    "states='inputs'": {"states": "inputs"},
    "random=True": {"random": True},
}


def _by_zoo(model: Any, path: str, signature: Any, opset: int, rows: Any) -> None:
    import zoo
    from zoo.errors import CheckFailed

    options: dict[str, Any] = {"opset": opset, "samples": rows}
    if signature is not None:
        options["input_signature"] = signature
    try:
        zoo.export_model(model, path, **options)
    except CheckFailed as error:
        said = [words for words in SAID if words in str(error)]
        if not said:
            raise
        zoo.export_model(model, path, **options, **SAID[said[0]])
        followed.append(said[0])


def _by_tf2onnx(model: Any, path: str, signature: Any, opset: int, _: Any) -> None:
    import keras
    import tensorflow as tf
    import tf2onnx

    structure = getattr(model, "_inputs_struct", None)
    if signature is None:
        known = keras.src.export.export_utils.get_input_signature
        signature = known(model) if structure is None else structure
    leaves = [
        tf.TensorSpec(s.shape, keras.backend.standardize_dtype(s.dtype), name=_input_name(s, i))
        for i, s in enumerate(keras.tree.flatten(signature))
    ]
    if structure is None:
        structure = [0] * len(leaves)
    single = len(leaves) == 1

    def infer(*tensors: Any) -> Any:
        packed = tensors[0] if single else keras.tree.pack_sequence_as(structure, list(tensors))
        return model(packed, training=False)

    function = tf.function(infer, input_signature=leaves, autograph=False)
    converted, _ = tf2onnx.convert.from_function(function, input_signature=leaves, opset=opset)
    Path(path).write_bytes(converted.SerializeToString())


def _input_name(specification: Any, position: int) -> str:
    """Return the name that the test gave, or one that sorts as Keras's order does."""
    name = getattr(specification, "name", None)
    numbered = name is None or re.fullmatch(r"(keras_tensor|input_layer)(_\d+)?", name)
    return f"input_{position:03d}" if numbered else name.split("/")[0]


def _by_keras(model: Any, path: str, signature: Any, opset: int, _: Any) -> None:
    from keras.src.export.onnx import export_onnx

    export_onnx.original(  # type: ignore[attr-defined]  # set by _patch_keras
        model, path, verbose=False, input_signature=signature, opset_version=opset
    )


EXPORTERS: dict[str, Callable[[Any, str, Any, int, Any], None]] = {
    "zoo": _by_zoo,
    "tf2onnx": _by_tf2onnx,
    "keras": _by_keras,
}
