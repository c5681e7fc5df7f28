"""Turns captured constants into initializers.

A Keras layer may capture an eager tensor by value (Normalization's mean and variance do). tf2onnx
then lists it as one more graph input, which no client could feed. Right whenever the extra input's
name is a capture of the traced function, whose value is known; any other extra input is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from zoo.errors import CheckFailed


def captures_to_initializers(
    model: ModelProto,
    inputs: Collection[str],
    captures: Mapping[str, np.ndarray],
    large: Mapping[str, TensorProto] | None = None,
) -> None:
    """Replace every graph input that is not in `inputs` by an initializer holding its capture.

    `large` are the initializers of weights that the function had as inputs. Raises CheckFailed for an
    extra input that is neither.
    """
    graph = model.graph
    extra = [value.name for value in graph.input if value.name not in inputs]
    for name in extra:
        if large and name in large:
            graph.initializer.append(large[name])
            continue
        if name not in captures:
            raise CheckFailed(
                f"the exported graph wants an input {name!r} that the model does not have"
            )
        value = captures[name]
        if value.dtype.kind in "SU":
            value = value.astype(object)  # how onnx takes strings
        graph.initializer.append(numpy_helper.from_array(value, name=name))
    kept = [value for value in graph.input if value.name in inputs]
    del graph.input[:]
    graph.input.extend(kept)
