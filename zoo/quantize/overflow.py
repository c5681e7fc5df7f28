"""Checks that a graph's values fit into half precision, whose largest number is 65504.

onnxruntime's CPU kernels compute most of a float16 graph in float32 and would hide an overflow that
every runtime with real half precision has. So each float16 value is made an output, which
forces it into 16 bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from zoo.parity.compare import Arrays
from zoo.parity.runtimes import OnnxRuntime


def overflowing(model: ModelProto, batches: Sequence[Arrays]) -> str | None:
    """Return the first node of the outer graph whose float16 value is infinite or NaN on a batch.

    None if there is none. Batches whose own inputs are not finite say nothing and are left out.
    """
    makers: dict[str, str] = {name: node.name for node in model.graph.node for name in node.output}
    halves = [name for name in _halves(model) if name in makers]
    if not halves:
        return None
    exposed = ModelProto()
    exposed.CopyFrom(model)
    del exposed.graph.output[:]
    exposed.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT16, None) for name in halves
    )
    run = OnnxRuntime().load(exposed.SerializeToString())
    for batch in batches:
        if not all(np.all(np.isfinite(a)) for a in batch.values() if a.dtype.kind == "f"):
            continue
        values = run(batch)
        for name in halves:
            if not np.all(np.isfinite(values[name])):
                return makers[name]
    return None


def _halves(model: ModelProto) -> list[str]:
    """Return the names of the values that ONNX infers to be float16, in the graph's order."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    half = {
        v.name for v in inferred.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT16
    }
    return [name for node in model.graph.node for name in node.output if name in half]
