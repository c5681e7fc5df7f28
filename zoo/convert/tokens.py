"""Tokens: stateless operators that exist in the trace only, for which ONNX nodes are written later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import tensorflow as tf

#: What a token stands for, by the name TensorFlow gave it (pyfunc_3).
Tokens = dict[str, object]


def placeholder(
    inputs: Sequence[tf.Tensor],
    dtypes: Sequence[tf.DType],
    shapes: Sequence[tf.TensorShape],
    stands_for: object,
) -> tuple[list[tf.Tensor], str]:
    """Return the outputs of an operator that stands for something else, and its token."""
    import tensorflow as tf

    def refuse(*_: object) -> NoReturn:
        raise RuntimeError(f"{stands_for} was traced for export, and cannot be run")

    results = tf.numpy_function(refuse, inputs, dtypes, stateful=False)
    # EnsureShape, since set_shape alone is lost when the graph is frozen and imported again.
    shaped = [tf.ensure_shape(r, s) for r, s in zip(results, shapes, strict=True)]
    token = results[0].op.get_attr("token")
    return shaped, str(token.decode() if isinstance(token, bytes) else token)
