"""Sets the names, types and dimensions of a graph's inputs and outputs to Keras's.

tf2onnx gives each unknown dimension a name of its own (unk__8, unk__9), so a reader cannot tell
that input and output share the batch. Keras knows both shapes, so they are written here. Inner
value_info goes: it repeats what shape inference finds, and tract refuses some files that carry it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from zoo.convert.passes.view import View
from zoo.errors import CheckFailed

BATCH = "batch"
STRING = TensorProto.STRING


def write_signature(model: ModelProto, shapes: Mapping[str, Sequence[int | str | None]]) -> None:
    """Write each input's and output's dimensions: sizes, symbols, or None (first: the batch).

    Raises CheckFailed where the graph's names or rank or fixed sizes are not the model's.
    """
    del model.graph.value_info[:]
    values = [*model.graph.input, *model.graph.output]
    names = [value.name for value in values]
    if sorted(names) != sorted(shapes):
        raise CheckFailed(f"the exported graph has {names} where the model has {sorted(shapes)}")
    for value in values:
        _write(value, shapes[value.name])


def _write(value: ValueInfoProto, shape: Sequence[int | str | None]) -> None:
    """Write one tensor's dimensions, refusing to contradict the graph."""
    dims = value.type.tensor_type.shape.dim
    seen = [dim.dim_value or None for dim in dims]
    contradicts = [
        a for a, b in zip(seen, shape, strict=False) if a and isinstance(b, int) and a != b
    ]
    if (dims and len(seen) != len(shape)) or contradicts:
        raise CheckFailed(
            f"{value.name} is {seen} in the exported graph and {list(shape)} in Keras"
        )
    del dims[:]
    # Even where there is no dimension: a tensor without a shape field has no rank at all.
    value.type.tensor_type.shape.SetInParent()
    for position, size in enumerate(shape):
        if isinstance(size, str):
            dims.add(dim_param=size)
        elif size is not None:
            dims.add(dim_value=size)
        elif position == 0:
            dims.add(dim_param=BATCH)
        else:
            dims.add(dim_param=f"{value.name}_{position}")


def restore_inputs(
    model: ModelProto, dtypes: Mapping[str, str], captures: Mapping[str, np.ndarray]
) -> None:
    """Put inputs and outputs in the order of their names, and inputs back that no node reads.

    The names sort by Keras's order. TensorFlow prunes an input that the answer does not depend on,
    but a client that feeds what Keras takes must be able to.
    """
    graph = model.graph
    present = {value.name for value in graph.input}
    for name, dtype in dtypes.items():
        if name not in present and name not in captures:
            kind = STRING if dtype == "string" else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            graph.input.append(helper.make_tensor_value_info(name, kind, None))
    for values in (graph.input, graph.output):
        ordered = sorted(values, key=lambda value: value.name)
        del values[:]
        values.extend(ordered)


def output_dims(
    model: ModelProto, outputs: Mapping[str, tuple[str, Sequence[int | None]]]
) -> dict[str, tuple[int | str, ...]]:
    """Return each output's dimensions: Keras's sizes, else the symbol that inference finds.

    A dimension that neither knows is called <output>_<axis>; an unknown first one is the batch.
    """
    symbols = {
        dim.dim_param for value in model.graph.input for dim in value.type.tensor_type.shape.dim
    }
    inferred = View(model).shapes
    written = {}
    for key, (name, shape) in outputs.items():
        guess = inferred.get(key, ())
        dims: list[int | str] = []
        for axis, size in enumerate(shape):
            seen = guess[axis] if axis < len(guess) else None
            if size is not None:
                dims.append(size)
            elif isinstance(seen, int) or (seen in symbols and seen):
                dims.append(seen)
            else:
                dims.append(BATCH if axis == 0 and BATCH in symbols else f"{name}_{axis}")
        written[key] = tuple(dims)
    return written
