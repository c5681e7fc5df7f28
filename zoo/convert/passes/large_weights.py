"""Initializers without their values: those of a large model are read when its file is written.

tf2onnx and every pass would copy them. Such an initializer has name, type and dimensions, and names a
place in LargeWeights in the stead of a file. What a pass does to one is done when it is read, so that one
tensor at a time is in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from google.protobuf.message import Message
from onnx import ModelProto, TensorProto, helper

Read = Callable[[], np.ndarray]
M = TypeVar("M", bound=Message)


class LargeWeights:
    """How to read the values that initializers lack; grows with what passes derive of them."""

    def __init__(self) -> None:
        self._reads: list[Read] = []

    def add(self, name: str, dims: Sequence[int], data_type: int, read: Read) -> TensorProto:
        """Return an initializer of values that `read` gives."""
        tensor = TensorProto(
            name=name, dims=dims, data_type=data_type, data_location=TensorProto.EXTERNAL
        )
        tensor.external_data.add(key="location", value=str(len(self._reads)))
        self._reads.append(read)
        return tensor

    def derive(
        self,
        tensor: TensorProto,
        name: str,
        dims: Sequence[int],
        change: Callable[[np.ndarray], np.ndarray],
    ) -> TensorProto:
        """Return an initializer of what `change` makes of another's values."""
        read = self._read_of(tensor)
        return self.add(name, dims, tensor.data_type, lambda: change(read()))

    def read(self, tensor: TensorProto) -> np.ndarray:
        """Return the values of such an initializer."""
        values = np.ascontiguousarray(self._read_of(tensor)())
        expected = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        if values.shape != tuple(tensor.dims) or values.dtype != expected:
            raise ValueError(
                f"{tensor.name} is {list(tensor.dims)} {expected} in the graph, and its values are "
                f"{list(values.shape)} {values.dtype}"
            )
        return values

    def _read_of(self, tensor: TensorProto) -> Read:
        (place,) = [item.value for item in tensor.external_data if item.key == "location"]
        return self._reads[int(place)]


def is_large(tensor: TensorProto) -> bool:
    """Whether an initializer's values are not in the graph."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def bytes_of(tensor: TensorProto) -> int:
    """Return the bytes that such an initializer's values take."""
    itemsize: int = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return math.prod(tensor.dims) * itemsize


def large_as_inputs(model: ModelProto) -> ModelProto:
    """Return a model whose large weights are inputs, for what reads whole models; the same if it has none."""
    large = [tensor for tensor in model.graph.initializer if is_large(tensor)]
    if not large:
        return model
    names = {tensor.name for tensor in large}
    copy = ModelProto()
    copy.CopyFrom(model)
    kept = [tensor for tensor in copy.graph.initializer if tensor.name not in names]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(kept)
    copy.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in large
    )
    return copy


def inputs_as_large(model: ModelProto, source: ModelProto) -> None:
    """Undo `large_as_inputs` of a source in what was made of it."""
    large = [tensor for tensor in source.graph.initializer if is_large(tensor)]
    names = {tensor.name for tensor in large}
    kept = [value for value in model.graph.input if value.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(large)


def without(message: M, names: frozenset[str]) -> M:
    """Return a copy of a protobuf message without the fields of these names."""
    copy = type(message)()
    for field, value in message.ListFields():
        if field.name in names:
            continue
        if hasattr(value, "MergeFrom"):  # a message, or a list
            getattr(copy, field.name).MergeFrom(value)
        else:
            setattr(copy, field.name, value)
    return copy
