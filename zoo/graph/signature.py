"""The graph's face: names, types and dimensions of its inputs and outputs.

tf2onnx gives each unknown dimension a name of its own (unk__8, unk__9), so a reader cannot tell
that input and output share the batch. Keras knows both shapes, so they are written here. Inner
value_info goes: it repeats what shape inference finds, and tract refuses some files that carry it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ModelProto, ValueInfoProto

from zoo.errors import CheckFailed

BATCH = "batch"


def sign(model: ModelProto, shapes: Mapping[str, Sequence[int | None]]) -> None:
    """Write each input's and output's dimensions; None first is the batch.

    Raises CheckFailed where the graph's names or rank or fixed sizes are not the model's.
    """
    del model.graph.value_info[:]
    values = [*model.graph.input, *model.graph.output]
    names = [value.name for value in values]
    if sorted(names) != sorted(shapes):
        raise CheckFailed(f"the exported graph has {names} where the model has {sorted(shapes)}")
    for value in values:
        _write(value, shapes[value.name])


def _write(value: ValueInfoProto, shape: Sequence[int | None]) -> None:
    """Write one tensor's dimensions, refusing to contradict the graph."""
    dims = value.type.tensor_type.shape.dim
    seen = [dim.dim_value or None for dim in dims]
    contradicts = [a for a, b in zip(seen, shape, strict=False) if a and b and a != b]
    if (dims and len(seen) != len(shape)) or contradicts:
        raise CheckFailed(
            f"{value.name} is {seen} in the exported graph and {list(shape)} in Keras"
        )
    del dims[:]
    for position, size in enumerate(shape):
        if size is not None:
            dims.add(dim_value=size)
        elif position == 0:
            dims.add(dim_param=BATCH)
        else:
            dims.add(dim_param=f"{value.name}_{position}")
