"""Runs of graphs with bfloat16, which numpy lacks: such tensors go in and out as OrtValues.

Outside of this file they are arrays of uint16 that hold the bits (server/zoo_server/datatypes.py).
"""

import ctypes
from collections.abc import Mapping, Sequence

import numpy as np

from zoo_server.backends.onnxruntime.library import (
    InferenceSession,
    OrtValue,
    OrtValueFactory,
    RunOptions,
)
from zoo_server.errors import ModelLoadError

_ONNX_TYPE = "tensor(bfloat16)"
_ONNX_ENUM = 16
_STRING = "tensor(string)"


def has_bfloat16(session: InferenceSession) -> bool:
    """Tell whether an input or output of an onnxruntime session is of that type."""
    values = (
        *session.get_inputs(),
        *session.get_overridable_initializers(),
        *session.get_outputs(),
    )
    return any(value.type == _ONNX_TYPE for value in values)


class ValueRun:
    """Called like a session's `run`, with arrays of bits where the graph has bfloat16."""

    def __init__(self, session: InferenceSession, ort_value: OrtValueFactory) -> None:
        """`ort_value` is onnxruntime.OrtValue; ModelLoadError for what it makes no values of."""
        if not hasattr(ort_value, "ortvalue_from_numpy_with_onnx_type"):
            raise ModelLoadError("the graph has BF16, which this onnxruntime takes no values of")
        self._session = session
        self._ort_value = ort_value
        inputs = (*session.get_inputs(), *session.get_overridable_initializers())
        for value in inputs:
            if value.type == _STRING:  # onnxruntime makes OrtValues of numbers only
                raise ModelLoadError(f"input '{value.name}' is BYTES in a graph that has BF16")
        self._bits = {value.name for value in inputs if value.type == _ONNX_TYPE}

    def __call__(
        self, outputs: Sequence[str], feeds: Mapping[str, np.ndarray], options: RunOptions | None
    ) -> list[np.ndarray]:
        """Return the named outputs, in order; raises what onnxruntime raises."""
        values = {name: self._value(name, array) for name, array in feeds.items()}
        answers = self._session.run_with_ort_values(list(outputs), values, options)
        return [_array(answer) for answer in answers]

    def _value(self, name: str, array: np.ndarray) -> OrtValue:
        if name in self._bits:
            # It keeps the address and not the array: `feeds` lives until the run is over.
            return self._ort_value.ortvalue_from_numpy_with_onnx_type(array, _ONNX_ENUM)
        return self._ort_value.ortvalue_from_numpy(array)


def _array(value: OrtValue) -> np.ndarray:
    """Return an output on the CPU as an array; onnxruntime itself refuses to with bfloat16."""
    if value.data_type() != _ONNX_TYPE:
        return value.numpy()
    shape = tuple(value.shape())
    size = int(np.prod(shape, dtype=np.int64)) * 2
    bits = ctypes.string_at(value.data_ptr(), size) if size else b""
    return np.frombuffer(bits, np.dtype("<u2")).reshape(shape)
