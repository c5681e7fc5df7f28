"""Tokens: stateless operators that exist in the trace only, for which ONNX nodes are written later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: What a token stands for, by the name TensorFlow gave it (pyfunc_3).
Tokens = dict[str, Any]


def placeholder(
    inputs: Sequence[Any], dtypes: Sequence[Any], shapes: Sequence[Any], stands_for: Any
) -> tuple[list[Any], str]:
    """Return the outputs of an operator that stands for something else, and its token."""
    import tensorflow as tf

    def refuse(*_: Any) -> Any:
        raise RuntimeError(f"{stands_for} was traced for export, and cannot be run")

    results = tf.numpy_function(refuse, inputs, dtypes, stateful=False)
    # EnsureShape, since set_shape alone is lost when the graph is frozen and imported again.
    shaped = [tf.ensure_shape(r, s) for r, s in zip(results, shapes, strict=True)]
    token = results[0].op.get_attr("token")
    return shaped, str(token.decode() if isinstance(token, bytes) else token)
